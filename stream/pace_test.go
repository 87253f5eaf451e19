package stream

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/topic"
)

// span is how long a reader is looked at.
const span = 10 * time.Second

// paced is how a reader fares.
type paced struct {
	reads   int
	entries int
	held    int           // entries that came while the reader lingered
	longest time.Duration // that one of them was held up
}

// play has entries come, the next one after each of gap, at a reader whose reads take no time.
func play(most time.Duration, gap func() time.Duration) (got paced) {
	p := pace{most: most}
	began := time.Unix(1, 0)
	now, next := began, began
	for now.Sub(began) < span {
		if now.Before(next) {
			now = next // it blocks
		}
		got.reads++
		for !next.After(now) {
			got.entries++
			if held := now.Sub(next); held > 0 {
				got.held++
				got.longest = max(got.longest, held)
			}
			next = next.Add(gap())
		}
		now = now.Add(p.woken(now))
	}
	return got
}

// At no rate are there more reads than the bound, and no entry is held up for longer than the linger.
func TestPace(t *testing.T) {
	const most = 2 * time.Millisecond
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a rate
	f := func(rate float64, gap func() time.Duration, check func(p paced) bool) {
		t.Helper()
		p := play(most, gap)
		if limit := int(span/most) + freeBurst + 1; p.reads > limit || p.longest > most || !check(p) {
			t.Errorf("%g/s: %d entries in %d reads (at most %d), %d held up, for %v at the longest", rate, p.entries, p.reads, limit, p.held, p.longest)
		}
	}
	even := func(rate float64) func() time.Duration {
		return func() time.Duration { return time.Duration(float64(time.Second) / rate) }
	}
	poisson := func(rate float64) func() time.Duration {
		return func() time.Duration { return time.Duration(random.ExpFloat64() * float64(time.Second) / rate) }
	}
	alone := func(p paced) bool { return p.held == 0 && p.reads == p.entries }
	for _, rate := range []float64{0.1, 1, 10, 100, 400, 500} {
		f(rate, even(rate), alone)
	}
	for _, rate := range []float64{0.1, 1, 10, 100} {
		f(rate, poisson(rate), alone)
	}
	for _, rate := range []float64{1000, 5000, 50_000} { // several to a read
		for _, gap := range []func() time.Duration{even(rate), poisson(rate)} {
			f(rate, gap, func(p paced) bool { return p.reads < p.entries*2/3 })
		}
	}
	// A few at once, now and then, wait for nothing.
	n := 0
	f(20, func() time.Duration {
		if n++; n%freeBurst != 0 {
			return 100 * time.Microsecond
		}
		return time.Second
	}, alone)
	if p := play(0, even(5000)); p.held > 0 || p.reads != p.entries {
		t.Errorf("without a linger %d entries took %d reads, and %d were held up", p.entries, p.reads, p.held)
	}
}

// A reader that lingers does so for as long as it is to, and ends it for whatever else it is to do.
func TestLingerEnds(t *testing.T) {
	f := func(name string, end func(r *reader, cancel func()), want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c, err := New(Config{URL: "redis://127.0.0.1:1"}, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			r := c.NewTailer(TailConfig{Linger: time.Hour}).readers[0][0]
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for range freeBurst {
				r.linger(ctx)
			}
			if n := c.metrics.lingers.Load(); n != 0 {
				t.Fatalf("%s: it lingered %d times in the burst that is free", name, n)
			}
			began := time.Now()
			time.AfterFunc(time.Minute, func() { end(r, cancel) })
			r.linger(ctx)
			if got := time.Since(began); got != want || c.metrics.lingers.Load() != 1 || time.Duration(c.metrics.lingered.Load()) != got {
				t.Errorf("%s: it lingered for %v, want %v", name, got, want)
			}
		})
	}
	f("nothing else", func(*reader, func()) {}, time.Hour)
	f("the end", func(_ *reader, cancel func()) { cancel() }, time.Minute)
	f("other slots wanted", func(r *reader, _ func()) { r.t.Want(nil, []int{r.first}) }, time.Minute)
	f("an epoch in doubt", func(r *reader, _ func()) { r.t.interruptAll() }, time.Minute)
}

// While a reader lingers what comes waits in the stream, of all its slots, and then comes in one read.
func TestLingerBringsSeveral(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		both(t, func(t *testing.T, url string) {
			c := ready(t, start(t, Config{URL: url}))
			h := newHeard(t)
			tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Linger: time.Hour, Beacon: time.Hour})
			names := []string{"finals", "semi", "third"}
			var slots []int
			for _, name := range names {
				slots = append(slots, topic.Slot(name))
			}
			tl.width, tl.readers = topic.Slots, tl.readers[:1] // one connection for all
			k.want(tl, slots...)
			stop := run(t, h, tl, len(slots))
			var want []string
			for i := range freeBurst + 1 { // the first ones are read one by one
				want = append(want, strconv.Itoa(i))
				publish(t, c, "finals", want[i])
				h.wantPayloads("finals", want...)
			}
			reads, entries := c.metrics.reads.Load(), c.metrics.entries.Load()
			for i := range 10 {
				for _, name := range names {
					publish(t, c, name, "late "+strconv.Itoa(i))
				}
			}
			note(tl.readers[0][k-followed].changed) // which ends it
			for _, name := range names {
				h.wait("all of "+name+" have come", func() bool { return len(h.entries[name])%(freeBurst+1) == 10 })
			}
			if r, n := c.metrics.reads.Load()-reads, c.metrics.entries.Load()-entries; r != 1 || n != 30 {
				t.Errorf("%d entries came in %d reads, want 30 in one", n, r)
			}
			stop()
		})
	})
}
