package admission

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func testDoor(limit, queue int) *Door {
	return NewDoor(DoorConfig{
		Limit: GradientConfig{Min: limit, Max: limit, Target: 10 * time.Millisecond},
		Queue: queue, QueueTime: time.Second, Rate: 100,
	})
}

// crowd notes what a door says to whom.
type crowd struct {
	t    *testing.T
	d    *Door
	said []string
}

func (c *crowd) enter(now time.Duration, class Class, name string, want Verdict) *Waiter {
	c.t.Helper()
	w := &Waiter{Told: func(in bool) { c.said = append(c.said, fmt.Sprintf("%s %v", name, in)) }}
	if got := c.d.Enter(at(now), class, w); got != want {
		c.t.Errorf("%s: got verdict %d, want %d", name, got, want)
	}
	return w
}

func (c *crowd) heard(want ...string) {
	c.t.Helper()
	if !slices.Equal(c.said, want) {
		c.t.Errorf("got %v, want %v", c.said, want)
	}
	c.said = nil
}

func TestDoorOrder(t *testing.T) {
	c := &crowd{t: t, d: testDoor(1, 3)}
	c.enter(0, New, "first", In)
	c.enter(0, New, "new 1", Wait)
	c.enter(0, New, "new 2", Wait)
	c.enter(0, Resume, "resume", Wait)
	c.enter(0, New, "new 3", Leave)
	c.heard()
	c.enter(0, Reserved, "reserved", Wait) // in place of the youngest new one
	c.heard("new 2 false")
	for range 3 {
		c.d.Done(at(time.Millisecond), time.Millisecond, true)
	}
	c.heard("reserved true", "resume true", "new 1 true")
	s := c.d.Stats(at(time.Millisecond))
	if s.InFlight != 1 || s.Queued != 0 || s.Full[New] != 2 || s.Entered[New] != 2 {
		t.Errorf("got %+v", s)
	}
}

func TestDoorRefusesWhoHasWaitedTooLong(t *testing.T) {
	c := &crowd{t: t, d: testDoor(1, 10)}
	c.enter(0, New, "in", In)
	c.enter(0, New, "late", Wait)
	gone := c.enter(time.Second, New, "gone", Wait)
	c.enter(time.Second, New, "good", Wait)
	if !c.d.Abandon(gone) || c.d.Abandon(gone) {
		t.Error("one that waits can be taken out, once")
	}
	c.d.Done(at(1500*time.Millisecond), time.Millisecond, true)
	c.heard("late false", "good true")
	if got := c.d.Stats(at(0)).Late[New]; got != 2 {
		t.Errorf("got %d late, want 2", got)
	}
}

// latencies is a server that takes least for each handshake and serves capacity at once: with more it gets slower.
func latencies(g *Gradient, from time.Duration, n int, latency func(inFlight int) time.Duration) time.Duration {
	now := from
	for range n {
		limit := g.Limit()
		g.Began(limit)
		took := latency(limit)
		now += took / time.Duration(limit)
		g.Sample(at(now), took)
	}
	return now
}

func TestGradientFindsTheCapacity(t *testing.T) {
	g := NewGradient(GradientConfig{Min: 4, Max: 500, Target: time.Millisecond})
	// 40 at once take 20 ms each; above that they queue up.
	server := func(n int) time.Duration { return 20 * time.Millisecond * time.Duration(max(n, 40)) / 40 }
	now := latencies(g, 0, 20_000, server)
	if g.Least() != 20*time.Millisecond {
		t.Errorf("the least latency is 20ms, got %v", g.Least())
	}
	if l := g.limit; l < 40 || l > 80 {
		t.Errorf("got a limit of %v where 40 are served at once", l)
	}
	// A slower server is found to be one.
	slow := func(n int) time.Duration { return 20 * time.Millisecond * time.Duration(max(n, 10)) / 10 }
	latencies(g, now, 5_000, slow)
	if l := g.limit; l < 8 || l > 30 {
		t.Errorf("got a limit of %v where 10 are served at once", l)
	}
}

func TestGradientMeasuresAnew(t *testing.T) {
	g := NewGradient(GradientConfig{Min: 4, Max: 500, Target: time.Millisecond})
	now := latencies(g, 0, 5_000, func(int) time.Duration { return 10 * time.Millisecond })
	// The server has become slower for good: in time that is the new measure, and the limit recovers.
	latencies(g, now+2*measureEvery, 20_000, func(int) time.Duration { return 100 * time.Millisecond })
	if g.Least() != 100*time.Millisecond || g.limit < 100 {
		t.Errorf("got a least latency of %v and a limit of %v", g.Least(), g.limit)
	}
}

func TestGradientGrowsOnlyWhenUsed(t *testing.T) {
	g := NewGradient(GradientConfig{Min: 4, Max: 500, Target: 10 * time.Millisecond})
	for i := range 10_000 {
		g.Began(1)
		g.Sample(at(time.Duration(i)*10*time.Millisecond), time.Millisecond)
	}
	if g.limit > startLimit {
		t.Errorf("got a limit of %v, though never more than one was under way", g.limit)
	}
}

func TestGradientDoesNotMeasureForEver(t *testing.T) {
	g := NewGradient(GradientConfig{Min: 4, Max: 500, Target: 10 * time.Millisecond})
	for i := range 12 { // every gateway hangs
		g.Sample(at(time.Duration(i)*time.Second), 5*time.Second)
	}
	if g.measures {
		t.Error("it still measures after 12 seconds")
	}
}

