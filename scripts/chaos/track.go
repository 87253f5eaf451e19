package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
)

// trackCheck judges one session in one topic.
type trackCheck struct {
	v     *verdict
	h     history
	lives []life // of the topic
	start time.Time
	pubs  map[uint64]publication

	began  bool
	last   position.Position
	untold bool // it has been said that the session was not told of a loss

	// Of the life in which the session stands.
	life    int
	truth   []entry
	next    int // the first entry that has neither come, nor been told as a gap, nor been passed over
	missing map[int]passed
	got     map[int]bool
}

// passed is how an entry was passed over.
type passed struct {
	at     time.Duration
	behind bool // a fault has taken the entry, and the session went on behind all that it took: then a gap can cover it
}

func (t *trackCheck) run() {
	if len(t.lives) == 0 {
		t.lives = []life{{}} // of a slot that nothing was ever written to
	}
	if t.h.Raw {
		t.runRaw()
		return
	}
	t.enter(len(t.lives)-1, 0) // a session that sees nothing at all lacks everything
	for _, ev := range t.h.Events {
		switch ev.Kind {
		case evMessage:
			t.message(ev)
		case evMoved:
			t.moved(ev)
		case evGap:
			t.gap(ev)
		case evFresh:
			if ev.Stale {
				t.v.Stale++
			}
		}
	}
	if t.life != len(t.lives)-1 {
		l := t.lives[len(t.lives)-1]
		t.bad(badUntold, t.h.Events[len(t.h.Events)-1].At, "it stands at %v, and was never told that the stream has the epoch %08x since %v", t.last, l.Epoch, l.Began)
		t.settle(true)
		return
	}
	t.pass(len(t.truth), 0, position.ID{Ms: math.MaxUint64})
	t.settle(false)
}

// bad notes a violation with whose it is.
func (t *trackCheck) bad(kind string, at time.Duration, format string, args ...any) {
	t.v.add(kind, at, "%s, topic %q: %s", t.h.Session, t.h.Topic, fmt.Sprintf(format, args...))
}

// enter has the session stand in another life, with everything before the entry with index next behind it.
func (t *trackCheck) enter(life, next int) {
	t.life, t.truth, t.next = life, t.lives[life].Entries, next
	t.missing, t.got = map[int]passed{}, map[int]bool{}
}

// settle notes what has not come of the life in which the session stands. told says that it has been told that the life is
// over, or that something of it was lost: then what was taken away may be missing.
func (t *trackCheck) settle(told bool) {
	for _, i := range sortedKeys(t.missing) {
		e, m := t.truth[i], t.missing[i]
		switch {
		case !m.behind:
			t.bad(badLost, max(m.at, e.Started), "entry %v (%s) has not come", e.ID, e.Name)
		case told:
			t.v.Gapped++
		case t.lives[t.life].Seen:
			t.tell(max(m.at, e.Started), "entry %v (%s) was lost by Redis, others had seen it, and no gap was told", e.ID, e.Name)
		default:
			t.v.Unseen++
		}
		delete(t.missing, i)
	}
}

// tell notes, once, that the session was not told of a loss.
func (t *trackCheck) tell(at time.Duration, format string, args ...any) {
	if !t.untold {
		t.bad(badUntold, at, format, args...)
	}
	t.untold = true
}

// find is the life with an epoch; -1 when there is none.
func (t *trackCheck) find(epoch uint32) int {
	return slices.IndexFunc(t.lives, func(l life) bool { return l.Epoch == epoch })
}

// after is the index of the first entry above id.
func (t *trackCheck) after(id position.ID) int { return after(t.truth, id) }

func after(list []entry, id position.ID) int {
	i, found := slices.BinarySearchFunc(list, id, func(e entry, id position.ID) int { return e.ID.Compare(id) })
	if found {
		i++
	}
	return i
}

// begin notes where the session starts. What was published after it had been told so must lie behind.
func (t *trackCheck) begin(ev event) {
	t.began = true
	if life := t.find(ev.Pos.Epoch); life >= 0 {
		t.enter(life, 0)
	} else {
		t.bad(badEpoch, ev.At, "it begins at %v, in an epoch that the stream never had", ev.Pos)
	}
	t.next = t.after(ev.Pos.ID)
	for i := range t.next {
		if e := t.truth[i]; e.Known && e.Started > ev.At {
			t.missing[i] = passed{at: ev.At}
		}
	}
}

// pass notes that the session has left everything below the entry with index to behind it, and stands at pos.
func (t *trackCheck) pass(to int, at time.Duration, pos position.ID) {
	for ; t.next < to; t.next++ {
		s, _ := t.lives[t.life].void(t.truth[t.next].ID)
		t.missing[t.next] = passed{at, t.truth[t.next].Lost && s.To.Less(pos)}
	}
}

