package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/topic"
)

func gateways(n int) (ms []Member) {
	for i := range n {
		ms = append(ms, Member{ID: fmt.Sprintf("g%d", i+1), Role: RoleGateway, State: StateActive, Weight: 1})
	}
	return ms
}

func owners(r *Ring) (ids [topic.Slots]string) {
	for slot := range ids {
		m, _ := r.Owner(slot)
		ids[slot] = m.ID
	}
	return ids
}

func moved(a, b *Ring) (n int) {
	oa, ob := owners(a), owners(b)
	for slot := range oa {
		if oa[slot] != ob[slot] {
			n++
		}
	}
	return n
}

func TestSmallRings(t *testing.T) {
	empty := New(nil)
	if _, ok := empty.Owner(0); ok || len(empty.Preference(0)) != 0 || len(empty.Shards()) != 0 || empty.Version() == "" {
		t.Error("the empty ring owns something")
	}
	one := New(gateways(1))
	if n := len(one.Owned("g1")); n != topic.Slots {
		t.Errorf("a single shard: got %d slots, want all", n)
	}
	two := New(gateways(2))
	if a, b := len(two.Owned("g1")), len(two.Owned("g2")); a+b != topic.Slots || max(a, b) > 135 {
		t.Errorf("two shards: got %d and %d slots", a, b)
	}
}

func TestOnlyActiveGatewaysArePlaced(t *testing.T) {
	ms := gateways(3)
	ms[1].State = StateDraining
	ms = append(ms, Member{ID: "r1", Role: RoleRouter, State: StateActive}, Member{ID: "g9", Role: RoleGateway, State: StateJoining},
		Member{ID: "legacy", Role: RoleGateway, State: StateActive, Static: true})
	r := New(ms)
	var ids []string
	for _, m := range r.Shards() {
		ids = append(ids, m.ID)
	}
	if want := []string{"g1", "g3", "legacy"}; !slices.Equal(ids, want) {
		t.Errorf("shards: got %v, want %v", ids, want)
	}
	if got := r.Members(); len(got) != 6 || got[0].ID != "r1" || got[1].ID != "g1" {
		t.Errorf("members: got %+v", got)
	}
	if m, ok := r.Member("g2"); !ok || m.State != StateDraining {
		t.Errorf("g2: got %+v, %v", m, ok)
	}
}

func TestDuplicatesAreResolvedTheSameWay(t *testing.T) {
	a := Member{ID: "g1", Role: RoleGateway, State: StateActive, Addr: "b:1", Weight: 1}
	b := Member{ID: "g1", Role: RoleGateway, State: StateActive, Addr: "a:1", Weight: 3}
	c := Member{ID: "g1", Role: RoleGateway, State: StateJoining, Addr: "0:1", Weight: 1}
	for _, ms := range [][]Member{{a, b, c}, {c, b, a}, {b, c, a}} {
		if m, _ := New(ms).Member("g1"); m != b {
			t.Errorf("got %+v, want %+v", m, b)
		}
	}
}

// What the ring says of itself holds for whatever members there are.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 24).Draw(t, "shards")
		ms := gateways(n)
		total := 0
		for i := range ms {
			ms[i].Weight = rapid.IntRange(1, 4).Draw(t, "weight")
			ms[i].Load = rapid.Uint64().Draw(t, "load")
			total += ms[i].Weight
		}
		r := New(ms)
		shuffled := slices.Clone(ms)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 1)).Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if o := New(shuffled); o.Version() != r.Version() || owners(o) != owners(r) {
			t.Fatal("the order of the members changes the ring")
		}
		count := 0
		for _, m := range ms {
			owned := r.Owned(m.ID)
			count += len(owned)
			if limit := int(math.Ceil(Bound * topic.Slots * float64(m.Weight) / float64(total))); len(owned) > limit {
				t.Fatalf("%s of weight %d owns %d slots, bound %d", m.ID, m.Weight, len(owned), limit)
			}
			if !slices.IsSorted(owned) {
				t.Fatalf("slots of %s are not ascending", m.ID)
			}
		}
		if count != topic.Slots {
			t.Fatalf("%d slots are owned, want all", count)
		}
		for slot := range topic.Slots {
			prefs := r.Preference(slot)
			owner, _ := r.Owner(slot)
			seen := map[string]bool{}
			for _, m := range prefs {
				seen[m.ID] = true
			}
			if prefs[0].ID != owner.ID || len(prefs) != n || len(seen) != n {
				t.Fatalf("preference list of slot %d: %d shards, %d distinct, first %s, owner %s", slot, len(prefs), len(seen), prefs[0].ID, owner.ID)
			}
		}
	})
}

