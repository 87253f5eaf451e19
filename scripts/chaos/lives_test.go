package main

import (
	"slices"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// In the tests below entries are numbered by their time, and epochs by small numbers: 1 begins at 0.

func rowAt(n int) row             { return row{ID: at(n).ID, Topic: "x", Sum: uint64(n), Name: "m"} }
func mark(n int, e uint32) row    { return row{ID: at(n).ID, Mark: e, Name: "epoch"} }
func in(e uint32, ev event) event { ev.Pos.Epoch = e; return ev }

// over is a gap by a loss.
func over(from uint32, after int, to uint32, upTo int) event {
	return event{
		Kind: evGap, At: sec(upTo), Reason: "epoch",
		After: position.Position{Epoch: from, ID: at(after).ID}, Pos: position.Position{Epoch: to, ID: at(upTo).ID},
	}
}

// twoLives had m1, m2, m3 in its first life, of which a fault took m3; then m5 was written, the second began at 6, and m7
// and m8 followed.
func twoLives() ([][]row, []publication) {
	shots := [][]row{
		{mark(0, 1), rowAt(1), rowAt(2), rowAt(3)},
		{mark(0, 1), rowAt(1), rowAt(2), rowAt(5), mark(6, 2), rowAt(7), rowAt(8)},
	}
	var pubs []publication
	for _, n := range []int{1, 2, 3, 5, 7, 8} {
		pubs = append(pubs, publication{Name: "m", Topic: "x", Sum: uint64(n), Started: sec(n), ID: at(n).ID})
	}
	return shots, pubs
}

// emptied had m1, m2, m3 before a FLUSHALL, m5 came before the new life's mark, and m7 and m8 after it.
func emptied() ([][]row, []publication) {
	shots, pubs := twoLives()
	shots[1] = shots[1][3:]
	return shots, pubs
}

func TestLives(t *testing.T) {
	shots, _ := twoLives()
	list := livesOf(shots)
	if len(list) != 2 {
		t.Fatalf("got %d lives, want 2: %+v", len(list), list)
	}
	one, two := list[0].of("x"), list[1].of("x")
	gone := []bool{false, false, true, false}
	for i, e := range one.Entries {
		if e.Gone != gone[i] || e.Stray != (i == 3) {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	if len(one.Entries) != 4 || len(two.Entries) != 2 || one.Epoch != 1 || two.Epoch != 2 || two.Began != at(6).ID || two.Causeless {
		t.Errorf("got %+v and %+v", one, two)
	}
	if s, ok := one.void(at(3).ID); !ok || s.To != at(3).ID {
		t.Errorf("void: got %+v, %v", s, ok)
	}
	if _, ok := one.void(at(2).ID); ok {
		t.Error("what still stands is void")
	}
	list = livesOf([][]row{{mark(0, 1), rowAt(1), mark(2, 2), rowAt(3)}})
	if len(list) != 2 || !list[1].Causeless {
		t.Errorf("an epoch without a loss: got %+v", list)
	}
	list = livesOf([][]row{{rowAt(1), mark(2, 1), rowAt(3)}})
	if len(list) != 1 || list[0].Epoch != 1 || list[0].Causeless {
		t.Errorf("entries before the first mark: got %+v", list)
	}
	list = livesOf([][]row{{mark(0, 1), rowAt(1), rowAt(2)}, {mark(0, 1), rowAt(1), mark(3, 2)}, {mark(4, 3)}})
	if e := list[0].Entries[1]; len(list) != 3 || e.Lost || !e.Gone || len(list[0].Voids) != 1 || list[0].Voids[0].From != at(2).ID {
		t.Errorf("emptied when its life was over: got %+v", list)
	}
	same := rowAt(1)
	same.Sum = 9
	list = livesOf([][]row{{mark(0, 1), rowAt(1)}, {same, mark(2, 2)}})
	if len(list) != 2 || !list[0].Entries[1].Gone {
		t.Errorf("another entry with the same ID: got %+v", list)
	}
}

func TestSessionsOfTwoLives(t *testing.T) {
	f := func(name string, what func() ([][]row, []publication), israw bool, events []event, want ...string) {
		t.Helper()
		shots, pubs := what()
		v := newVerdict()
		judge(v, time.UnixMilli(0), truth{testcluster.Slot("x"): livesOf(shots)}, pubs,
			[]history{{Session: "s", Topic: "x", Raw: israw, Slow: true, Events: events}})
		if got := kindsOf(v); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q; %v", name, got, want, v.Violations)
		}
	}
	one := func(evs ...event) []event {
		list := []event{in(1, stand(0))}
		for _, ev := range evs {
			if ev.Pos.Epoch == testEpoch {
				ev = in(1, ev)
			}
			list = append(list, ev)
		}
		return list
	}
	m := func(e uint32, n int) event { return in(e, msg(n)) }
	for name, what := range map[string]func() ([][]row, []publication){"a tail lost": twoLives, "emptied": emptied} {
		f(name+": all of both lives", what, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 2, 6), m(2, 7), m(2, 8)))
		f(name+": a gap before all of the old life had come", what, false, one(m(1, 1), over(1, 1, 2, 6), m(2, 7), m(2, 8)))
		f(name+": a gap over the beginning of the new life", what, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 2, 7), m(2, 8)))
		f(name+": only the new life", what, false, []event{in(2, stand(6)), m(2, 7), m(2, 8)})
		f(name+": an entry lost inside the old life", what, false, one(m(1, 2), m(1, 3), over(1, 3, 2, 6), m(2, 7), m(2, 8)), badLost)
		f(name+": an entry lost inside the new life", what, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 2, 6), m(2, 8)), badLost)
		f(name+": the end of the new life lost", what, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 2, 6), m(2, 7)), badLost)
		f(name+": no gap", what, false, one(m(1, 1), m(1, 2), m(1, 3), m(2, 7), m(2, 8)), badEpoch)
		f(name+": no gap, by a heartbeat", what, false, one(m(1, 1), m(1, 2), m(1, 3), in(2, stand(6)), m(2, 7), m(2, 8)), badEpoch)
		f(name+": nothing of the new life", what, false, one(m(1, 1), m(1, 2), m(1, 3)), badUntold)
		f(name+": the new life passes for the old one", what, false, one(m(1, 1), m(1, 2), m(1, 3), m(1, 7), m(1, 8)), badEpoch, badEpoch, badUntold, badUntold)
		f(name+": a stray after what was lost", what, false, one(m(1, 1), m(1, 2), m(1, 3), m(1, 5), over(1, 5, 2, 6), m(2, 7), m(2, 8)), badUntold)
		f(name+": an old entry after the gap", what, false, one(m(1, 1), m(1, 2), over(1, 2, 2, 6), m(1, 3), m(2, 7), m(2, 8)), badEpoch, badEpoch)
		f(name+": a position of the old life after the gap", what, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 2, 6), in(1, stand(3)), m(2, 7), m(2, 8)), badEpoch, badEpoch)
		f(name+": a gap to nowhere", what, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 9, 6), m(2, 7), m(2, 8)), badEpoch, badEpoch)
		f(name+": two gaps", what, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 2, 6), over(2, 6, 2, 7), m(2, 8)), badGap)
		f(name+": repeated in the new life", what, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 2, 6), m(2, 7), m(2, 7), m(2, 8)), badRepeated)

		f(name+": raw, everything", what, true, []event{raw(1, 1), raw(1, 2), raw(1, 3), raw(1, 5), raw(1, 7), raw(1, 8)})
		f(name+": raw, without what a gap would cover", what, true, []event{raw(1, 1), raw(1, 7), raw(1, 8)})
		f(name+": raw, lost inside the new life", what, true, []event{raw(1, 1), raw(1, 2), raw(1, 3), raw(1, 8)}, badLost)
		f(name+": raw, nothing of the new life", what, true, []event{raw(1, 1), raw(1, 2), raw(1, 3)}, badLost, badLost)
		f(name+": raw, an old entry after a new one", what, true, []event{raw(1, 1), raw(1, 2), raw(1, 7), raw(1, 3), raw(1, 8)}, badRepeated)
	}
	f("the stray first, by a gateway that had fallen behind", twoLives, false, one(m(1, 1), m(1, 2), m(1, 5), over(1, 5, 2, 6), m(2, 7), m(2, 8)))
	f("an epoch gap within a life, from what was lost", twoLives, false, one(m(1, 1), m(1, 2), m(1, 3), over(1, 3, 1, 4), m(1, 5), over(1, 5, 2, 6), m(2, 7), m(2, 8)))
	f("an epoch gap within a life, without a reason", twoLives, false, one(m(1, 1), over(1, 1, 1, 2), m(1, 3), over(1, 3, 2, 6), m(2, 7), m(2, 8)), badGap)
}

