package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/topic"
)

func ids(ms []*Member) (list []string) {
	for _, m := range ms {
		list = append(list, m.ID)
	}
	return list
}

func TestPins(t *testing.T) {
	f := func(pin []string, want []string, share int) {
		t.Helper()
		r := NewWith(gateways(4), Wishes{Pins: []Pin{{"finals", pin}}})
		prefs, n := r.Group(Key("finals"))
		if got := ids(prefs); len(got) != 4 || !slices.Equal(got[:len(want)], want) || n != share {
			t.Errorf("%v: got %v, %d, want %v, %d", pin, got, n, want, share)
		}
		if other, n := r.Group(Key("semi")); !slices.Equal(other, r.Preference(topic.Slot("semi"))) || n != 4 {
			t.Errorf("another topic: got %v, %d", ids(other), n)
		}
	}
	f([]string{"g3", "g1"}, []string{"g3", "g1"}, 2)
	f([]string{"g3", "nobody", "g3", "g1"}, []string{"g3", "g1"}, 2)
	f([]string{"nobody"}, nil, 4)
	f(nil, nil, 4)
}

func TestKey(t *testing.T) {
	for _, name := range []string{"finals", "a/b", "é"} {
		if got, want := SlotOf(Key(name)), topic.Slot(name); got != want {
			t.Errorf("%q: got slot %d, want %d", name, got, want)
		}
	}
}

func TestDedicated(t *testing.T) {
	r := NewWith(gateways(3), Wishes{Dedicated: []string{"g2", "nobody"}})
	if n := len(r.Owned("g2")); n != 0 || !r.Dedicated("g2") || r.Dedicated("nobody") {
		t.Errorf("g2 owns %d slots", n)
	}
	for slot := range topic.Slots {
		if got := ids(r.Preference(slot)); len(got) != 3 || got[2] != "g2" {
			t.Fatalf("slot %d: got %v, want g2 last", slot, got)
		}
	}
	all := NewWith(gateways(3), Wishes{Dedicated: []string{"g1", "g2", "g3"}})
	if all.Version() != New(gateways(3)).Version() || owners(all) != owners(New(gateways(3))) {
		t.Error("with all shards dedicated the ring is not that of none")
	}
}

// Wishes, too, give an equal ring for equal input, in whatever order; equal versions mean equal placement.
func TestWishProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "shards")
		id := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("g%d", rapid.IntRange(1, n+2).Draw(t, "id")) })
		var w Wishes
		w.Dedicated = rapid.SliceOfN(id, 0, n+1).Draw(t, "dedicated")
		for i := range rapid.IntRange(0, 4).Draw(t, "pins") {
			w.Pins = append(w.Pins, Pin{fmt.Sprint("topic", i), rapid.SliceOfN(id, 0, 4).Draw(t, "pin")})
		}
		r := NewWith(gateways(n), w)
		s := Wishes{slices.Clone(w.Pins), slices.Clone(w.Dedicated)}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		rng.Shuffle(len(s.Pins), func(i, j int) { s.Pins[i], s.Pins[j] = s.Pins[j], s.Pins[i] })
		rng.Shuffle(len(s.Dedicated), func(i, j int) { s.Dedicated[i], s.Dedicated[j] = s.Dedicated[j], s.Dedicated[i] })
		if o := NewWith(gateways(n), s); o.Version() != r.Version() || owners(o) != owners(r) {
			t.Fatal("the order of wishes changes the ring")
		}
		if o := r.With(r.Members()[0]); o.Version() != r.Version() {
			t.Fatal("With forgets the wishes")
		}
		ordinary, count := 0, 0
		for _, m := range r.Shards() {
			if !r.Dedicated(m.ID) {
				ordinary++
			}
		}
		if ordinary == 0 {
			t.Fatal("nobody owns anything")
		}
		for _, m := range r.Shards() {
			owned := len(r.Owned(m.ID))
			count += owned
			if most := int(math.Ceil(Bound * topic.Slots / float64(ordinary))); owned > most || r.Dedicated(m.ID) && owned > 0 {
				t.Fatalf("%s owns %d slots", m.ID, owned)
			}
		}
		if count != topic.Slots {
			t.Fatalf("%d slots are owned", count)
		}
		for _, p := range w.Pins {
			prefs, share := r.Group(Key(p.Topic))
			seen := map[string]bool{}
			for _, m := range prefs {
				seen[m.ID] = true
			}
			if len(prefs) != n || len(seen) != n || share < 1 || share > n {
				t.Fatalf("%v: got %v, %d", p, ids(prefs), share)
			}
		}
	})
}

func TestWishVersion(t *testing.T) {
	base := NewWith(gateways(3), Wishes{Pins: []Pin{{"a", []string{"g1", "g2"}}}})
	f := func(what string, same bool, w Wishes) {
		t.Helper()
		if got := NewWith(gateways(3), w).Version() == base.Version(); got != same {
			t.Errorf("%s: same %v, want %v", what, got, same)
		}
	}
	f("the same", true, Wishes{Pins: []Pin{{"a", []string{"g1", "g2"}}}})
	f("a shard that is not there", true, Wishes{Pins: []Pin{{"a", []string{"g1", "x", "g2"}}}, Dedicated: []string{"x"}})
	f("another order", false, Wishes{Pins: []Pin{{"a", []string{"g2", "g1"}}}})
	f("another topic", false, Wishes{Pins: []Pin{{"b", []string{"g1", "g2"}}}})
	f("none", false, Wishes{})
	f("dedicated", false, Wishes{Pins: []Pin{{"a", []string{"g1", "g2"}}}, Dedicated: []string{"g1"}})
}

func TestGroupDoesNotAllocate(t *testing.T) {
	r := NewWith(gateways(8), Wishes{Pins: []Pin{{"finals", []string{"g1"}}}, Dedicated: []string{"g1"}})
	if n := testing.AllocsPerRun(100, func() { r.Group(Key("finals")); r.Group(Key("semi")) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
