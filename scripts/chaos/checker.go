package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// Everything in this file is pure: it judges what was written down, and knows neither processes nor clocks. All
// times are counted from the start of the run.

// eventKind is what happened to a session in one of its topics.
type eventKind uint8

const (
	evMessage eventKind = iota // a message was read
	evMoved                    // a position came without a message: welcome, subscribed, heartbeat
	evGap                      // a gap was told
	evFresh                    // the client was told that its topic is stale, or that it no longer is
)

// event is one thing that a client saw.
type event struct {
	Kind   eventKind
	Conn   int               // of which connection, counted from 1
	Opened time.Duration     // when that connection stood
	At     time.Duration     // when it was seen
	Pos    position.Position // zero in raw
	After  position.Position // of a gap: it covers what is above After, up to Pos
	Reason string            // of a gap
	Sum    uint64            // of a message: of its payload
	Stale  bool
}

// history is all that a session saw of a topic, in the order in which it saw it.
type history struct {
	Session string
	Topic   string
	Raw     bool // payloads without positions
	Slow    bool // the client reads with pauses on purpose
	Toggles bool // it takes its subscription back now and then: what it is told of the topic has holes
	Events  []event
}

// outcome is what a publisher knows of a publish.
type outcome uint8

const (
	outcomeOK        outcome = iota // acknowledged
	outcomeFailed                   // refused: it must not be there
	outcomeAmbiguous                // no answer, or one that says so: it may be there, once
	outcomes
)

func (o outcome) String() string { return [outcomes]string{"acknowledged", "failed", "ambiguous"}[o] }

// publication is one publish, all its attempts together.
type publication struct {
	Name    string // the identity in its payload
	Topic   string
	Sum     uint64
	Started time.Duration // of the first attempt
	Outcome outcome
	ID      position.ID // of the entry, when it was told
}

// kinds of a violation.
const (
	badLost     = "lost"     // a message is missing and no gap covers it
	badRepeated = "repeated" // a message came again
	badOrder    = "order"    // a message came after one that stands behind it, or a position went back
	badPayload  = "payload"  // a message's bytes are not those that were published
	badPhantom  = "phantom"  // a message that nobody published, or whose publish failed
	badGap      = "gap"      // a gap for which there is no reason
	badEpoch    = "epoch"    // another epoch without a gap, or one that never was
	badUntold   = "untold"   // Redis has lost data, and a session was not told
	badStale    = "stale"    // a client was not told that its topic is stale, or not that it is so no more
	badProtocol = "protocol" // the server sent what no server may
	badClosed   = "closed"   // the other side ended a connection that it should have kept
	badRedis    = "redis"    // an acknowledged publish is not in Redis, or is there twice
	badRing     = "ring"     // the nodes don't agree on the ring in time
	badMemory   = "memory"   // a node does not give its memory back
	badExit     = "exit"     // a node ended, or did not, against its orders
	badOutput   = "output"   // a node reported a panic or a data race
)

// violation is something that must not be.
type violation struct {
	Kind string
	At   time.Duration // zero when it has no moment
	Text string
}

// verdict is what the checker found.
type verdict struct {
	Published  [outcomes]int
	Entries    int           // in Redis
	Deliveries int           // messages that were compared with the truth
	Gaps       int           // that were told
	Gapped     int           // deliveries that they stand for
	HealthyGap int           // gaps told to sessions that read without pauses, because they fell behind
	Losses     int           // epochs that ended, of all streams
	Gone       int           // messages that Redis has lost by a fault
	EpochGaps  int           // gaps told because of that
	Skipped    int           // deliveries of new epochs that such gaps stand for
	Unseen     int           // lost messages that nobody had seen, and so nobody could be told of
	Stale      int           // times that a session was told that a topic is stale
	Outages    int           // topics of sessions that were connected while Redis was silent for long
	ToldAfter  time.Duration // the longest that it took to tell them that they are stale
	ToldLast   string        // who that was
	ClearAfter time.Duration // and that they are so no more
	Counts     map[string]int
	Violations []violation // the first of each kind

	// Silence is the longest that a message took to a session that reads and was connected when it was published.
	Silence   time.Duration
	SilenceAt time.Duration // when that message came
	SilenceOf string
}

// violationsKept is how many violations of a kind are described; all are counted.
const violationsKept = 8

func newVerdict() *verdict { return &verdict{Counts: map[string]int{}} }

// add notes a violation.
func (v *verdict) add(kind string, at time.Duration, format string, args ...any) {
	v.Counts[kind]++
	if v.Counts[kind] <= violationsKept {
		v.Violations = append(v.Violations, violation{kind, at, fmt.Sprintf(format, args...)})
	}
}

// bad is the number of violations.
func (v *verdict) bad() int {
	n := 0
	for _, c := range v.Counts {
		n += c
	}
	return n
}

