package gossip

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"pgregory.net/rapid"
)

func settingsAt(writer string, clock *time.Time) *Settings {
	s := NewSettings(writer, zap.NewNop())
	s.now = func() time.Time { return *clock }
	return s
}

// state is all that settings have, to compare.
func (s *Settings) state() string {
	var b strings.Builder
	for _, r := range s.every() {
		fmt.Fprintf(&b, "%s=%x\n", r.Name, r.wire)
	}
	return b.String()
}

// Whatever was written where, and in whatever order, groups and repetitions it comes together: the result is the same.
func TestMergeIsALattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clocks := []time.Time{time.UnixMilli(1e12), time.UnixMilli(1e12 + 40_000), time.UnixMilli(1e12 - 30_000)}
		var nodes []*Settings
		for i := range clocks {
			nodes = append(nodes, settingsAt(fmt.Sprintf("n%d", i%2), &clocks[i])) // two have one name
		}
		for range rapid.IntRange(1, 12).Draw(t, "writes") {
			n := nodes[rapid.IntRange(0, 2).Draw(t, "node")]
			name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")
			if rapid.Bool().Draw(t, "delete") {
				_ = n.Delete(name)
			} else if err := n.Set(name, []byte{byte(rapid.IntRange(0, 3).Draw(t, "value"))}); err != nil {
				t.Fatal(err)
			}
		}
		var all []Register
		for _, n := range nodes {
			all = append(all, n.every()...)
		}
		join := func(order []Register, groups int) string {
			s := settingsAt("x", &clocks[0])
			for part := range slices.Chunk(order, max(1, len(order)/groups)) {
				s.merge(part)
				s.merge(part)
			}
			if news := s.merge(order); len(news) > 0 {
				t.Fatal("what is known is news")
			}
			return s.state()
		}
		if len(all) == 0 {
			return
		}
		want := join(all, 1)
		shuffled := slices.Clone(all)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := join(shuffled, rapid.IntRange(1, 5).Draw(t, "groups")); got != want {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
	})
}

func TestRegisterTravels(t *testing.T) {
	clock := time.UnixMilli(1e12)
	s := settingsAt("g1", &clock)
	if err := s.Set("pin/фінал", []byte("v")); err != nil {
		t.Fatal(err)
	}
	r := s.every()[0]
	r.wire = append(r.wire, "what a later version adds"...)
	got, err := decodeRegisterMessage(r.message())
	if err != nil || got.Name != r.Name || string(got.Value) != "v" || got.Writer != "g1" || !bytes.Equal(got.wire, r.wire) {
		t.Errorf("got %+v, %v", got, err)
	}
	rs, bad := decodeRegisters(appendRegisters(appendLoads([]load{{"n", 1, 2}}), []Register{r}))
	if len(rs) != 1 || bad != 0 || !bytes.Equal(rs[0].wire, r.wire) {
		t.Errorf("full exchange: got %+v, %d", rs, bad)
	}
	if ls := decodeLoads(appendRegisters(appendLoads([]load{{"n", 1, 2}}), []Register{r})); len(ls) != 1 {
		t.Errorf("an older node reads %d loads", len(ls))
	}
	m := r.message()
	for n := range m[:len(m)-30] {
		if got, err := decodeRegisterMessage(m[:n]); err == nil && got.Name != r.Name {
			t.Errorf("%d bytes: got %+v", n, got)
		}
	}
}

func FuzzRegister(f *testing.F) {
	f.Add(encodeRegister(Register{Name: "a", Value: []byte("b"), Writer: "c"}).message())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRegisterMessage(b)
		if err == nil && !bytes.Equal(r.message(), b) {
			t.Errorf("%x came back as %x", b, r.message())
		}
		decodeRegisters(b)
	})
}

// A clock that is behind does not lose against what it knows, and one that is years ahead decides nothing.
func TestClocks(t *testing.T) {
	now := time.UnixMilli(1e12)
	behind, ahead := now.Add(-time.Hour), now.Add(10*365*24*time.Hour)
	a := settingsAt("a", &now)
	if err := a.Set("x", []byte("1")); err != nil {
		t.Fatal(err)
	}
	now = behind
	if err := a.Set("x", []byte("2")); err != nil {
		t.Fatal(err)
	}
	if v, _ := a.Get("x"); string(v) != "2" {
		t.Errorf("after the clock went back: got %q, want 2", v)
	}
	now = time.UnixMilli(1e12)
	mad := settingsAt("mad", &ahead)
	if err := mad.Set("x", []byte("mad")); err != nil {
		t.Fatal(err)
	}
	if news := a.merge(mad.every()); len(news) > 0 {
		t.Error("a register from the future is taken")
	}
	if n := testutil.ToFloat64(a.refused.WithLabelValues(refusedFuture)); n != 1 {
		t.Errorf("refused: got %v, want 1", n)
	}
}