// What was lost without a new epoch: nobody can be told when nobody had seen it, and everybody has to be when somebody had.
func TestUnnoticedLoss(t *testing.T) {
	shots := [][]row{
		{mark(0, 1), rowAt(1), rowAt(2), rowAt(3)},
		{mark(0, 1), rowAt(1), rowAt(5)},
	}
	var pubs []publication
	for _, n := range []int{1, 2, 3, 5} {
		pubs = append(pubs, publication{Name: "m", Topic: "x", Sum: uint64(n), Started: sec(n), ID: at(n).ID})
	}
	f := func(name string, other []event, unseen int, want ...string) {
		t.Helper()
		seen := []history{{Session: "s", Topic: "x", Events: []event{in(1, stand(0)), in(1, msg(1)), in(1, msg(5))}}}
		if other != nil {
			seen = append(seen, history{Session: "other", Topic: "x", Events: other})
		}
		v := newVerdict()
		judge(v, time.UnixMilli(0), truth{testcluster.Slot("x"): livesOf(shots)}, pubs, seen)
		if got := kindsOf(v); !slices.Equal(got, want) || v.Unseen != unseen {
			t.Errorf("%s: got %q and %d, want %q and %d; %v", name, got, v.Unseen, want, unseen, v.Violations)
		}
	}
	f("nobody had seen it", nil, 2)
	f("another had, and was told", []event{in(1, stand(0)), in(1, msg(1)), in(1, msg(2)), in(1, msg(3)), over(1, 3, 1, 4), in(1, msg(5))}, 0, badUntold)
	f("another had, and was not told either", []event{in(1, stand(1)), in(1, msg(2)), in(1, msg(3)), in(1, msg(5))}, 0, badUntold, badUntold)
}