// wrong is the number of violations that say something about messages.
func (v *verdict) wrong() int {
	n := v.bad()
	for _, kind := range []string{badClosed, badRing, badMemory, badExit, badOutput} {
		n -= v.Counts[kind]
	}
	return n
}

// truth is what Redis has held: the lives of each slot's stream.
type truth map[int][]life

// judge compares what publishers and sessions know with what stood in Redis. start is the wall clock's time at the
// start of the run, for the age of entries.
func judge(v *verdict, start time.Time, held truth, pubs []publication, seen []history) {
	bySum := map[uint64]publication{}
	for _, p := range pubs {
		v.Published[p.Outcome]++
		bySum[p.Sum] = p
	}
	judgePublications(v, held, pubs, bySum)
	for _, h := range seen {
		held.noteSeen(h)
	}
	for _, slot := range sortedKeys(held) {
		for i, l := range held[slot] {
			if i > 0 {
				v.Losses++
			}
			if l.Causeless {
				v.add(badEpoch, 0, "slot %d began the epoch %08x at %v although nothing of it had been lost", slot, l.Epoch, l.Began)
			}
		}
	}
	byTopic := map[string][]life{}
	for _, h := range seen {
		if _, ok := byTopic[h.Topic]; !ok {
			byTopic[h.Topic] = held.of(h.Topic)
		}
		t := &trackCheck{v: v, h: h, lives: byTopic[h.Topic], start: start, pubs: bySum}
		t.run()
	}
}

// judgePublications compares the publishers' knowledge with what stood in Redis.
func judgePublications(v *verdict, held truth, pubs []publication, bySum map[uint64]publication) {
	type copies struct{ standing, gone, placed int }
	there := map[uint64]copies{}
	for _, slot := range sortedKeys(held) {
		for _, l := range held[slot] {
			for i := range l.Entries {
				e := &l.Entries[i]
				if e.Topic == "" {
					continue
				}
				v.Entries++
				p, ok := bySum[e.Sum]
				if !ok || p.Topic != e.Topic {
					v.add(badPhantom, 0, "entry %v of topic %q (%.60s) was published by nobody", e.ID, e.Topic, e.Name)
					continue
				}
				e.Started, e.Known = p.Started, true
				n := there[e.Sum]
				if e.Gone {
					n.gone++
					v.Gone++
				} else {
					n.standing++
				}
				if p.Outcome == outcomeOK && (p.ID == e.ID || p.ID.IsZero()) {
					n.placed++
				} else if p.Outcome == outcomeOK && !e.Gone { // what a fault took away may have been published again
					v.add(badRedis, p.Started, "%s was acknowledged at %v and stands at %v", p.Name, p.ID, e.ID)
				}
				there[e.Sum] = n
			}
		}
	}
	for _, p := range pubs {
		n := there[p.Sum]
		switch {
		case p.Outcome == outcomeOK && n.standing+n.placed == 0:
			v.add(badRedis, p.Started, "%s to %q was acknowledged at %v and is not in Redis", p.Name, p.Topic, p.ID)
		case p.Outcome == outcomeFailed && n.standing+n.gone > 0:
			v.add(badPhantom, p.Started, "%s to %q was refused and is in Redis", p.Name, p.Topic)
		case n.standing > 1:
			v.add(badRedis, p.Started, "%s to %q (%v) is in Redis %d times", p.Name, p.Topic, p.Outcome, n.standing)
		}
	}
}

// of are the lives of one topic.
func (t truth) of(topic string) (list []life) {
	for i := range t[testcluster.Slot(topic)] {
		list = append(list, t[testcluster.Slot(topic)][i].of(topic))
	}
	return list
}

// noteSeen notes where a session has stood in what was taken away later: then its slot's gateways can know of the loss.
func (t truth) noteSeen(h history) {
	if h.Raw {
		return
	}
	list := t[testcluster.Slot(h.Topic)]
	for i := range list {
		l := &list[i]
		for _, ev := range h.Events {
			if len(l.Voids) > 0 && !l.Seen && ev.Kind != evFresh && ev.Pos.Epoch == l.Epoch {
				_, l.Seen = l.void(ev.Pos.ID)
			}
		}
	}
}

// severed reports whether the connection of a client that reads slowly may have ended at that moment because it had a part of a
// message that both its gateway and Redis had lost: nobody can complete it. Then the client was still in a life that was over.
func (h history) severed(held truth, at time.Duration, start time.Time) bool {
	if !h.Slow {
		return false
	}
	var epoch uint32
	for _, ev := range h.Events {
		if ev.At <= at && ev.Kind != evFresh {
			epoch = ev.Pos.Epoch
		}
	}
	list := held[testcluster.Slot(h.Topic)]
	i := slices.IndexFunc(list, func(l life) bool { return l.Epoch == epoch })
	return i >= 0 && i+1 < len(list) && time.UnixMilli(int64(list[i+1].Began.Ms)).Sub(start) <= at
}

func sortedKeys[M ~map[int]V, V any](m M) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
