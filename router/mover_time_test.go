package router

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// stand is a mover with time under control, and gateways that do what a test wants.
type stand struct {
	v       *mover
	targets []*shard
	dial    func(m *move, sh *shard) dialOutcome
	atOnce  int
	rate    float64

	// Guarded by lock.
	dials  []time.Time
	back   map[*move]int // how often each was handed back
	open   int
	widest int
	lock   chan struct{}
}

// onStand runs f in a bubble with a mover that runs.
func onStand(t *testing.T, targets int, f func(s *stand)) {
	synctest.Test(t, func(t *testing.T) {
		s := &stand{v: newMover(), atOnce: 64, rate: 1e6, back: map[*move]int{}, lock: make(chan struct{}, 1)}
		r := &Router{}
		for range targets {
			s.targets = append(s.targets, &shard{r: r, id: string(rune('a' + len(s.targets)))})
		}
		s.dial = func(*move, *shard) dialOutcome { return dialOK }
		s.v.limits = func() (int, float64) { return s.atOnce, s.rate }
		s.v.targets = func(*move) (list []*shard) {
			for _, sh := range s.targets {
				if sh.alive(time.Now()) {
					list = append(list, sh)
				}
			}
			return list
		}
		s.v.dial = func(_ context.Context, m *move, sh *shard) (int, dialOutcome, error) {
			s.do(func() {
				s.dials = append(s.dials, time.Now())
				s.open++
				s.widest = max(s.widest, s.open)
			})
			defer s.do(func() { s.open-- })
			if o := s.dial(m, sh); o != dialOK {
				return -1, o, errors.New("no")
			}
			return 100, dialOK, nil
		}
		s.v.failed = func(*shard, *move, dialOutcome, error) {}
		s.v.done = func(m *move) { s.do(func() { s.back[m]++ }) }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.v.run(ctx); close(ended) }()
		f(s)
		s.do(func() {})
		cancel()
		<-ended
	})
}

func (s *stand) do(f func()) {
	s.lock <- struct{}{}
	f()
	<-s.lock
}

func (s *stand) add(reason moveReason, from *shard) *move {
	m := &move{reason: reason, from: from, fd: -1, until: time.Now().Add(30 * time.Second)}
	s.v.add(m)
	return m
}

// after lets time pass. What the others have noted may be read until the next call.
func (s *stand) after(d time.Duration) {
	s.do(func() {})
	<-time.After(d)
	synctest.Wait()
	s.do(func() {})
}

func TestMoverGoesOnToTheNext(t *testing.T) {
	onStand(t, 3, func(s *stand) {
		s.dial = func(_ *move, sh *shard) dialOutcome {
			if sh == s.targets[2] {
				return dialOK
			}
			return dialRefused
		}
		m := s.add(moveCrash, nil)
		s.after(time.Millisecond)
		if m.shard != s.targets[2] || m.fd != 100 || s.back[m] != 1 || len(s.dials) != 3 {
			t.Errorf("got %v, handed back %d times after %d dials", m.shard, s.back[m], len(s.dials))
		}
	})
}

func TestMoverGivesUpInTime(t *testing.T) {
	onStand(t, 2, func(s *stand) {
		s.dial = func(*move, *shard) dialOutcome { return dialBusy }
		m := s.add(moveDrain, nil)
		s.after(29 * time.Second)
		if n := len(s.dials); s.back[m] != 0 || n < 40 || n > 80 { // pauses grow up to a second
			t.Errorf("handed back %d times, %d dials within 29 s", s.back[m], n)
		}
		s.after(2 * time.Second)
		if s.back[m] != 1 || m.shard != nil {
			t.Errorf("handed back %d times, to %v", s.back[m], m.shard)
		}
	})
}

func TestMoverWaitsForAGateway(t *testing.T) {
	onStand(t, 0, func(s *stand) {
		m := s.add(moveCrash, nil)
		s.after(10 * time.Second)
		s.v.mu.Lock() // the mover looks at them under its lock
		s.targets = append(s.targets, &shard{r: &Router{}})
		s.v.mu.Unlock()
		s.after(2 * time.Second)
		if s.back[m] != 1 || m.shard == nil || len(s.dials) != 1 {
			t.Errorf("handed back %d times, %d dials", s.back[m], len(s.dials))
		}
	})
}

