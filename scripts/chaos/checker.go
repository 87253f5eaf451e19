package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
)

// Everything in this file is pure: it judges what was written down, and knows neither processes nor clocks. All
// times are counted from the start of the run.

// eventKind is what happened to a session in one of its topics.
type eventKind uint8

const (
	evMessage eventKind = iota // a message was read
	evMoved                    // a position came without a message: welcome, subscribed, heartbeat
	evGap                      // a gap was told
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
}

// history is all that a session saw of a topic, in the order in which it saw it.
type history struct {
	Session string
	Topic   string
	Raw     bool // payloads without positions
	Slow    bool // the client reads with pauses on purpose
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

// entry is what stands in Redis: the truth.
type entry struct {
	ID   position.ID
	Sum  uint64
	Name string
	// Started is when its publish began; what a session says of its start can be held against it.
	Started time.Duration
	Known   bool // a publisher of ours wrote it
}

// kinds of a violation.
const (
	badLost     = "lost"     // a message is missing and no gap covers it
	badRepeated = "repeated" // a message came again
	badOrder    = "order"    // a message came after one that stands behind it, or a position went back
	badPayload  = "payload"  // a message's bytes are not those that were published
	badPhantom  = "phantom"  // a message that nobody published, or whose publish failed
	badGap      = "gap"      // a gap for which there is no reason
	badEpoch    = "epoch"    // another epoch without a gap
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
	Entries    int // in Redis
	Deliveries int // messages that were compared with the truth
	Gaps       int // that were told
	Gapped     int // deliveries that they stand for
	HealthyGap int // gaps told to sessions that read without pauses
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

// judge compares what publishers and sessions know with what stands in Redis. start is the wall clock's time at the
// start of the run, for the age of entries.
func judge(v *verdict, start time.Time, truth map[string][]entry, pubs []publication, seen []history) {
	bySum := map[uint64]publication{}
	for _, p := range pubs {
		v.Published[p.Outcome]++
		bySum[p.Sum] = p
	}
	there := map[uint64]int{}
	for topic, list := range truth {
		for i := range list {
			e := &list[i]
			v.Entries++
			there[e.Sum]++
			p, ok := bySum[e.Sum]
			if !ok || p.Topic != topic {
				v.add(badPhantom, 0, "entry %v of topic %q (%.60s) was published by nobody", e.ID, topic, e.Name)
				continue
			}
			e.Started, e.Known = p.Started, true
			if p.Outcome == outcomeOK && p.ID != (position.ID{}) && p.ID != e.ID {
				v.add(badRedis, p.Started, "%s was acknowledged at %v and stands at %v", p.Name, p.ID, e.ID)
			}
		}
	}
	for _, p := range pubs {
		n := there[p.Sum]
		switch {
		case p.Outcome == outcomeOK && n == 0:
			v.add(badRedis, p.Started, "%s to %q was acknowledged at %v and is not in Redis", p.Name, p.Topic, p.ID)
		case p.Outcome == outcomeFailed && n > 0:
			v.add(badPhantom, p.Started, "%s to %q was refused and is in Redis", p.Name, p.Topic)
		case n > 1:
			v.add(badRedis, p.Started, "%s to %q (%v) is in Redis %d times", p.Name, p.Topic, p.Outcome, n)
		}
	}
	for _, h := range seen {
		t := &trackCheck{v: v, h: h, truth: truth[h.Topic], start: start, pubs: bySum}
		t.run()
	}
}

// trackCheck judges one session in one topic.
type trackCheck struct {
	v     *verdict
	h     history
	truth []entry
	start time.Time
	pubs  map[uint64]publication

	index   map[uint64]int // of a payload in the truth; raw only
	began   bool
	next    int                   // the first entry that has neither come, nor been told as a gap, nor been passed over
	missing map[int]time.Duration // passed over, and when that was seen
	got     map[int]bool
	last    position.Position
	conn    int // raw: the connection of the last message
}

func (t *trackCheck) run() {
	t.missing, t.got = map[int]time.Duration{}, map[int]bool{}
	if t.h.Raw {
		t.index = make(map[uint64]int, len(t.truth))
		for i, e := range t.truth {
			t.index[e.Sum] = i
		}
	}
	for _, ev := range t.h.Events {
		switch {
		case ev.Kind == evMessage && t.h.Raw:
			t.rawMessage(ev)
		case ev.Kind == evMessage:
			t.message(ev)
		case ev.Kind == evMoved:
			t.moved(ev)
		default:
			t.gap(ev)
		}
	}
	for i := t.next; i < len(t.truth); i++ {
		t.missing[i] = 0
	}
	for _, i := range sortedKeys(t.missing) {
		e := t.truth[i]
		t.bad(badLost, max(t.missing[i], e.Started), "entry %v (%s) has not come", e.ID, e.Name)
	}
}

// bad notes a violation with whose it is.
func (t *trackCheck) bad(kind string, at time.Duration, format string, args ...any) {
	t.v.add(kind, at, "%s, topic %q: %s", t.h.Session, t.h.Topic, fmt.Sprintf(format, args...))
}

// after is the index of the first entry above id.
func (t *trackCheck) after(id position.ID) int {
	i, found := slices.BinarySearchFunc(t.truth, id, func(e entry, id position.ID) int { return e.ID.Compare(id) })
	if found {
		i++
	}
	return i
}

// begin notes where the session starts. What was published after it had been told so must lie behind.
func (t *trackCheck) begin(ev event) {
	t.began = true
	t.next = t.after(ev.Pos.ID)
	for i := range t.next {
		if e := t.truth[i]; e.Known && e.Started > ev.At {
			t.missing[i] = ev.At
		}
	}
}

// pass notes that the session has left everything below the entry with index to behind it.
func (t *trackCheck) pass(to int, at time.Duration) {
	for ; t.next < to; t.next++ {
		t.missing[t.next] = at
	}
}

func (t *trackCheck) moved(ev event) {
	switch {
	case !t.began:
		t.begin(ev)
	case t.last.Epoch != ev.Pos.Epoch:
		t.bad(badEpoch, ev.At, "position %v after %v without a gap", ev.Pos, t.last)
	case ev.Pos.ID.Less(t.last.ID):
		t.bad(badOrder, ev.At, "position %v is behind %v", ev.Pos, t.last)
	default:
		t.pass(t.after(ev.Pos.ID), ev.At)
	}
	t.last = ev.Pos
}

func (t *trackCheck) gap(ev event) {
	t.v.Gaps++
	if !t.h.Slow {
		t.v.HealthyGap++
	}
	if ev.Reason != "slow" { // Redis lives through the run and keeps everything
		t.bad(badGap, ev.At, "a gap with the reason %q from %v to %v", ev.Reason, ev.After, ev.Pos)
	}
	if !t.began {
		t.begin(event{At: ev.At, Pos: ev.After})
	}
	t.pass(t.after(ev.After.ID), ev.At)
	if end := t.after(ev.Pos.ID); end > t.next {
		t.v.Gapped += end - t.next
		t.next = end
	}
	t.last = ev.Pos
}

func (t *trackCheck) message(ev event) {
	t.v.Deliveries++
	i := t.after(ev.Pos.ID) - 1
	switch {
	case !t.began:
		t.bad(badProtocol, ev.At, "a message at %v before any position", ev.Pos)
		t.begin(event{At: ev.At, Pos: position.Position{Epoch: ev.Pos.Epoch, ID: ev.Pos.ID.Prev()}})
	case t.last.Epoch != ev.Pos.Epoch:
		t.bad(badEpoch, ev.At, "a message at %v after %v without a gap", ev.Pos, t.last)
	}
	t.last = ev.Pos
	if i < 0 || t.truth[i].ID != ev.Pos.ID {
		t.phantom(ev)
		return
	}
	if t.truth[i].Sum != ev.Sum {
		t.bad(badPayload, ev.At, "the message at %v (%s) has other bytes", ev.Pos, t.truth[i].Name)
	}
	t.arrived(ev, i)
}

// phantom notes a message that is not in Redis, and why it should not be.
func (t *trackCheck) phantom(ev event) {
	if p, ok := t.pubs[ev.Sum]; ok {
		t.bad(badPhantom, ev.At, "%s, whose publish was %v, came at %v and is not in Redis there", p.Name, p.Outcome, ev.Pos)
		return
	}
	t.bad(badPhantom, ev.At, "a message at %v was published by nobody", ev.Pos)
}

// arrived notes that the entry with index i has come.
func (t *trackCheck) arrived(ev event, i int) {
	e := t.truth[i]
	_, passed := t.missing[i]
	switch {
	case t.got[i]:
		t.bad(badRepeated, ev.At, "entry %v (%s) came again", e.ID, e.Name)
	case passed:
		t.bad(badOrder, ev.At, "entry %v (%s) came late", e.ID, e.Name)
		delete(t.missing, i)
	case i < t.next:
		t.bad(badRepeated, ev.At, "entry %v (%s) came though the session stood behind it", e.ID, e.Name)
	default:
		t.pass(i, ev.At)
		t.next = i + 1
	}
	t.got[i] = true
	t.quiet(ev, e)
}

// rawMessage judges a message without a position: within a connection the messages are a stretch of the truth without
// a hole, and none comes twice.
func (t *trackCheck) rawMessage(ev event) {
	t.v.Deliveries++
	i, ok := t.index[ev.Sum]
	if !ok {
		t.phantom(ev)
		return
	}
	if ev.Conn != t.conn { // what lies between two connections is nobody's
		t.conn = ev.Conn
		t.next = max(t.next, i)
	}
	t.arrived(ev, i)
}

// quiet keeps the longest that a message took.
func (t *trackCheck) quiet(ev event, e entry) {
	written := time.UnixMilli(int64(e.ID.Ms)).Sub(t.start)
	if t.h.Slow || written < ev.Opened {
		return
	}
	if d := ev.At - written; d > t.v.Silence {
		t.v.Silence, t.v.SilenceAt, t.v.SilenceOf = d, ev.At, t.h.Session
	}
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