func TestCauselessEpoch(t *testing.T) {
	v := newVerdict()
	shots := [][]row{{mark(0, 1), rowAt(1), mark(2, 2), rowAt(3)}}
	pubs := []publication{{Topic: "x", Sum: 1, ID: at(1).ID}, {Topic: "x", Sum: 3, ID: at(3).ID}}
	judge(v, time.UnixMilli(0), truth{testcluster.Slot("x"): livesOf(shots)}, pubs, []history{{
		Session: "s", Topic: "x", Events: []event{in(1, stand(0)), in(1, msg(1)), over(1, 1, 2, 2), in(2, msg(3))},
	}})
	if got := kindsOf(v); !slices.Equal(got, []string{badEpoch}) {
		t.Errorf("got %q, want that the epoch had no cause", got)
	}
}

// A publish with an ID that was lost may be there again, in the new life; another may not be there twice.
func TestPublishesOfTwoLives(t *testing.T) {
	f := func(name string, p publication, before, after []int, want ...string) {
		t.Helper()
		p.Name, p.Topic, p.Sum = "p", "x", 1
		rows := func(mark row, at []int) []row {
			list := []row{mark}
			for _, n := range at {
				r := rowAt(n)
				r.Sum = 1
				list = append(list, r)
			}
			return list
		}
		held := truth{testcluster.Slot("x"): livesOf([][]row{rows(mark(0, 1), before), rows(mark(4, 2), after)})}
		v := newVerdict()
		judge(v, time.UnixMilli(0), held, []publication{p}, nil)
		if got := kindsOf(v); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q; %v", name, got, want, v.Violations)
		}
	}
	ok := func(n int) publication { return publication{Outcome: outcomeOK, ID: at(n).ID} }
	f("lost", ok(1), []int{1}, nil)
	f("lost, and acknowledged again", ok(5), []int{1}, []int{5})
	f("acknowledged, lost, and there again", ok(1), []int{1}, []int{5}, badRedis)
	f("in no life", ok(1), nil, nil, badRedis)
	f("lost from elsewhere", ok(2), []int{1}, nil, badRedis)
	f("twice in the new life", ok(5), nil, []int{5, 6}, badRedis, badRedis)
	f("refused, and lost", publication{Outcome: outcomeFailed}, []int{1}, nil, badPhantom)
	f("ambiguous, lost, and there again", publication{Outcome: outcomeAmbiguous}, []int{1}, []int{5})
}