// another notes that the session is in another epoch without having been told of a gap.
func (t *trackCheck) another(ev event, what string) {
	t.bad(badEpoch, ev.At, "%s %v after %v without a gap", what, ev.Pos, t.last)
	if life := t.find(ev.Pos.Epoch); life >= 0 {
		t.settle(true)
		t.enter(life, after(t.lives[life].Entries, ev.Pos.ID.Prev()))
	}
}

// leaves notes when the session goes on to pos behind what was taken away, where it stands.
func (t *trackCheck) leaves(ev event) {
	if t.last.Epoch != t.lives[t.life].Epoch {
		return
	}
	if s, ok := t.lives[t.life].void(t.last.ID); ok && s.To.Less(ev.Pos.ID) {
		t.tell(ev.At, "it stood at %v, which Redis lost, and goes on at %v without a gap", t.last, ev.Pos)
	}
}

func (t *trackCheck) moved(ev event) {
	switch {
	case !t.began:
		t.begin(ev)
	case t.last.Epoch != ev.Pos.Epoch:
		t.another(ev, "position")
		t.next = max(t.next, t.after(ev.Pos.ID))
	case ev.Pos.ID.Less(t.last.ID):
		t.bad(badOrder, ev.At, "position %v is behind %v", ev.Pos, t.last)
	default:
		t.leaves(ev)
		t.pass(t.after(ev.Pos.ID), ev.At, ev.Pos.ID)
	}
	t.last = ev.Pos
}

func (t *trackCheck) gap(ev event) {
	t.v.Gaps++
	if !t.began {
		t.begin(event{At: ev.At, Pos: ev.After})
	}
	t.pass(t.after(ev.After.ID), ev.At, ev.After.ID)
	to := t.find(ev.Pos.Epoch)
	if ev.Reason == "epoch" {
		t.v.EpochGaps++
	} else if !t.h.Slow {
		t.v.HealthyGap++
	}
	switch {
	case to < 0:
		t.bad(badEpoch, ev.At, "a gap from %v to %v, an epoch that the stream never had", ev.After, ev.Pos)
	case to < t.life:
		t.bad(badEpoch, ev.At, "a gap from %v back to %v, which is over", ev.After, ev.Pos)
	case ev.Reason == "epoch":
		t.epochGap(ev, to)
	case ev.Reason != "slow": // nothing is trimmed in a run
		t.bad(badGap, ev.At, "a gap with the reason %q from %v to %v", ev.Reason, ev.After, ev.Pos)
	case to != t.life:
		t.bad(badEpoch, ev.At, "a gap with the reason %q from %v to %v, another epoch", ev.Reason, ev.After, ev.Pos)
	}
	if end := t.after(ev.Pos.ID); end > t.next {
		t.v.Gapped += end - t.next
		t.next = end
	}
	t.last = ev.Pos
}

// epochGap judges a gap that Redis is to blame for. It covers what of the old life has not come, and of the new one what
// stands before its position. A position that is void can also be left within its life.
func (t *trackCheck) epochGap(ev event, to int) {
	if to == t.life {
		if _, ok := t.lives[t.life].void(ev.After.ID); !ok {
			t.bad(badGap, ev.At, "a gap with the reason \"epoch\" from %v to %v, where nothing was lost", ev.After, ev.Pos)
		}
		for i := range t.missing {
			if t.missing[i].behind {
				t.v.Gapped++
				delete(t.missing, i)
			}
		}
		return
	}
	t.settle(true)
	t.v.Gapped += len(t.truth) - t.next
	t.enter(to, 0)
	if !t.h.Slow {
		t.v.Skipped += t.after(ev.Pos.ID) - t.after(t.lives[to].Began)
	}
}

func (t *trackCheck) message(ev event) {
	t.v.Deliveries++
	switch {
	case !t.began:
		t.bad(badProtocol, ev.At, "a message at %v before any position", ev.Pos)
		t.begin(event{At: ev.At, Pos: position.Position{Epoch: ev.Pos.Epoch, ID: ev.Pos.ID.Prev()}})
	case t.last.Epoch != ev.Pos.Epoch:
		t.another(ev, "a message at")
	default:
		t.leaves(ev)
	}
	t.last = ev.Pos
	i := t.after(ev.Pos.ID) - 1
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
	for _, l := range t.lives {
		if i := after(l.Entries, ev.Pos.ID) - 1; i >= 0 && l.Entries[i].ID == ev.Pos.ID && l.Entries[i].Sum == ev.Sum {
			t.bad(badEpoch, ev.At, "the message at %v belongs to the epoch %08x", ev.Pos, l.Epoch)
			return
		}
	}
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
		t.pass(i, ev.At, e.ID)
		t.next = i + 1
	}
	t.got[i] = true
	t.quiet(ev, e)
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
