package gateway

import (
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// feed is one topic on one loop: the subscriptions that the loop serves, and how far those that keep up have
// come. It is the note that the tailer leaves for the loop when the log has grown.
type feed struct {
	worker *worker
	topic  *topic
	marked atomic.Bool // the note is on its way

	counting atomic.Bool // the note that tells viewers is on its way

	// Owned by the loop.
	subs  []*sub
	next  uint64 // the index up to which every subscription has been offered entries, or is about to be by the present pass
	from  uint64 // the index at which the present pass begins
	left  int    // subscriptions that the present pass has not come to: those below this place
	stale bool   // as the subscriptions were told
	beats [formats]beat

	offers [formats][2]offer // to routers, by what feedExtras says

	// Of those who asked how many follow the topic.
	viewers []*sub
	told    int32 // what they are being told
	untold  int   // those below this place have not been
	counted [formats]viewersMade
}

// beat is a feed's latest heartbeat in one format.
type beat struct {
	at     position.Position
	stale  bool
	made   int64 // loop time, ms
	record *record
}

// beatFor is how long a heartbeat's lag may pass for the present one, ms.
const beatFor = 50

const (
	fanOutBatch = 256 // entries that a feed takes from the log at once
	fanOutSlice = 128 // subscriptions of a topic that are served before other topics and sockets get their turn: about 1 ms
)

// mark reports whether the caller has to post f.
func (f *feed) mark() bool { return f.marked.CompareAndSwap(false, true) }

// Run fans out a slice of what has come into the log, and leaves a note for the next; on the loop.
func (f *feed) Run() {
	f.marked.Store(false)
	more := f.step()
	f.tellFreshness()
	if more && f.mark() {
		f.worker.loop.Post(f)
	}
}

// step goes on with the present pass, or begins one, and reports whether there may be more to do. A pass offers one batch of entries to
// every subscription, a slice of them at a time, so that a topic that many follow holds up no other.
func (f *feed) step() (more bool) {
	s, w := f.topic.slot, f.worker
	s.mu.Lock()
	log := &f.topic.log
	if f.left = min(f.left, len(f.subs)); f.left == 0 {
		f.from, f.left = max(f.next, log.First), len(f.subs) // before first: nobody was here, or nobody who could keep up
		f.next = min(f.from+fanOutBatch, log.Next())
	}
	w.entries = w.entries[:0]
	if f.from >= log.First { // else the log has lost some of the pass's entries since it began
		w.entries = append(w.entries, log.Since(f.from, int(f.next-f.from))...)
	}
	first, more := log.First, f.next < log.Next()
	s.mu.Unlock()

	w.newBatches()
	// Backwards, because a subscription that ends makes room for the last one.
	for end := max(0, f.left-fanOutSlice); f.left > end; {
		f.left--
		if f.left < len(f.subs) { // the last ones may have ended meanwhile
			f.offer(f.subs[f.left], first)
		}
	}
	w.send()
	if f.left == 0 && len(w.entries) > 0 {
		w.g.metrics.delivered(w.entries, w.g.tailer.Now(s.n))
	}
	clear(w.entries)
	return more || f.left > 0
}

// offer hands the entries of the present pass to a subscription, at once or with [worker.send], or whatever else it lacks.
func (f *feed) offer(sub *sub, first uint64) {
	ses, entries := sub.session, f.worker.entries
	switch {
	case sub.state != subLive:
		sub.advance()
	case ses.blocked():
		if sub.next < first && !ses.closing {
			sub.tooSlow()
		}
	case sub.next == f.from && len(entries) > 0:
		if f.worker.stage(sub) {
			return
		}
	case sub.next != f.next:
		ses.catchUp(sub)
	}
	ses.goOn() // it may have waited for just this
}

// heartbeat is what a session of f that has kept up gets now and then: the position of the slot's tail, which
// moves on with every topic of the slot, so that a client of a quiet topic does not fall behind the stream's
// window. ok is false when the session has not kept up, or nothing is known yet.
func (f *feed) heartbeat(next uint64, fm format) (r *record, at position.Position, ok bool) {
	s, now := f.topic.slot, f.worker.loop.Now()
	s.mu.Lock()
	ok = s.warm && next == f.topic.log.Next()
	at = s.at
	fresh := s.freshness(time.Now())
	s.mu.Unlock()
	if !ok {
		return nil, at, false
	}
	b := &f.beats[fm]
	if b.record == nil || b.at != at || b.stale != fresh.stale || now > b.made+beatFor {
		*b = beat{at, fresh.stale, now, newRecord(leg.Beacon, f.topic.num, at, encodeHeartbeat(fm, f.topic, at, fresh))}
	}
	return b.record, at, true
}

func (f *feed) add(sub *sub) {
	sub.feed, sub.place = f, int32(len(f.subs))
	f.subs = append(f.subs, sub)
	f.topic.subscribed.Add(sub.session.weight())
	f.topic.slot.g.counts.note(f.topic)
	if sub.session.viewers {
		f.askViewers(sub)
	}
}

// remove ends sub; the feed ends with its last subscription.
func (f *feed) remove(sub *sub) {
	last := len(f.subs) - 1
	f.subs[sub.place] = f.subs[last]
	f.subs[sub.place].place = sub.place
	f.subs[last] = nil
	f.subs = f.subs[:last]
	f.topic.subscribed.Add(-sub.session.weight())
	f.topic.slot.g.counts.note(f.topic)
	if sub.viewer > 0 {
		f.unaskViewers(sub)
	}
	sub.feed = nil
	if sub.class != nil {
		f.worker.dropClass(sub.class)
		sub.class = nil
	}
	if last == 0 {
		f.worker.drop(f)
	}
}
