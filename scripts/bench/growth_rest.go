package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

// settled is called once all sessions are open and have had a message: it waits until those are parked that will be, and measures what they take.
func (r *pointResult) settled(ctx context.Context, o growthOptions, s *stage, p point) (err error) {
	if r.Parked, err = s.parked(ctx); err != nil {
		return err
	}
	with, err := s.memory(ctx)
	if err != nil {
		return err
	}
	if n := float64(r.Sessions); n > 0 {
		r.Memory = parts{Router: (with.Router - r.Before.Router) / n, Gateway: (with.Gateway - r.Before.Gateway) / n}
	}
	if !p.Idle {
		return nil
	}
	idle, err := s.idleLoad(ctx, o.idle)
	if err == nil {
		r.Others = max(r.Others, idle.Others())
		r.Idle = &parts{Router: idle.perSecond(idle.routers), Gateway: idle.perSecond(idle.gateways), Redis: idle.perSecond(idle.redis)}
	}
	return err
}

// How sessions come to rest.
const (
	restEvery = 500 * time.Millisecond
	restFor   = 4 * time.Second // nothing may have changed for so long: a session is parked after two seconds, once it has been looked at
	restLimit = time.Minute
)

// parked waits until no more sessions are parked, and returns how many are.
func (s *stage) parked(ctx context.Context) (int, error) {
	last, since := -1, time.Now()
	for began := time.Now(); ; {
		n := 0
		for _, r := range s.routers {
			v, err := r.Metric(ctx, "ringside_router_sessions_parked")
			if err != nil {
				return 0, err
			}
			n += int(v)
		}
		switch {
		case n != last:
			last, since = n, time.Now()
		case time.Since(since) > restFor:
			return n, nil
		case time.Since(began) > restLimit:
			return 0, errors.New("sessions do not come to rest: " + strconv.Itoa(n) + " are parked")
		}
		if err := wait(ctx, restEvery); err != nil {
			return 0, err
		}
	}
}

// blame notes what nodes say of themselves where something went wrong.
func (r *pointResult) blame(ctx context.Context, s *stage) (err error) {
	for _, n := range s.routers {
		v, err := n.Metric(ctx, "ringside_router_gateways_silent_total")
		if err != nil {
			return err
		}
		r.Silences += int(v)
	}
	if r.Closed > 0 {
		r.Reasons, err = s.reasons(ctx)
	}
	return err
}

// reasons are why nodes have closed sessions so far.
func (s *stage) reasons(ctx context.Context) (map[string]int64, error) {
	m := map[string]int64{}
	for _, n := range s.nodes() {
		r, err := n.Get(ctx, "/metrics")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(r.Body) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
			v, err := strconv.ParseFloat(value, 64)
			if ok && err == nil && v > 0 && strings.HasPrefix(name, "ringside_"+partOf(n)+"_closed_total{") {
				m[name] += int64(v)
			}
		}
	}
	return m, nil
}

// memory is the Pss of the routers and the gateways, each kind together, once they have collected their garbage and given back what they do not need.
func (s *stage) memory(ctx context.Context) (parts, error) {
	for range 2 { // what has a finalizer goes with the second
		for _, n := range s.nodes() {
			if r, err := n.Get(ctx, "/debug/pprof/heap?gc=1"); err != nil || r.Status != 200 {
				return parts{}, fmt.Errorf("%s does not collect its garbage: %d, %w", n.Name, r.Status, err)
			}
		}
	}
	last, since := parts{}, time.Now()
	for began := time.Now(); len(s.nodes()) > 0; {
		var now parts
		for _, n := range s.nodes() {
			v, err := load.PSS(n.PID())
			if err != nil {
				return now, err
			}
			now.add(partOf(n), float64(v))
		}
		if now.All() < 0.998*last.All() || last.All() == 0 {
			last, since = now, time.Now()
		}
		if time.Since(since) > time.Second || time.Since(began) > memoryLimit {
			return now, nil
		}
		if err := wait(ctx, restEvery); err != nil {
			return now, err
		}
	}
	return parts{}, nil
}

// memoryLimit is how long memory may take to be given back.
const memoryLimit = 8 * time.Second
