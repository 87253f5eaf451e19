package main

import (
	"slices"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

const testEpoch = 7

// at is the position of the n-th entry.
func at(n int) position.Position {
	return position.Position{Epoch: testEpoch, ID: position.ID{Ms: uint64(1000 * n)}}
}

// sec is a moment of the run.
func sec(n int) time.Duration { return time.Duration(n) * time.Second }

func msg(n int) event   { return event{Kind: evMessage, At: sec(n), Pos: at(n), Sum: uint64(n)} }
func stand(n int) event { return event{Kind: evMoved, At: sec(n), Pos: at(n)} }
func gap(from, to int, reason string) event {
	return event{Kind: evGap, At: sec(to), After: at(from), Pos: at(to), Reason: reason}
}

// raw is a message on a connection without positions.
func raw(conn, n int) event { return event{Kind: evMessage, Conn: conn, At: sec(n), Sum: uint64(n)} }

// published is n publishes that all succeeded, and the stream that they make.
func published(n int) (truth, []publication) {
	var list []entry
	var pubs []publication
	for i := 1; i <= n; i++ {
		list = append(list, entry{ID: at(i).ID, Topic: "x", Sum: uint64(i), Name: "m"})
		pubs = append(pubs, publication{Name: "m", Topic: "x", Sum: uint64(i), Started: sec(i), ID: at(i).ID})
	}
	return of(list), pubs
}

// of is a stream with one life.
func of(list []entry) truth {
	return truth{testcluster.Slot("x"): {{Epoch: testEpoch, Entries: list}}}
}

// kindsOf are the kinds of violations in a verdict, sorted.
func kindsOf(v *verdict) []string {
	var list []string
	for k, n := range v.Counts {
		for range n {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

func TestSessions(t *testing.T) {
	f := func(name string, israw bool, events []event, want ...string) {
		t.Helper()
		truth, pubs := published(5)
		v := newVerdict()
		judge(v, time.UnixMilli(0), truth, pubs, []history{{Session: "s", Topic: "x", Raw: israw, Slow: true, Events: events}})
		if got := kindsOf(v); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q; %v", name, got, want, v.Violations)
		}
	}
	good := func(events ...event) []event { return append([]event{stand(0)}, events...) }
	f("everything", false, good(msg(1), msg(2), msg(3), msg(4), msg(5)))
	f("from the middle on", false, []event{stand(2), msg(3), msg(4), msg(5)})
	f("with heartbeats", false, good(msg(1), stand(1), msg(2), msg(3), stand(3), msg(4), msg(5), stand(5)))
	f("one lost", false, good(msg(1), msg(2), msg(4), msg(5)), badLost)
	f("the end lost", false, good(msg(1), msg(2), msg(3)), badLost, badLost)
	f("nothing came", false, good(), badLost, badLost, badLost, badLost, badLost)
	f("never connected", false, nil, badLost, badLost, badLost, badLost, badLost)
	f("a heartbeat that passes over a message", false, good(msg(1), stand(3), msg(4), msg(5)), badLost, badLost)
	f("a heartbeat before its message", false, good(msg(1), stand(2), msg(2), msg(3), msg(4), msg(5)), badOrder)
	f("repeated", false, good(msg(1), msg(2), msg(2), msg(3), msg(4), msg(5)), badRepeated)
	f("repeated later", false, good(msg(1), msg(2), msg(3), msg(1), msg(4), msg(5)), badRepeated)
	f("from before the start", false, []event{stand(3), msg(2), msg(4), msg(5)}, badRepeated)
	f("two changed places", false, good(msg(1), msg(3), msg(2), msg(4), msg(5)), badOrder)
	f("a position that goes back", false, good(msg(1), msg(2), stand(1), msg(3), msg(4), msg(5)), badOrder)
	f("a message before any position", false, []event{msg(1), msg(2), msg(3), msg(4), msg(5)}, badProtocol)
	f("a start that is too late", false, []event{{Kind: evMoved, At: sec(1) / 2, Pos: at(2)}, msg(3), msg(4), msg(5)}, badLost, badLost)

	f("a told gap", false, good(msg(1), gap(1, 3, "slow"), msg(4), msg(5)))
	f("a gap at the end", false, good(msg(1), gap(1, 5, "slow")))
	f("a gap that does not cover its beginning", false, good(msg(1), gap(2, 3, "slow"), msg(4), msg(5)), badLost)
	f("a gap that does not cover its end", false, good(msg(1), gap(1, 2, "slow"), msg(4), msg(5)), badLost)
	f("a gap, and then what it covers", false, good(msg(1), gap(1, 3, "slow"), msg(3), msg(4), msg(5)), badRepeated)
	f("a gap without a reason", false, good(msg(1), gap(1, 3, "trimmed"), msg(4), msg(5)), badGap)
	f("a gap of another epoch", false, good(msg(1), gap(1, 3, "epoch"), msg(4), msg(5)), badGap)

	other := func(e event) event { e.Pos.Epoch++; return e }
	f("another epoch", false, good(msg(1), other(msg(2)), other(msg(3)), other(msg(4)), other(msg(5))), badEpoch)
	f("another epoch in a heartbeat", false, good(msg(1), other(stand(1)), other(msg(2)), other(msg(3)), other(msg(4)), other(msg(5))), badEpoch)
	changed := msg(2)
	changed.Sum = 99
	f("other bytes", false, good(msg(1), changed, msg(3), msg(4), msg(5)), badPayload)
	f("never published", false, good(msg(1), msg(2), msg(3), msg(4), msg(5), msg(6)), badPhantom)

	f("raw", true, []event{raw(1, 1), raw(1, 2), raw(1, 3), raw(1, 4), raw(1, 5)})
	f("raw, from the middle on", true, []event{raw(1, 3), raw(1, 4), raw(1, 5)})
	f("raw, two connections", true, []event{raw(1, 1), raw(1, 2), raw(2, 4), raw(2, 5)})
	f("raw, lost", true, []event{raw(1, 1), raw(1, 2), raw(1, 4), raw(1, 5)}, badLost)
	f("raw, lost at the end", true, []event{raw(1, 1), raw(1, 2), raw(2, 4)}, badLost)
	f("raw, repeated", true, []event{raw(1, 1), raw(1, 2), raw(1, 2), raw(1, 3), raw(1, 4), raw(1, 5)}, badRepeated)
	f("raw, repeated on another connection", true, []event{raw(1, 1), raw(1, 2), raw(2, 2), raw(2, 3), raw(2, 4), raw(2, 5)}, badRepeated)
	f("raw, changed places", true, []event{raw(1, 1), raw(1, 3), raw(1, 2), raw(1, 4), raw(1, 5)}, badOrder)
	f("raw, never published", true, []event{raw(1, 1), raw(1, 9), raw(1, 2), raw(1, 3), raw(1, 4), raw(1, 5)}, badPhantom)
}

func TestPublishes(t *testing.T) {
	f := func(name string, p publication, stands int, events []event, want ...string) {
		t.Helper()
		p.Name, p.Topic, p.Sum = "p", "x", 1
		var list []entry
		for i := range stands {
			list = append(list, entry{ID: at(i + 1).ID, Topic: "x", Sum: 1})
		}
		v := newVerdict()
		seen := []history{{Session: "s", Topic: "x", Events: append([]event{stand(0)}, events...)}}
		judge(v, time.UnixMilli(0), of(list), []publication{p}, seen)
		if got := kindsOf(v); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q; %v", name, got, want, v.Violations)
		}
	}
	again := event{Kind: evMessage, At: sec(2), Pos: at(2), Sum: 1}
	ok := publication{Outcome: outcomeOK, ID: at(1).ID}
	f("acknowledged", ok, 1, []event{msg(1)})
	f("acknowledged and gone", ok, 0, nil, badRedis)
	f("acknowledged elsewhere", publication{Outcome: outcomeOK, ID: at(3).ID}, 1, []event{msg(1)}, badRedis)
	f("acknowledged twice", ok, 2, []event{msg(1), again}, badRedis, badRedis)
	f("acknowledged and lost", ok, 1, nil, badLost)
	f("failed", publication{Outcome: outcomeFailed}, 0, nil)
	f("failed and there", publication{Outcome: outcomeFailed}, 1, []event{msg(1)}, badPhantom)
	f("failed and delivered all the same", publication{Outcome: outcomeFailed}, 0, []event{msg(1)}, badPhantom)
	f("ambiguous and not there", publication{Outcome: outcomeAmbiguous}, 0, nil)
	f("ambiguous and there", publication{Outcome: outcomeAmbiguous}, 1, []event{msg(1)})
	f("ambiguous, there and lost", publication{Outcome: outcomeAmbiguous}, 1, nil, badLost)
	f("ambiguous, there and repeated", publication{Outcome: outcomeAmbiguous}, 1, []event{msg(1), msg(1)}, badRepeated)
	f("ambiguous and there twice", publication{Outcome: outcomeAmbiguous}, 2, []event{msg(1), again}, badRedis)
}

func TestForeignEntry(t *testing.T) {
	v := newVerdict()
	judge(v, time.UnixMilli(0), of([]entry{{ID: at(1).ID, Topic: "x", Sum: 5}}), nil, nil)
	if got := kindsOf(v); !slices.Equal(got, []string{badPhantom}) {
		t.Errorf("got %q, want a phantom", got)
	}
}

func TestCounts(t *testing.T) {
	truth, pubs := published(6)
	late := msg(6)
	late.At = sec(8)
	events := []event{stand(0), msg(1), gap(1, 3, "slow"), msg(4), msg(5), late}
	v := newVerdict()
	judge(v, time.UnixMilli(0), truth, pubs, []history{{Session: "s", Topic: "x", Events: events}})
	if v.Deliveries != 4 || v.Gaps != 1 || v.Gapped != 2 || v.HealthyGap != 1 || v.Entries != 6 || v.Published[outcomeOK] != 6 {
		t.Errorf("got %+v", v)
	}
	if v.Silence != 2*time.Second || v.SilenceAt != sec(8) {
		t.Errorf("silence: got %v at %v, want 2s at 8s", v.Silence, v.SilenceAt)
	}
}

// A connection that the other side ended is counted as what it is.
func TestCloses(t *testing.T) {
	f := func(allow, expected bool, wantExpected, wantAgainst, wantBad int) {
		t.Helper()
		r := &run{o: options{allowCloses: allow}}
		res, v := &result{}, newVerdict()
		r.closes(v, res, &client{closes: []closing{{Expected: expected}}}, nil, nil)
		if res.expected != wantExpected || res.against != wantAgainst || v.Counts[badClosed] != wantBad {
			t.Errorf("allow %v, expected %v: got %d, %d, %d", allow, expected, res.expected, res.against, v.Counts[badClosed])
		}
	}
	f(false, true, 1, 0, 0)
	f(false, false, 0, 1, 1)
	f(true, false, 0, 1, 0)
}
