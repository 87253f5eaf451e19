package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

// over reports whether the measurement was ended early, which is no error.
func over(ctx context.Context) bool { return ctx.Err() != nil }

// warm opens the subscribers and publishes for a moment that is not measured.
func (r *runner) warm(ctx context.Context) error {
	c, err := r.open(ctx)
	r.res.Connect = &c
	if err != nil || r.press == nil {
		return err
	}
	if err := r.fleet.Reset(r.press.Run, false); err != nil {
		return err
	}
	if r.cfg.Warmup <= 0 || over(ctx) {
		return nil
	}
	ends, failed := r.press.Ends() // of an earlier storm's, which nobody waits for any more
	want := int64(0)
	for t := range ends {
		want -= int64(ends[t]-failed[t]) * int64(r.each[t])
	}
	b, err := r.press.Publish(ctx, r.cfg.Rate, r.cfg.Warmup, false)
	if err != nil {
		return err
	}
	if b.Answered == 0 && !over(ctx) {
		return b.Err()
	}
	ends, failed = r.press.Ends()
	for t := range ends {
		want += int64(ends[t]-failed[t]) * int64(r.each[t])
	}
	return r.arrived(want)
}

func (r *runner) steady(ctx context.Context) error {
	if err := r.warm(ctx); err != nil || over(ctx) {
		return err
	}
	if r.cfg.Rest != nil {
		if err := r.cfg.Rest(ctx); err != nil || over(ctx) {
			return err
		}
	}
	p, err := r.phase(ctx, r.cfg.Rate, r.cfg.Duration)
	if err != nil {
		return err
	}
	r.res.Phases = append(r.res.Phases, p)
	return nil
}

// ramp raises the rate until one is not held, and then looks between that and the last one that was.
func (r *runner) ramp(ctx context.Context) error {
	if err := r.warm(ctx); err != nil {
		return err
	}
	held, broke := 0.0, 0.0
	try := func(rate float64) error {
		p, err := r.phase(ctx, rate, r.cfg.Step)
		if err != nil {
			return err
		}
		r.res.Phases = append(r.res.Phases, p)
		if over(ctx) {
			return nil
		}
		if p.Why = p.broken(r.cfg.Limit); p.Why == "" {
			p.Held, held = true, rate
		} else {
			broke = rate
		}
		return nil
	}
	for rate := r.cfg.Rate; broke == 0 && !over(ctx) && (r.cfg.MaxRate == 0 || rate <= r.cfg.MaxRate); rate = round(rate * r.cfg.Factor) {
		if err := try(rate); err != nil {
			return err
		}
	}
	for i := 0; i < r.cfg.Refine && held > 0 && broke > 0 && !over(ctx); i++ {
		rate := round((held + broke) / 2)
		if rate <= held || rate >= broke {
			break
		}
		if err := try(rate); err != nil {
			return err
		}
	}
	r.res.Knee, r.res.Beyond = held, broke
	return nil
}

// round is a rate to three digits.
func round(rate float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(rate))-2)
	return math.Round(rate/unit) * unit
}

// broken is why a rate does not count as held; empty when it does.
func (p *Phase) broken(limit time.Duration) string {
	switch {
	case p.Lost > 0:
		return fmt.Sprintf("%d messages were lost", p.Lost)
	case p.LostConnections > 0:
		return fmt.Sprintf("%d connections were lost", p.LostConnections)
	case p.Acknowledged < p.Published:
		return fmt.Sprintf("%d messages were not taken", p.Published-p.Acknowledged)
	case p.Latency.P99 >= ms(limit):
		return fmt.Sprintf("p99 was %.1f ms", p.Latency.P99)
	}
	return ""
}

// storm cuts all subscribers off, for each way to come back.
func (r *runner) storm(ctx context.Context) error {
	for _, way := range r.cfg.Ways {
		if over(ctx) {
			return nil
		}
		if err := r.fleet.Close(); err != nil {
			return err
		}
		if err := r.warm(ctx); err != nil {
			return err
		}
		s, err := r.stormOf(ctx, way)
		if err != nil {
			return err
		}
		r.res.Storms = append(r.res.Storms, s)
	}
	return nil
}

func (r *runner) stormOf(ctx context.Context, way load.Back) (*StormResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	published := make(chan *load.Batch, 1)
	if r.press != nil {
		if err := r.fleet.Reset(r.press.Run, false); err != nil {
			return nil, err
		}
		go func() {
			b, _ := r.press.Publish(ctx, r.cfg.Rate, r.cfg.Window+time.Hour, false) // its end is ours
			published <- b
		}()
	}
	before, err := r.fleet.Stats(false)
	if err != nil {
		return nil, err
	}
	if err := r.fleet.Cut(r.cfg.Spread, way, r.cfg.Retry); err != nil {
		return nil, err
	}
	watch, stop := context.WithTimeout(ctx, r.cfg.Window)
	defer stop()
	t, err := r.fleet.Settle(watch, func(t load.Totals) {
		r.say("storm of "+string(way)+" ones", float64(t.Settled), float64(before.Open), "%d of %d are back", t.Settled, before.Open)
	})
	if err != nil {
		return nil, err
	}
	s := newStorm(way, before.Open, t)
	if r.press == nil {
		return s, nil
	}
	cancel()
	if b := <-published; b != nil {
		s.Published = b.Published
	}
	ends, failed := r.press.Ends()
	<-time.After(min(r.cfg.Settle, time.Second)) // what is on its way arrives
	if t, err = r.fleet.Final(ends); err != nil {
		return nil, err
	}
	excused := int64(0)
	for i := range failed {
		excused += int64(failed[i]) * int64(r.each[i])
	}
	s.Delivered, s.Repeated, s.OutOfOrder, s.Away = t.Frames, t.Repeated, t.Disordered, t.Away
	s.Lost = max(0, t.Missing-excused)
	return s, nil
}

// handshakes opens all subscribers, and again while there is time.
func (r *runner) handshakes(ctx context.Context) error {
	end := time.Now().Add(r.cfg.Duration)
	var all Connects
	for {
		before, err := r.usage()
		if err != nil {
			return err
		}
		c, err := r.open(ctx)
		if err != nil {
			return err
		}
		after, err := r.usage()
		if err != nil {
			return err
		}
		all.add(c)
		r.res.addUsed(r.cfg.Watched, before, after, all)
		if over(ctx) || !time.Now().Before(end) {
			r.res.Connect = &all
			return nil
		}
		if err := r.fleet.Close(); err != nil {
			return err
		}
	}
}