func TestFreshness(t *testing.T) {
	limits := freshLimits{Told: sec(5), Clear: sec(4)}
	is := func(conn, n int, stale bool) event { return event{Kind: evFresh, Conn: conn, At: sec(n), Stale: stale} }
	heard := func(conn, n int) event { return event{Kind: evMoved, Conn: conn, At: sec(n), Pos: at(n)} }
	f := func(name string, length int, slow bool, events []event, outages int, want ...string) {
		t.Helper()
		v := newVerdict()
		judgeFreshness(v, limits, []outage{{From: sec(10), To: sec(10 + length)}}, []history{{Session: "s", Topic: "x", Slow: slow, Events: events}})
		if got := kindsOf(v); !slices.Equal(got, want) || v.Outages != outages {
			t.Errorf("%s: got %q and %d outages, want %q and %d; %v", name, got, v.Outages, want, outages, v.Violations)
		}
	}
	f("told and cleared", 8, false, []event{heard(1, 9), is(1, 14, true), is(1, 20, false), heard(1, 30)}, 1)
	f("a short outage", 4, false, []event{heard(1, 9), heard(1, 30)}, 0)
	f("never told", 8, false, []event{heard(1, 9), heard(1, 30)}, 1, badStale)
	f("told too late", 8, false, []event{heard(1, 9), is(1, 16, true), is(1, 19, false), heard(1, 30)}, 1, badStale)
	f("never cleared", 8, false, []event{heard(1, 9), is(1, 14, true), heard(1, 30)}, 1, badStale)
	f("cleared too late", 8, false, []event{heard(1, 9), is(1, 14, true), is(1, 23, false), heard(1, 30)}, 1, badStale)
	f("told that it is fresh while it is not", 8, false, []event{heard(1, 9), is(1, 13, true), is(1, 15, false), heard(1, 30)}, 1, badStale)
	f("a slow reader", 8, true, []event{heard(1, 9), heard(1, 30)}, 0)
	f("not connected", 8, false, []event{heard(1, 19), heard(1, 30)}, 0)
	f("gone before it had to be told", 8, false, []event{heard(1, 9), heard(1, 12), heard(2, 20)}, 0)
	f("gone before it had to be cleared", 8, false, []event{heard(1, 9), is(1, 13, true), heard(1, 16), heard(2, 30)}, 1)
}

// A connection that ended while its slow client was in a life that was over may have ended inside a message that nobody has.
func TestSevered(t *testing.T) {
	shots, _ := emptied()
	held := truth{testcluster.Slot("x"): livesOf(shots)}
	events := []event{in(1, stand(0)), in(1, msg(1)), over(1, 1, 2, 6)}
	f := func(name string, slow bool, at time.Duration, want bool) {
		t.Helper()
		h := history{Topic: "x", Slow: slow, Events: events}
		h.Events[2].At = sec(9)
		if got := h.severed(held, at, time.UnixMilli(0)); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	f("before the loss", true, sec(5), false)
	f("after the loss, before the gap", true, sec(8), true)
	f("one that reads well", false, sec(8), false)
	f("after the gap", true, sec(10), false)
}
