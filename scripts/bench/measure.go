package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// The topics of the measurement.
const (
	fanOutTopic = "bench/final"
	idleTopic   = "bench/idle"
)

// measurement collects what the report tells.
type measurement struct {
	o       options
	stage   *stage
	fleet   *load.Fleet
	started time.Time

	memory  []memorySample
	samples []sample
}

// memorySample is the user memory of one process before and with idle sessions, in bytes.
type memorySample struct {
	Process  string
	Before   int64
	WithFew  int64 // with Sessions / fewShare
	With     int64
	Sessions int
}

// PerSession is the memory that one session takes.
func (m memorySample) PerSession() float64 { return float64(m.With-m.Before) / float64(m.Sessions) }

// Further is what each session takes beyond the first ones: without what it costs once to have sessions at all.
func (m memorySample) Further() float64 {
	return float64(m.With-m.WithFew) / float64(m.Sessions-m.Sessions/fewShare)
}

// sample is one measurement of CPU time and latency.
type sample struct {
	Arm        string
	Rate       float64
	Round      int
	Deliveries int64
	Missing    int64
	Proxy      time.Duration // per delivery
	Gateway    time.Duration // per delivery
	P50        time.Duration
	P99        time.Duration
	Max        time.Duration
}

// fanOut measures every arm at every rate, in rounds with turning order.
func (m *measurement) fanOut(ctx context.Context) error {
	p, err := newPress(redisURL(m.stage.redis.Addr), []string{fanOutTopic}, m.o.size, 1)
	if err != nil {
		return err
	}
	defer p.Close()
	arms := slices.Clone(m.stage.arms)
	for round := 1; round <= m.o.rounds; round++ {
		for _, a := range arms {
			show.Next("round %d of %d, %s", round, m.o.rounds, a.Name)
			if err := m.fanOutArm(ctx, p, a, round); err != nil {
				return fmt.Errorf("%s, round %d: %w", a.Name, round, err)
			}
		}
		arms = append(arms[1:], arms[0]) // the router does not always come first
	}
	return nil
}

func (m *measurement) fanOutArm(ctx context.Context, p *load.Press, a arm, round int) error {
	if err := m.fleet.Open(ctx, rawSpec(a.addr, []string{fanOutTopic}), m.o.subscribers); err != nil {
		return err
	}
	for _, rate := range m.o.rates {
		// A first message warms every path up, and shows that everybody listens.
		if _, _, err := deliver(ctx, m.fleet, p, 1, 0, m.o.subscribers, false); err != nil {
			return err
		}
		s, err := m.measure(ctx, p, a, rate)
		if err != nil {
			return err
		}
		s.Round = round
		say("round %d, %s, %g/s: proxy %v, gateway %v per delivery, p50 %v, p99 %v, missing %d",
			round, a.Name, rate, s.Proxy, s.Gateway, s.P50, s.P99, s.Missing)
		m.samples = append(m.samples, s)
	}
	return m.closeAll(ctx)
}

// measure publishes for one window and reads the clocks of the processes before and after.
func (m *measurement) measure(ctx context.Context, p *load.Press, a arm, rate float64) (sample, error) {
	before, err := m.clocks(a)
	if err != nil {
		return sample{}, err
	}
	b, t, err := deliver(ctx, m.fleet, p, rate, m.o.window, m.o.subscribers, false)
	if err != nil {
		return sample{}, err
	}
	after, err := m.clocks(a)
	if err != nil {
		return sample{}, err
	}
	want := int64(b.Published) * int64(m.o.subscribers)
	if t.Frames == 0 {
		return sample{}, fmt.Errorf("not one of %d frames arrived", want)
	}
	return sample{
		Arm: a.Name, Rate: rate, Deliveries: t.Frames, Missing: want - t.Frames,
		Proxy:   (after.proxy - before.proxy) / time.Duration(t.Frames),
		Gateway: (after.gateway - before.gateway) / time.Duration(t.Frames),
		P50:     load.Quantile(t.Latency, 50), P99: load.Quantile(t.Latency, 99), Max: load.Quantile(t.Latency, 100),
	}, nil
}

// clocks are the CPU times used so far.
type clocks struct{ proxy, gateway time.Duration }

func (m *measurement) clocks(a arm) (c clocks, err error) {
	if a.pid != 0 {
		if c.proxy, err = load.CPUTime(a.pid); err != nil {
			return c, err
		}
	}
	c.gateway, err = load.CPUTime(m.stage.gateways[0].PID())
	return c, err
}

// closeAll closes the subscribers and waits until their sockets are gone everywhere.
func (m *measurement) closeAll(ctx context.Context) error {
	if err := m.fleet.Close(); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	few := min(200, m.o.subscribers)
	return testcluster.Poll(limit, func() error {
		for _, p := range m.stage.procs {
			n, err := load.Sockets(p.PID())
			if err != nil {
				return err
			}
			if n > few {
				return fmt.Errorf("%s still has %d sockets", p.Name, n)
			}
		}
		return nil
	})
}
