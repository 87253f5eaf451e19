package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

// How memory is watched until it has settled.
const (
	settleEvery = 5 * time.Second
	settleSpan  = 12              // samples that must agree
	settleDrift = 0.01            // within this share of the newest
	settleExtra = 4 * time.Minute // beyond the least time; after that the newest sample counts
)

// watched is a process whose memory is measured.
type watched struct {
	name string
	pid  int
}

// idleMemory measures every proxy with idle sessions, and the gateway together with the router. The
// processes are as they were started: nothing has gone through them but what made them ready.
func (m *measurement) idleMemory(ctx context.Context) error {
	for _, a := range m.stage.arms {
		targets := []watched{{a.Name, a.pid}}
		var least time.Duration // the proxies collect no garbage
		switch a.Name {
		case armDirect:
			continue
		case armRouter:
			targets = append(targets, watched{gatewayName, m.stage.gateways[0].PID()})
			least = m.o.settle
		}
		show.Next("idle memory of %s", a.Name)
		if err := m.idleArm(ctx, a, targets, least); err != nil {
			return fmt.Errorf("idle memory of %s: %w", a.Name, err)
		}
	}
	return nil
}

// fewShare is which part of the sessions is opened first, so that the fixed cost of having sessions at all can be
// told from that of each.
const fewShare = 4

func (m *measurement) idleArm(ctx context.Context, a arm, targets []watched, least time.Duration) error {
	before, err := memoryOf(targets)
	if err != nil {
		return err
	}
	few, err := m.idleSessions(ctx, a, targets, least, max(1, m.o.subscribers/fewShare))
	if err != nil {
		return err
	}
	with, err := m.idleSessions(ctx, a, targets, least, m.o.subscribers)
	if err != nil {
		return err
	}
	for i, w := range targets {
		s := memorySample{Process: w.name, Before: before[i], WithFew: few[i], With: with[i], Sessions: m.o.subscribers}
		say("%s: %.2f MB before, %.2f MB with, %.0f B per session, %.0f B for each further one",
			w.name, mb(s.Before), mb(s.With), s.PerSession(), s.Further())
		m.memory = append(m.memory, s)
	}
	t, err := m.fleet.Stats(false)
	if err == nil && t.Lost > 0 {
		err = fmt.Errorf("%d idle sessions were closed", t.Lost)
	}
	if err != nil {
		return err
	}
	return m.closeAll(ctx)
}

// idleSessions opens sessions until there are so many, and returns the memory once it has settled.
func (m *measurement) idleSessions(ctx context.Context, a arm, targets []watched, least time.Duration, sessions int) ([]int64, error) {
	if err := m.fleet.Open(ctx, rawSpec(a.addr, []string{idleTopic}), sessions); err != nil {
		return nil, err
	}
	say("%s: %d idle sessions, waiting for memory to settle (at least %v)", a.Name, sessions, least)
	return settled(ctx, targets, least)
}

func memoryOf(targets []watched) ([]int64, error) {
	list := make([]int64, len(targets))
	for i, w := range targets {
		var err error
		if list[i], err = load.PSS(w.pid); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func mb(n int64) float64 { return float64(n) / (1 << 20) }

// settled waits until the memory of all targets stands still and returns it.
func settled(ctx context.Context, targets []watched, least time.Duration) ([]int64, error) {
	start := time.Now()
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	history := make([][]int64, len(targets))
	for {
		last, err := memoryOf(targets)
		if err != nil {
			return nil, err
		}
		still := true
		for i, n := range last {
			history[i] = append(history[i], n)
			still = still && steady(history[i])
		}
		age := time.Since(start)
		if (still && age >= least) || age >= least+settleExtra {
			return last, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// steady reports whether the newest samples agree with the last one.
func steady(history []int64) bool {
	if len(history) < settleSpan {
		return false
	}
	last := history[len(history)-1]
	for _, n := range history[len(history)-settleSpan:] {
		if diff := float64(n - last); max(diff, -diff) > settleDrift*float64(last) {
			return false
		}
	}
	return true
}
