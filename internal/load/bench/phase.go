package bench

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

const (
	intervalEvery = time.Second
	arrivedEvery  = 100 * time.Millisecond
)

// phase publishes at a rate for so long, and tells what arrived.
func (r *runner) phase(ctx context.Context, rate float64, d time.Duration) (*Phase, error) {
	if err := r.fleet.Reset(r.press.Run, false); err != nil {
		return nil, err
	}
	ends0, failed0 := r.press.Ends()
	before, err := r.usage()
	if err != nil {
		return nil, err
	}
	p := &Phase{Rate: rate}
	batch, err := r.publish(ctx, p, rate, d)
	if err != nil {
		return nil, err
	}
	ends, failed := r.press.Ends()
	for t := range ends {
		p.Expected += int64(ends[t]-ends0[t]-(failed[t]-failed0[t])) * int64(r.each[t])
		p.excused += int64(failed[t]-failed0[t]) * int64(r.each[t])
	}
	if err := r.arrived(p.Expected); err != nil {
		return nil, err
	}
	after, err := r.usage()
	if err != nil {
		return nil, err
	}
	t, err := r.fleet.Final(ends)
	if err != nil {
		return nil, err
	}
	p.fill(batch, t)
	return p, r.used(p, before, after)
}

// publish publishes, and looks every second at what has arrived meanwhile.
func (r *runner) publish(ctx context.Context, p *Phase, rate float64, d time.Duration) (*load.Batch, error) {
	type outcome struct {
		batch *load.Batch
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		b, err := r.press.Publish(ctx, rate, d, false)
		done <- outcome{b, err}
	}()
	began, frames := time.Now(), int64(0)
	last := began
	look := func() error {
		t, err := r.fleet.Interval()
		if err != nil {
			return err
		}
		now := time.Now()
		i := Interval{At: now.Sub(began).Seconds(), Open: t.Open, P50: ms(load.Quantile(t.Interval, 50)), P99: ms(load.Quantile(t.Interval, 99)),
			Max: ms(load.Quantile(t.Interval, 100)), Rate: float64(t.Frames-frames) / now.Sub(last).Seconds()}
		frames, last = t.Frames, now
		p.Intervals = append(p.Intervals, i)
		r.say(fmt.Sprintf("%g messages/s", rate), i.At, d.Seconds(), "%.0f deliveries/s, p50 %.1f ms, p99 %.1f ms", i.Rate, i.P50, i.P99)
		return nil
	}
	tick := time.NewTicker(intervalEvery)
	defer tick.Stop()
	for {
		select {
		case o := <-done:
			return o.batch, o.err
		case <-tick.C:
			if err := look(); err != nil {
				r.press.Close()
				<-done
				return nil, err
			}
		}
	}
}

// arrived waits until so many messages have arrived, or for as long as the last ones may take.
func (r *runner) arrived(want int64) error {
	for limit := time.Now().Add(r.cfg.Settle); ; {
		t, err := r.fleet.Stats(false)
		if err != nil || t.Frames >= want || time.Now().After(limit) {
			return err
		}
		<-time.After(arrivedEvery)
	}
}

// fill takes what was published and what arrived.
func (p *Phase) fill(b *load.Batch, t load.Totals) {
	p.Seconds = b.Took.Seconds()
	p.Published, p.Acknowledged = b.Published, b.Answered
	p.Delivered, p.Repeated, p.OutOfOrder, p.Away = t.Frames, t.Repeated, t.Disordered, t.Away
	p.Lost = max(0, t.Missing-p.excused)
	p.LostConnections = t.Lost
	p.DeliveryRate = float64(t.Frames) / p.Seconds
	p.MBps = float64(t.Bytes) / p.Seconds / 1e6
	p.Latency, p.Late, p.Call = load.PercentilesOf(t.Latency), load.PercentilesOf(b.Late), load.PercentilesOf(b.Call)
	p.hist = t.Latency
	p.Errors = maps.Clone(t.Reasons)
	for reason, n := range b.Failed {
		p.Errors["publish: "+reason] += n
	}
}

// What counts as a generator that may have been the bottleneck.
const (
	busyProcess = 0.85 // of a core, of a process of subscribers, whose loop has one
	lateShare   = 0.25 // of the p99 of latency, that the p99 of sending late is
	lateLeast   = 5.0  // ms
	idleLeast   = 0.03 // of the machine
)

// used tells what processes used, and warns where the generator may have been the bottleneck.
func (r *runner) used(p *Phase, before, after use) error {
	took := after.at.Sub(before.at)
	for i, w := range r.cfg.Watched {
		pss, err := load.PSS(w.PID)
		if err != nil {
			return fmt.Errorf("cannot watch %s: %w", w.Name, err)
		}
		cpu := after.watched[i] - before.watched[i]
		p.Processes = append(p.Processes, newUsed(w.Name, w.PID, cpu, took, p, pss))
	}
	if len(after.fleet) == 0 && after.publisher == 0 {
		return nil
	}
	p.Generator = append(p.Generator, newUsed("publisher", 0, after.publisher-before.publisher, took, p, 0))
	for i, pid := range r.fleet.PIDs() {
		u := newUsed(fmt.Sprintf("subscribers %d", i+1), pid, after.fleet[i]-before.fleet[i], took, p, 0)
		p.Generator = append(p.Generator, u)
		if u.Cores > busyProcess {
			p.warn("the process of %s used %.0f %% of a core, and has one event loop: latencies may be its own; take more --processes", u.Name, 100*u.Cores)
		}
	}
	if p.Late.P99 > max(lateLeast, lateShare*p.Latency.P99) {
		p.warn("messages were sent late (p99 %.1f ms of %.1f ms): the publisher, or what answers it, was the bottleneck", p.Late.P99, p.Latency.P99)
	}
	idle := float64(after.unused-before.unused) / float64(took) / float64(runtime.NumCPU())
	if p.Busy = 100 * max(0, 1-idle); idle < idleLeast {
		p.warn("the machine had %.0f %% of its processors idle: whatever ran on it, the generator included, waited for them", 100*max(0, idle))
	}
	return nil
}

func (p *Phase) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

func newUsed(name string, pid int, cpu, took time.Duration, p *Phase, pss int64) Used {
	u := Used{Name: name, PID: pid, CPUSeconds: cpu.Seconds(), Cores: cpu.Seconds() / took.Seconds(), PSS: pss}
	if p.Delivered > 0 {
		u.PerDelivery = float64(cpu.Microseconds()) / float64(p.Delivered)
	}
	return u
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
