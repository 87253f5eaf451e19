package gossip

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

func TestViewForgets(t *testing.T) {
	v, now := newView(), time.Unix(1763900000, 0)
	v.set(peer{name: "a", member: gatewayMember("g1")})
	v.remove("a", "addr-a", false, now)
	v.remove("b", "addr-b", true, now)
	if !v.departed("b") || v.departed("a") {
		t.Error("who has left for good: got the wrong one")
	}
	if got := v.lostAddrs(now); len(got) != 1 || got[0] != "addr-a" {
		t.Errorf("lost: got %v", got)
	}
	if got := v.lostAddrs(now.Add(keepLost + time.Second)); len(got) != 0 || v.departed("b") {
		t.Errorf("after a while: got %v lost, departed %v", got, v.departed("b"))
	}
	for i := range 2 * maxLost {
		v.remove(fmt.Sprint(i), fmt.Sprint(i), false, now)
	}
	if n := len(v.lost); n > maxLost {
		t.Errorf("lost nodes: %d are kept", n)
	}
}

func TestViewLooksForNobodyInVain(t *testing.T) {
	now := time.Unix(1763900000, 0)
	boot := func(name, id, addr string, boot uint64) peer {
		m := gatewayMember(id)
		m.Gossip = addr
		return peer{name, m, boot}
	}
	f := func(what string, want int, do func(v *view)) {
		t.Helper()
		v := newView()
		v.set(boot("old", "g1", "addr-1", 1))
		do(v)
		if got := v.lostSize(); got != want {
			t.Errorf("%s: got %d lost nodes, want %d", what, got, want)
		}
	}
	lose := func(v *view) { v.remove("old", "addr-1", false, now) }
	f("lost", 1, lose)
	f("back at its address", 0, func(v *view) { lose(v); v.set(boot("new", "g2", "addr-1", 2)) })
	f("back elsewhere", 0, func(v *view) { lose(v); v.set(boot("new", "g1", "addr-2", 2)) })
	f("another one comes", 1, func(v *view) { lose(v); v.set(boot("new", "g2", "addr-2", 2)) })
	f("replaced before it is lost", 0, func(v *view) { v.set(boot("new", "g1", "addr-2", 2)); lose(v) })
	f("the later one of two is lost", 1, func(v *view) { v.set(boot("older", "g1", "addr-2", 0)); lose(v) })
	f("said that it leaves", 0, func(v *view) {
		p := boot("old", "g1", "addr-1", 1)
		p.member.State = ring.StateLeft
		v.set(p)
		lose(v)
	})
}

func TestMembersPickOneOfAnID(t *testing.T) {
	at := func(name string, boot uint64, s ring.State) peer {
		m := gatewayMember("g1")
		m.State, m.Gossip = s, name
		return peer{name, m, boot}
	}
	self := peer{"self", ring.Member{ID: "g1", Role: ring.RoleRouter, State: ring.StateActive}, 9} // a router may have the same
	f := func(want string, replaced int, ps ...peer) {
		t.Helper()
		for range 2 {
			v := newView()
			for _, p := range ps {
				v.set(p)
			}
			ms, clashes := v.members(self, nil)
			if len(ms) != 2 || ms[1].Gossip != want || len(clashes) != replaced {
				t.Errorf("got %+v, %d replaced, want %s, %d", ms, len(clashes), want, replaced)
			}
			slices.Reverse(ps)
		}
	}
	f("b", 1, at("a", 1, ring.StateActive), at("b", 2, ring.StateJoining))
	f("b", 1, at("a", 1, ring.StateActive), at("b", 2, ring.StateDraining))
	f("a", 0, at("a", 1, ring.StateActive), at("b", 2, ring.StateLeft))
	f("a", 1, at("a", 1, ring.StateActive), at("b", 1, ring.StateActive)) // clocks that agree
	f("c", 2, at("a", 1, ring.StateActive), at("c", 3, ring.StateActive), at("b", 2, ring.StateActive))
}

func TestCompare(t *testing.T) {
	a, b := gatewayMember("a"), gatewayMember("b")
	loaded, moved := a, a
	loaded.Load, moved.Addr = 7, "10.0.0.1:1"
	router := ring.Member{ID: "z", Role: ring.RoleRouter}
	f := func(was, now []ring.Member, want ...string) {
		t.Helper()
		var got []string
		for _, c := range compare(was, now) {
			got = append(got, c.what+" "+c.member.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v to %v: got %q, want %q", was, now, got, want)
		}
	}
	f(nil, nil)
	f(nil, []ring.Member{a, b}, "added a", "added b")
	f([]ring.Member{a, b}, []ring.Member{b}, "removed a")
	f([]ring.Member{a}, []ring.Member{b}, "removed a", "added b")
	f([]ring.Member{a, b}, []ring.Member{loaded, b})
	f([]ring.Member{a, b}, []ring.Member{moved, b}, "changed a")
	f([]ring.Member{router, a}, []ring.Member{a}, "removed z")
}