func TestRateIsLearned(t *testing.T) {
	f := func(start, capacity float64, pressed bool, want float64) {
		t.Helper()
		m := meter{rate: start}
		for i := range 200 {
			now := at(time.Duration(i) * 100 * time.Millisecond)
			m.turn(now)
			m.n += int(capacity / 10)
			m.pressed = pressed
		}
		if m.rate < want*0.9 || m.rate > want*1.1 {
			t.Errorf("from %v, with %v/s: got %v, want %v", start, capacity, m.rate, want)
		}
	}
	f(100, 2000, true, 2000)
	f(10_000, 2000, true, 2000)
	f(100, 2000, false, 2000/meterMost) // more is tried than was seen, up to what the booked part of it should show
	f(5000, 100, false, 5000)           // few came: that says nothing
	f(100, 0, true, leastRate)
}

func TestBookSpreadsTheCrowd(t *testing.T) {
	const clients, rate = 500_000, 2000.0
	b := NewBook(BookConfig{Least: time.Second, Horizon: 10 * time.Minute, Grace: 10 * time.Second, Rand: rand.Float64})
	perSecond := map[int]int{}
	var last time.Time
	for i := range clients {
		now := at(time.Duration(i) * time.Microsecond) // all within half a second
		r := b.Reserve(now, rate, 0)
		if r.From.Before(last) {
			t.Fatalf("client %d returns before the one in front of it", i)
		}
		last = r.From
		if r.Until.Sub(r.From) != 10*time.Second {
			t.Fatalf("got a window of %v", r.Until.Sub(r.From))
		}
		perSecond[int(r.From.Sub(epoch)/time.Second)]++
	}
	for s, n := range perSecond {
		if float64(n) > rate*Share*1.01 {
			t.Errorf("%d return in second %d, more than the share of %v/s", n, s, rate)
		}
	}
	if want := time.Duration(clients / (rate * Share) * float64(time.Second)); last.Sub(epoch) > want+2*time.Second {
		t.Errorf("the last returns after %v, want %v", last.Sub(epoch), want)
	}
	if s := b.Stats(at(0)); s.Booked != clients || s.Overbooked != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestBookEndsAtItsHorizon(t *testing.T) {
	b := NewBook(BookConfig{Least: time.Second, Horizon: time.Minute, Grace: time.Second, Rand: rand.Float64})
	late := 0
	for range 100_000 {
		r := b.Reserve(at(0), 100, 0)
		if r.From.After(at(time.Minute + time.Second)) {
			t.Fatalf("a return after %v", r.From.Sub(epoch))
		}
		if r.From.After(at(30 * time.Second)) {
			late++
		}
	}
	s := b.Stats(at(0))
	if s.Overbooked < 90_000 || s.Backlog > time.Minute+time.Second {
		t.Errorf("got %+v", s)
	}
	// The crowd did not come back; the book is as new.
	if r := b.Reserve(at(time.Hour), 100, 0); r.From != at(time.Hour+time.Second) {
		t.Errorf("got a return after %v, want 1s", r.From.Sub(at(time.Hour)))
	}
}

func TestBookCountsTheQueue(t *testing.T) {
	b := NewBook(BookConfig{Least: time.Second, Horizon: time.Minute, Grace: time.Second, Rand: rand.Float64})
	if got, want := b.Reserve(at(0), 100/Share, 200).From, at(3*time.Second); got != want {
		t.Errorf("behind a queue of two seconds: got %v, want %v", got.Sub(epoch), want.Sub(epoch))
	}
}

func TestPacer(t *testing.T) {
	p := NewPacer(50*time.Millisecond, 100, 10_000)
	accepted := func(from, span time.Duration) (n int) {
		for now := from; ; n++ {
			wait := p.Wait(at(now))
			if now += wait; now > from+span {
				return n
			}
		}
	}
	if n := accepted(0, time.Second); n < 9_900 || n > 10_300 {
		t.Errorf("got %d in a second, want 10000", n)
	}
	for range 50 {
		p.Lagged(time.Second)
	}
	if n := accepted(time.Minute, time.Second); n < 95 || n > 110 {
		t.Errorf("got %d in a second while the loops lag, want 100", n)
	}
	for range 50 {
		p.Lagged(time.Millisecond)
	}
	if rate, _ := p.Rate(); rate != 10_000 || !p.AtEase() {
		t.Errorf("got %v/s after the lag, want 10000", rate)
	}
	for now := time.Hour; now < time.Hour+5*time.Second; now += 50 * time.Millisecond { // a crowd that it can take
		accepted(now, 50*time.Millisecond)
		p.Lagged(time.Millisecond)
	}
	if rate, _ := p.Rate(); rate != pacerMost*10_000 || p.AtEase() {
		t.Errorf("got %v/s for a crowd that waits while nothing lags, want %v", rate, pacerMost*10_000)
	}
	p.Lagged(40 * time.Millisecond)
	if rate, _ := p.Rate(); rate != pacerMost*10_000 {
		t.Errorf("got %v/s with a lag of less than the bound, want no change", rate)
	}
	p.Lagged(time.Millisecond)
	if rate, _ := p.Rate(); rate != 10_000 || !p.AtEase() {
		t.Errorf("got %v/s after the crowd, want 10000", rate)
	}
}