// A drain that is overtaken by a crash: the crash's move is another one, and the drain's result is void.
func TestMoverDropsWhatIsVoid(t *testing.T) {
	onStand(t, 1, func(s *stand) {
		s.atOnce = 1
		s.dial = func(*move, *shard) dialOutcome { <-time.After(time.Second); return dialOK }
		first := s.add(moveDrain, nil)
		synctest.Wait()
		queued := s.add(moveDrain, nil)
		queued.void.Store(true) // its client has left, say
		crash := s.add(moveCrash, nil)
		s.after(3 * time.Second)
		if s.back[first] != 1 || s.back[queued] != 0 || s.back[crash] != 1 || len(s.dials) != 2 {
			t.Errorf("handed back %d, %d, %d times after %d dials", s.back[first], s.back[queued], s.back[crash], len(s.dials))
		}
	})
}

func TestMoverUrgentFirstAndNeverBack(t *testing.T) {
	onStand(t, 2, func(s *stand) {
		s.atOnce = 1
		var order []moveReason
		s.dial = func(m *move, sh *shard) dialOutcome {
			s.do(func() { order = append(order, m.reason) })
			if sh == m.from {
				t.Error("a session is moved to where it comes from")
			}
			<-time.After(100 * time.Millisecond)
			return dialOK
		}
		s.add(moveDrain, s.targets[0]) // at b, under way
		synctest.Wait()
		s.v.mu.Lock()
		s.targets = s.targets[1:]
		s.v.mu.Unlock()
		s.add(moveDrain, nil)
		s.add(moveCrash, nil)
		s.after(time.Second)
		if want := []moveReason{moveDrain, moveCrash, moveDrain}; !slices.Equal(order, want) {
			t.Errorf("got %v, want %v", order, want)
		}
	})
}

func TestMoverRebalancesThereOrNowhere(t *testing.T) {
	onStand(t, 1, func(s *stand) {
		s.dial = func(*move, *shard) dialOutcome { return dialBusy }
		m, home := s.add(moveRebalance, nil), s.add(moveRebalance, s.targets[0])
		s.after(time.Millisecond)
		if s.back[m] != 1 || m.shard != nil || s.back[home] != 1 || len(s.dials) != 1 {
			t.Errorf("handed back %d and %d times after %d dials", s.back[m], s.back[home], len(s.dials))
		}
	})
}

// A crash of 5,000 sessions: no more at once and per second than a gateway may get, and everybody arrives, once.
func TestMoverPace(t *testing.T) {
	onStand(t, 1, func(s *stand) {
		s.atOnce, s.rate = 16, 1000
		s.dial = func(*move, *shard) dialOutcome { <-time.After(2 * time.Millisecond); return dialOK }
		const n = 5000
		for range n {
			s.add(moveCrash, nil)
		}
		s.after(n*time.Millisecond + 200*time.Millisecond)
		if len(s.back) != n || s.widest > s.atOnce {
			t.Errorf("%d of %d are back, %d at once", len(s.back), n, s.widest)
		}
		for i, at := range s.dials {
			if j := i + int(s.rate*1.1); j < len(s.dials) && s.dials[j].Sub(at) < time.Second {
				t.Fatalf("%d dials within %v", j-i, s.dials[j].Sub(at))
			}
		}
		for m, times := range s.back {
			if times != 1 || m.shard == nil {
				t.Fatalf("one was handed back %d times, to %v", times, m.shard)
			}
		}
	})
}

// A gateway that dies with a queue: what waits for it goes to the other.
func TestMoverLeavesADeadGateway(t *testing.T) {
	onStand(t, 2, func(s *stand) {
		s.atOnce, s.rate = 4, 100
		const n = 300
		var moves []*move
		for range n {
			moves = append(moves, s.add(moveCrash, nil))
		}
		s.after(500 * time.Millisecond)
		s.targets[0].pulse.Store(uint32(pulseDown))
		s.v.kick()
		s.after(4 * time.Second)
		to := map[*shard]int{}
		for _, m := range moves {
			if s.back[m] != 1 {
				t.Fatalf("one was handed back %d times", s.back[m])
			}
			to[m.shard]++
		}
		if to[s.targets[0]] == 0 || to[s.targets[1]] < n/2 || to[s.targets[0]]+to[s.targets[1]] != n {
			t.Errorf("got %d here, %d there", to[s.targets[0]], to[s.targets[1]])
		}
	})
}
