package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// newStage starts a redis-server, a router and two gateways, and waits until the router is ready.
func newStage(ctx context.Context, binary, dir string, flags []string) (s *testcluster.Stage, router *testcluster.Node, err error) {
	if s, err = testcluster.NewStage(ctx, binary, dir, false); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			s.End(err)
		}
	}()
	if router, err = s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Router, Flags: flags}); err != nil {
		return nil, nil, err
	}
	ids := []string{"g1", "g2"}
	for _, id := range ids {
		if _, err = s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Gateway, ID: id}); err != nil {
			return nil, nil, err
		}
	}
	return s, router, s.Await(ctx, router, ids...)
}

// workerArg as the only argument makes the program a process of clients.
const workerArg = "worker"

// crowdTopics is how many topics a real crowd follows.
const crowdTopics = 200

// crowdSpec are clients of ringside.v1, each from an address of its own.
func crowdSpec(router string) (load.Spec, error) {
	t, err := load.FindTemplate("ringside")
	s := load.Spec{Template: t, Targets: []string{router}, Source: load.Loopback(1)}
	for i := range crowdTopics {
		s.Topics = append(s.Topics, fmt.Sprintf("storm-%d", i))
	}
	return s, err
}

// withFleet has f use a fleet for so many clients.
func withFleet(clients int, f func(*load.Fleet) error) error {
	fleet, err := load.NewFleet(load.Processes(clients), load.Spawn(0, workerArg))
	if err != nil {
		return err
	}
	err = f(fleet)
	return errors.Join(err, fleet.Stop())
}

// runStorm has the plan's clients come to the router, and counts until all are back or the plan's time is over.
func runStorm(ctx context.Context, p plan, router string) (o outcome, err error) {
	spec, err := crowdSpec(router)
	if err != nil {
		return o, err
	}
	spec.Spread, spec.Patience, spec.Back, spec.Retry = p.Spread, p.Patience, load.Naive, p.Retry
	spec.Source.Shared, spec.Source.Behind = int(p.Shared*float64(p.Clients)), p.Behind
	if p.Policy {
		spec.Back = load.Obedient
	}
	err = withFleet(p.Clients, func(f *load.Fleet) error {
		if err := f.Begin(spec, p.Clients); err != nil {
			return err
		}
		watch, cancel := context.WithTimeout(ctx, p.Most)
		defer cancel()
		t, err := f.Settle(watch, nil)
		if err = errors.Join(err, ctx.Err(), expected(t)); err != nil {
			return err
		}
		var sum []slice
		open := 0
		for _, s := range t.Slices {
			open += s.Opened
			sum = append(sum, slice{Attempts: s.Attempts, Opened: s.Opened, Refused: s.Refused, Abandoned: s.Abandoned, Open: open})
		}
		o = summarize(p, sum)
		return nil
	})
	return o, err
}

// expected is an error when attempts ended otherwise than by a time-out, by a connection that the router let go, or by a refusal for a while.
func expected(t load.Totals) error {
	for reason := range t.Reasons {
		status, _, _ := strings.Cut(strings.TrimPrefix(reason, "status "), " ")
		if strings.HasPrefix(reason, "status ") && status != "503" && status != "429" || strings.HasPrefix(reason, "close ") || strings.HasPrefix(reason, "lost") {
			return fmt.Errorf("outcomes that were not expected: %s", load.Reasons(t.Reasons))
		}
	}
	return nil
}