func TestVersion(t *testing.T) {
	base := New(gateways(3))
	f := func(what string, same bool, change func(ms []Member) []Member) {
		t.Helper()
		r := New(change(gateways(3)))
		if (r.Version() == base.Version()) != same {
			t.Errorf("%s: versions %s and %s, want same %v", what, base.Version(), r.Version(), same)
		}
		if same && owners(r) != owners(base) {
			t.Errorf("%s: equal versions with different owners", what)
		}
	}
	f("nothing", true, func(ms []Member) []Member { return ms })
	f("load", true, func(ms []Member) []Member { ms[0].Load = 99; return ms })
	f("address", true, func(ms []Member) []Member { ms[0].Addr = "x:1"; return ms })
	f("a router", true, func(ms []Member) []Member { return append(ms, Member{ID: "r", Role: RoleRouter, State: StateActive}) })
	f("a joining gateway", true, func(ms []Member) []Member {
		return append(ms, Member{ID: "g4", Role: RoleGateway, State: StateJoining})
	})
	f("weight 0 for 1", true, func(ms []Member) []Member { ms[0].Weight = 0; return ms })
	f("weight", false, func(ms []Member) []Member { ms[0].Weight = 2; return ms })
	f("zone", false, func(ms []Member) []Member { ms[0].Zone = "z"; return ms })
	f("a drain", false, func(ms []Member) []Member { ms[0].State = StateDraining; return ms })
	f("a fourth", false, func(ms []Member) []Member { return append(ms, gateways(4)[3]) })
	f("another name", false, func(ms []Member) []Member { ms[0].ID = "g0"; return ms })
}

func TestWith(t *testing.T) {
	r := New(gateways(3))
	four := r.With(gateways(4)[3])
	if want := New(gateways(4)); four.Version() != want.Version() || owners(four) != owners(want) {
		t.Error("With a fourth is not the ring of four")
	}
	m, _ := r.Member("g2")
	m.State = StateDraining
	if got := r.With(m); len(got.Shards()) != 2 || len(r.Shards()) != 3 {
		t.Errorf("With a drained one: got %d shards, and %d in the old ring", len(got.Shards()), len(r.Shards()))
	}
}

// Every token of every shard on the same few points: who came first must not matter, and all must still be placed.
func TestCollidingTokens(t *testing.T) {
	for _, points := range []uint32{1, 2, 7} {
		hash := func(_ string, i int) uint32 { return uint32(i) % points * (math.MaxUint32 / 8) }
		ms := gateways(5)
		r := build(new(Ring), ms, Wishes{}, hash)
		slices.Reverse(ms)
		if owners(build(new(Ring), ms, Wishes{}, hash)) != owners(r) {
			t.Errorf("%d points: the order of the members decides", points)
		}
		for _, m := range ms {
			if n := len(r.Owned(m.ID)); n == 0 || n > 54 {
				t.Errorf("%d points: %s owns %d slots", points, m.ID, n)
			}
		}
	}
}