func TestBounds(t *testing.T) {
	clock := time.UnixMilli(1e12)
	s := settingsAt("a", &clock)
	if err := s.Set("big", make([]byte, maxRegister)); err == nil {
		t.Error("a register that fits no packet is taken")
	}
	if err := s.Set("a\nb", nil); err == nil {
		t.Error("a name with a line break is taken")
	}
	for i := range maxRegisters {
		if err := s.Set(fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Set("one more", nil); err != ErrFull {
		t.Errorf("got %v, want %v", err, ErrFull)
	}
	if err := s.Delete("7"); err != nil {
		t.Fatal(err)
	}
	if err := s.Set("one more", nil); err != ErrFull {
		t.Errorf("beside a fresh deletion: got %v, want %v", err, ErrFull)
	}
	clock = clock.Add(keepGone + time.Second)
	if err := s.Set("one more", nil); err != nil {
		t.Errorf("beside an old deletion: got %v", err)
	}
	if _, ok := s.Get("7"); ok {
		t.Error("what is deleted is there")
	}
}

// A memory that has a later register teaches it, one that has an earlier one is taught, and one that forgot is told anew.
func TestMemory(t *testing.T) {
	clock := time.UnixMilli(1e12)
	a, b := settingsAt("a", &clock), settingsAt("b", &clock)
	for _, err := range []error{a.Set("x", []byte("old")), b.Set("x", []byte("old too"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	clock = clock.Add(time.Second)
	if err := b.Set("x", []byte("new")); err != nil {
		t.Fatal(err)
	}
	memory, _ := b.Unremembered()
	a.Remembered(memory, 0)
	if v, _ := a.Get("x"); string(v) != "new" {
		t.Errorf("got %q, want new", v)
	}
	if keep, _ := a.Unremembered(); len(keep) != 0 {
		t.Errorf("unremembered: got %v", keep)
	}
	a.Remembered(map[string][]byte{}, 0)
	if st := a.Status(); st.Unremembered != 1 || !st.Asked {
		t.Errorf("an emptied memory: got %+v", st)
	}
}

// Both sides of a split write, some things the same; when it heals all have the same, and who was there first does not
// matter. A node that comes later learns all.
func TestSettingsConverge(t *testing.T) {
	simulate(t, func(t *testing.T, net *simNet) {
		rs := net.cluster(t, 2, 4)
		at := func(r *runner) *Settings { return r.settings }
		set := func(r *runner, name, value string) {
			t.Helper()
			if err := at(r).Set(name, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		same := func(what string, nodes ...*runner) {
			t.Helper()
			simEventually(t, what, func() bool {
				for _, r := range nodes {
					if at(r).state() != at(nodes[0]).state() {
						return false
					}
				}
				return true
			})
		}
		set(rs[0], "policy", "1")
		begin := time.Now()
		same("all know what was set", rs...)
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %v to tell six nodes", took)
		}
		net.split(rs[1], rs[4], rs[5])
		<-time.After(30 * time.Second)
		set(rs[0], "policy", "left")
		set(rs[2], "pin", "left")
		<-time.After(time.Second)
		set(rs[4], "policy", "right")
		if err := at(rs[2]).Delete("pin"); err != nil {
			t.Fatal(err)
		}
		same("one side", rs[0], rs[2], rs[3])
		same("the other side", rs[1], rs[4], rs[5])
		if at(rs[0]).state() == at(rs[1]).state() {
			t.Fatal("there is no split")
		}
		net.split()
		same("all of them", rs...)
		if v, _ := at(rs[0]).Get("policy"); string(v) != "right" {
			t.Errorf("policy: got %q, want what was written last", v)
		}
		late := net.start(t, "10.0.3.1:7946", gatewayMember("late"), "10.0.1.1:7946")
		same("a node that comes later", rs[0], late)
	})
}
