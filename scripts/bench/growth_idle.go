package main

import (
	"context"
	"fmt"
)

// measureIdle measures clusters without messages. A series is one stage, whose sessions become more.
func measureIdle(ctx context.Context, o growthOptions, a axis) (list []pointResult, err error) {
	for from := 0; from < len(a.Points); {
		to := from + 1
		for to < len(a.Points) && a.Points[to].Series == a.Points[from].Series {
			to++
		}
		more, err := idleSeries(ctx, o, a.Points[from:to])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.Points[from].Series, err)
		}
		list, from = append(list, more...), to
	}
	return list, nil
}

func idleSeries(ctx context.Context, o growthOptions, points []point) (list []pointResult, err error) {
	s, err := newStage(ctx, o.binary, cast{routers: points[0].Routers, gateways: points[0].Gateways, routerFlags: points[0].flags})
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return nil, err
	}
	most := points[len(points)-1].Sessions[0]
	f, err := newFleet(most)
	if err != nil {
		return nil, err
	}
	defer f.Stop() //nolint:errcheck // the measurement is done, and a process of subscribers that failed has said so
	press, err := newPress(s.publishURL(), growthTopics(points[0].Topics), growthSize, 1)
	if err != nil {
		return nil, err
	}
	defer press.Close()
	before, err := s.memory(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range points {
		show.Next("idle, %s %s", p.Series, count(p.X))
		p.Sessions = []int{p.Sessions[0] / o.shrink}
		r := newPoint(p)
		r.Before = before
		if r.Sessions > 0 {
			if err := f.Open(ctx, p.spec(s), r.Sessions); err != nil {
				return nil, err
			}
			t, err := f.Stats(false) // before the count begins anew
			if err == nil {
				r.Closed = t.Lost
				_, t, err = publishAll(ctx, f, press, 1, 0, r.Sessions, false)
			}
			if err != nil {
				return nil, err
			}
			r.Lost = max(0, int64(r.Sessions)-t.Frames)
		}
		if err := r.settled(ctx, o, s, p); err != nil {
			return nil, err
		}
		t, err := f.Stats(false)
		if err != nil {
			return nil, err
		}
		r.Closed += t.Lost
		if err := r.blame(ctx, s); err != nil {
			return nil, err
		}
		say("idle, %s %s: %v", p.Series, count(p.X), r)
		list = append(list, r)
	}
	return list, nil
}