// A join or a leave moves at most a fair share of the slots and the stated excess: 4 % of all slots on average, 10 % at
// most, over many names.
func TestLittleMoves(t *testing.T) {
	const excessMean, excessMax = 0.04, 0.10
	for _, n := range []int{3, 4, 8, 30} {
		var sum, worst float64
		const rounds = 40
		for round := range rounds {
			ms := gateways(n + 1)
			for i := range ms {
				ms[i].ID = fmt.Sprintf("gw-%d-%d", round, i)
			}
			share := float64(moved(New(ms[:n]), New(ms))) / topic.Slots
			excess := share - 1/float64(n+1)
			sum += excess
			worst = max(worst, excess)
		}
		t.Logf("%2d ⇄ %2d shards: %.1f %% of the slots must move; %+.1f %% on average, %+.1f %% at most", n, n+1,
			100/float64(n+1), 100*sum/rounds, 100*worst)
		if sum/rounds > excessMean || worst > excessMax {
			t.Errorf("%d shards: excess %.3f on average, %.3f at most", n, sum/rounds, worst)
		}
	}
}

func TestText(t *testing.T) {
	for _, s := range []State{StateJoining, StateActive, StateDraining, StateLeft} {
		if got, err := ParseState(s.String()); err != nil || got != s {
			t.Errorf("%v: got %v, %v", s, got, err)
		}
	}
	for _, r := range []Role{RoleRouter, RoleGateway} {
		if got, err := ParseRole(r.String()); err != nil || got != r {
			t.Errorf("%v: got %v, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "invalid", "Active", "router "} {
		if _, err := ParseState(s); err == nil {
			t.Errorf("state %q: got no error", s)
		}
		if _, err := ParseRole(s); err == nil {
			t.Errorf("role %q: got no error", s)
		}
	}
	if State(9).String() != "invalid" || Role(0).String() != "invalid" {
		t.Error("an invalid value has a name")
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	r := New(gateways(8))
	n := testing.AllocsPerRun(100, func() {
		slot := topic.Slot("finals")
		_, _ = r.Owner(slot)
		_ = r.Preference(slot)
	})
	if n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{3, 30, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ms := gateways(n)
			for b.Loop() {
				New(ms).placement()
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for _, n := range []int{3, 30, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ms := gateways(n)
			r := New(ms)
			r.placement()
			for b.Loop() {
				r.Next(ms, Wishes{}).placement()
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	r := New(gateways(30))
	r.placement()
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Preference(topic.Slot("finals"))
	}
}

// Next is what NewWith is, whatever changes: loads and addresses, members, states, pins and dedicated shards.
func TestNext(t *testing.T) {
	ms := gateways(7)
	was, wishes := NewWith(ms, Wishes{}), Wishes{}
	was.placement()
	steps := map[string]func(){
		"loads":     func() { ms[2].Load, ms[3].Load = 17, 4 },
		"addresses": func() { ms[1].Addr = "192.0.2.1:1" },
		"a drain":   func() { ms[5].State = StateDraining },
		"a weight":  func() { ms[4].Weight = 3 },
		"a join":    func() { ms = append(ms, Member{ID: "new", Role: RoleGateway, State: StateActive, Weight: 2}) },
		"pins":      func() { wishes.Pins = []Pin{{Topic: "finals", Shards: []string{ms[0].ID, "new"}}} },
		"dedicated": func() { wishes.Dedicated = []string{ms[0].ID} },
		"an end":    func() { ms = ms[:0] },
	}
	for _, name := range []string{"loads", "addresses", "a drain", "loads", "a weight", "a join", "pins", "loads", "dedicated", "an end", "a join", "loads"} {
		if name == "loads" && len(ms) < 4 {
			ms = gateways(7)
		}
		steps[name]()
		got, want := was.Next(ms, wishes), NewWith(ms, wishes)
		if got.Version() != want.Version() || !reflect.DeepEqual(got.Members(), want.Members()) || !reflect.DeepEqual(got.placement(), want.placement()) {
			t.Errorf("%s: got another ring than NewWith gives", name)
		}
		if shares := got.placement().order == was.placement().order; shares != (got.version == was.version) {
			t.Errorf("%s: shares the order: got %v", name, shares)
		}
		was = got
	}
}
