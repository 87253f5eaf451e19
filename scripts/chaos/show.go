package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/look"
	"github.com/ringside-edge/ringside/internal/progress"
)

// showEvery is how often the bar looks how far the run is.
const showEvery = 500 * time.Millisecond

// display tells the person who waits how far the seeds are: which one it is, how many of its faults are made, and what was found.
type display struct {
	bar      *progress.Bar
	duration time.Duration // of the faults of a seed
	seeds    int

	seed       atomic.Int64 // the how many-th, from 1
	began      atomic.Int64 // of the seed, Unix nanoseconds
	took       atomic.Int64 // all seeds before it, nanoseconds
	faults     atomic.Int64 // made
	planned    atomic.Int64
	violations atomic.Int64 // of all seeds
}

// show is the one of this process.
//
//nolint:gochecknoglobals // there is one terminal
var show = newDisplay()

func newDisplay() *display {
	env := look.Env(os.Environ())
	return &display{bar: progress.New(progress.Config{Out: os.Stderr, Env: env, Style: look.Of(look.Auto, os.Stderr, env)})}
}

// begin says that the next seed begins.
func (d *display) begin(faults int) {
	now := time.Now().UnixNano()
	if was := d.began.Swap(now); was != 0 {
		d.took.Add(now - was)
	}
	d.faults.Store(0)
	d.planned.Store(int64(faults))
	d.seed.Add(1)
	d.draw()
}

// run draws until ctx ends.
func (d *display) run(ctx context.Context) {
	tick := time.NewTicker(showEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if d.seed.Load() > 0 {
				d.draw()
			}
		}
	}
}

func (d *display) draw() {
	seed := d.seed.Load()
	d.bar.Set(fmt.Sprintf("seed %d of %d", seed, max(int64(d.seeds), seed)), d.done(time.Now()), float64(max(int64(d.seeds), seed)),
		fmt.Sprintf("%d of %d faults, %d violations", d.faults.Load(), d.planned.Load(), d.violations.Load()))
}

// done is how many seeds are done, with a fraction. What a seed takes is guessed until one is over: its faults, and a minute to come up and
// to come to rest.
func (d *display) done(now time.Time) float64 {
	before := d.seed.Load() - 1
	each := float64(d.duration + time.Minute)
	if before > 0 {
		each = float64(d.took.Load()) / float64(before)
	}
	return float64(before) + min(0.99, float64(now.UnixNano()-d.began.Load())/each)
}

// end ends the bar: at 100 % when all seeds are over.
func (d *display) end(over bool) {
	if over {
		d.bar.Set("all seeds", float64(d.seeds), float64(d.seeds), fmt.Sprintf("%d violations", d.violations.Load()))
	}
	d.bar.End()
}

// say tells what goes on, above the bar.
func say(format string, args ...any) {
	fmt.Fprintf(show.bar.Over(os.Stdout), "%s  %s\n", time.Now().Format("15:04:05.0"), fmt.Sprintf(format, args...))
}
