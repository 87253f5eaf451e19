package router

import (
	"fmt"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

// sight is a placement with the view, the heartbeats and the clock in the test's hands.
type sight struct {
	t     *testing.T
	p     *placement
	view  *ring.Ring
	beats map[string]bool
	now   time.Time
}

func newSight(t *testing.T, gateways int) *sight {
	s := &sight{t: t, beats: map[string]bool{}, now: time.Unix(1763900000, 0)}
	s.p = newPlacement(func() *ring.Ring { return s.view }, func(m *ring.Member) bool { return s.beats[m.ID] }, func() time.Time { return s.now })
	s.see(gateways)
	s.p.look()
	s.now = s.now.Add(time.Minute)
	return s
}

// see makes the view one of gateways g0, g1, …, without the lost ones; changed ones are listed in another state.
func (s *sight) see(gateways int, lost ...int) {
	s.seeWith(nil, gateways, lost...)
}

func (s *sight) seeWith(states map[int]ring.State, gateways int, lost ...int) {
	gone := map[int]bool{}
	for _, i := range lost {
		gone[i] = true
	}
	var ms []ring.Member
	for i := range gateways {
		if gone[i] {
			continue
		}
		m := ring.Member{ID: fmt.Sprintf("g%d", i), Role: ring.RoleGateway, State: ring.StateActive, Addr: fmt.Sprintf("10.0.0.%d:1", i), Weight: 1}
		if state, ok := states[i]; ok {
			m.State = state
		}
		ms = append(ms, m)
	}
	s.view = ring.New(ms)
}

func (s *sight) want(shards int, frozen bool) {
	s.t.Helper()
	if got, is := len(s.p.ring().Shards()), s.p.look().frozen; got != shards || is != frozen {
		s.t.Errorf("got %d shards, frozen %v, want %d, %v", got, is, shards, frozen)
	}
	if still := s.p.stoodStill(); frozen && still != 0 {
		s.t.Errorf("a frozen ring has stood still for %v", still)
	}
}

func (s *sight) wait(d time.Duration) { s.now = s.now.Add(d) }

func TestPlacementFollows(t *testing.T) {
	s := newSight(t, 3)
	s.want(3, false)
	s.see(3, 1) // a third is not more than a third
	s.want(2, false)
	s.see(4)
	s.want(4, false)
	s.seeWith(map[int]ring.State{0: ring.StateDraining, 1: ring.StateLeft, 2: ring.StateJoining}, 4) // they say so
	s.want(1, false)
	s.wait(7 * time.Second)
	s.seeWith(map[int]ring.State{0: ring.StateDraining, 1: ring.StateLeft, 2: ring.StateJoining}, 4) // another view of the same
	if got := s.p.stoodStill(); got != 7*time.Second {
		t.Errorf("it has stood still for %v, want 7s", got)
	}
}

func TestPlacementFreezes(t *testing.T) {
	s := newSight(t, 3)
	s.beats["g0"], s.beats["g1"] = true, true
	s.see(3, 0, 1)
	s.want(3, true)
	s.see(4, 0, 1) // who has come is let in
	s.want(4, true)
	s.wait(time.Hour) // with a heartbeat they are there, whatever gossip says
	s.want(4, true)
	s.see(4)
	s.want(4, false)
}

func TestPlacementCountsLossesTogether(t *testing.T) {
	s := newSight(t, 4)
	s.see(4, 0)
	s.want(3, false)
	s.wait(lossWindow / 2)
	s.see(4, 0, 1)
	s.want(4, true)

	s = newSight(t, 6)
	for i, lost := range [][]int{{0}, {0, 1}, {0, 1, 2}} {
		s.see(6, lost...)
		s.want(5-i, false)
		s.wait(lossWindow + time.Second)
	}
}

func TestPlacementBelievesInTheEnd(t *testing.T) {
	s := newSight(t, 3)
	s.see(3, 0, 1)
	s.want(3, true)
	s.wait(goneTime - time.Second)
	s.want(3, true)
	s.beats["g0"] = true // it has only been away
	s.want(3, true)
	s.wait(goneTime)
	s.want(3, true)
	delete(s.beats, "g0")
	s.want(3, true)
	s.wait(goneTime)
	s.want(1, false)
	s.see(3, 0, 1, 2) // the last one: nothing is gained by an empty ring
	s.want(1, true)
	s.wait(time.Hour)
	s.want(1, true)
}

func TestPlacementIsCheap(t *testing.T) {
	s := newSight(t, 3)
	s.p.ring()
	if n := testing.AllocsPerRun(100, func() { s.p.ring() }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
