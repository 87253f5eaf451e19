package tally

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/ring"
)

func gatewaysOf(ids ...string) *ring.Ring {
	var list []ring.Member
	for _, id := range ids {
		list = append(list, ring.Member{ID: id, Role: ring.RoleGateway, State: ring.StateActive, Addr: id + ":1", Weight: 1})
	}
	return ring.New(list)
}

// told is what r is to be told, as text.
func told(t *Table, r *Reporter) string {
	t.Tell()
	var lines []string
	for _, n := range t.Take(r) {
		lines = append(lines, fmt.Sprintf("%s %d", n.Topic, n.Others))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

func report(t *testing.T, tb *Table, r *Reporter, list ...Entry) (asked bool) {
	t.Helper()
	asked, ok := tb.Report(r, "", list)
	if !ok {
		t.Fatalf("the report of %s is not taken", r.Shard)
	}
	return asked
}

func TestTable(t *testing.T) {
	mine := map[string]int64{"finals": 3}
	tb := NewTable(100, func(topic string) int64 { return mine[topic] })
	a, b := tb.Join("a"), tb.Join("b")
	f := func(topic string, want int64) {
		t.Helper()
		if got := tb.Count(topic, gatewaysOf("self", "a", "b"), "self").Sessions; got != want {
			t.Errorf("%s: got %d, want %d", topic, got, want)
		}
	}
	f("finals", 3)
	f("nothing", 0)
	report(t, tb, a, Entry{Topic: "finals", Count: 10}, Entry{Topic: "semi", Count: 1})
	if !report(t, tb, b, Entry{Topic: "finals", Count: 5, Wants: true}) {
		t.Error("who asks anew does not wait for an answer")
	}
	f("finals", 18)
	f("semi", 1)
	if got := told(tb, b); got != "finals 13" {
		t.Errorf("b is told %q", got)
	}
	if got := told(tb, a); got != "" {
		t.Errorf("a, which does not want to know, is told %q", got)
	}
	if report(t, tb, b, Entry{Topic: "finals", Count: 6, Wants: true}) {
		t.Error("who has asked before waits")
	}
	if got := told(tb, b); got != "" {
		t.Errorf("b is told %q of its own sessions", got)
	}
	report(t, tb, b, Entry{Topic: "finals", Count: 6, Wants: true, Anew: true})
	if got := told(tb, b); got != "finals 13" {
		t.Errorf("b, which asks anew, is told %q", got)
	}
	mine["finals"] = 4
	tb.Touch("finals")
	report(t, tb, a, Entry{Topic: "finals", Count: 11}) // twice before b is told: the newest
	report(t, tb, a, Entry{Topic: "finals", Count: 12})
	if got := told(tb, b); got != "finals 16" {
		t.Errorf("b is told %q", got)
	}
	if got := tb.Changed(); !slices.Contains(got, "finals") || len(tb.Changed()) != 0 {
		t.Errorf("changed: got %q", got)
	}
	tb.Leave(a)
	f("finals", 10)
	f("semi", 0)
	if got := told(tb, b); got != "finals 4" {
		t.Errorf("b is told %q", got)
	}
	again := tb.Join("b") // on a new connection: what the old one said is void, and it is not heard any more
	f("finals", 4)
	if _, ok := tb.Report(b, "", []Entry{{Topic: "finals", Count: 9}}); ok {
		t.Error("a connection that was replaced is heard")
	}
	tb.Leave(b)
	report(t, tb, again, Entry{Topic: "finals", Count: 1})
	f("finals", 5)
	report(t, tb, again, Entry{Topic: "finals", Count: 0})
	if s := tb.Stats(); s.Entries != 0 || len(tb.topics) != 0 || len(tb.owed) != 0 {
		t.Errorf("what is over is remembered: %+v, %d topics", s, len(tb.topics))
	}
}

// A count is complete when all gateways have been heard, by the same ring.
func TestMissing(t *testing.T) {
	r := gatewaysOf("self", "a", "b")
	tb := NewTable(2, func(string) int64 { return 0 })
	f := func(want string) {
		t.Helper()
		c := tb.Count("finals", r, "self")
		if got := strings.Join(c.Missing, " "); got != want || c.Complete != (want == "") || c.By != "self" {
			t.Errorf("got %+v, want %q missing", c, want)
		}
	}
	f("a b")
	a, b := tb.Join("a"), tb.Join("b")
	f("a b")
	tb.Report(a, r.Version(), nil)
	tb.Report(b, "another", nil)
	f("b")
	tb.Report(b, "", []Entry{{Topic: "x", Count: 1}}) // as before
	f("b")
	tb.Report(b, r.Version(), nil)
	f("")
	tb.Report(b, r.Version(), []Entry{{Topic: "y", Count: 1}, {Topic: "z", Count: 1}}) // above the bound
	f("b")
	if s := tb.Stats(); s.Entries != 2 || s.Limit != 2 || s.Dropped != 1 || s.Reporters != 2 {
		t.Errorf("got %+v", s)
	}
	tb.Leave(a)
	f("a b")
}

// A static upstream adds up nothing, nor does one that is not active; a slot has one that does, as long as there is any.
func TestCounter(t *testing.T) {
	f := func(want string, list ...ring.Member) {
		t.Helper()
		for i := range list {
			list[i].Role, list[i].Weight = ring.RoleGateway, 1
		}
		got := ""
		if m := Counter(ring.New(list), 7); m != nil {
			got = m.ID
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("")
	f("", ring.Member{ID: "static", State: ring.StateActive, Static: true})
	f("a", ring.Member{ID: "static", State: ring.StateActive, Static: true}, ring.Member{ID: "a", State: ring.StateActive}, ring.Member{ID: "b", State: ring.StateDraining})
}

// BenchmarkReport is what a changed count costs the gateway that adds up: 100 gateways tell theirs, by turns, and want to know what others have.
func BenchmarkReport(b *testing.B) {
	for _, topics := range []int{1, 50_000} {
		b.Run(fmt.Sprint("topics=", topics), func(b *testing.B) {
			tb := NewTable(1<<30, func(string) int64 { return 1 })
			var gateways []*Reporter
			for i := range 100 {
				gateways = append(gateways, tb.Join(fmt.Sprint("g", i)))
			}
			names := make([]string, topics)
			for i := range names {
				names[i] = fmt.Sprintf("match.%d.score", i)
			}
			batch := make([]Entry, 0, 1000)
			n := int64(0)
			for b.Loop() { // one changed count
				n++
				if batch = append(batch, Entry{Topic: names[int(n)%topics], Count: n}); len(batch) < cap(batch) && topics > 1 {
					continue
				}
				tb.Report(gateways[int(n)%100], "", batch)
				batch = batch[:0]
			}
			b.ReportAllocs()
		})
	}
}
