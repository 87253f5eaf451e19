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

	// Owned by the loop.
	subs  []*sub
	next  uint64 // the index up to which every subscription has been offered entries
	stale bool   // as the subscriptions were told
	beats [formats]beat
}

// beat is a feed's latest heartbeat in one format.
type beat struct {
	at     position.Position
	made   int64 // loop time, ms
	record *record
}

// beatFor is how long a heartbeat's lag may pass for the present one, ms.
const beatFor = 50

// fanOutBatch is how many entries a feed takes from the log at once.
const fanOutBatch = 256

// mark reports whether the caller has to post f.
func (f *feed) mark() bool { return f.marked.CompareAndSwap(false, true) }

// Run fans out what has come into the log; on the loop.
func (f *feed) Run() {
	f.marked.Store(false)
	for f.step() {
	}
	f.tellFreshness()
}

// step fans out one batch and reports whether there may be more.
func (f *feed) step() bool {
	s, w := f.topic.slot, f.worker
	s.mu.Lock()
	log := &f.topic.log
	if f.next < log.first { // nobody here, or nobody who could keep up: begin at what there is
		f.next = log.first
	}
	was, first := f.next, log.first
	w.entries = append(w.entries[:0], log.since(was, fanOutBatch)...)
	f.next += uint64(len(w.entries))
	more := f.next < log.next()
	s.mu.Unlock()

	w.newBatches()
	// Backwards, because a subscription that ends makes room for the last one.
	for i := len(f.subs) - 1; i >= 0; i-- {
		sub := f.subs[i]
		switch {
		case sub.state != subLive:
			sub.advance()
		case sub.session.blocked():
			if sub.next < first && !sub.session.closing {
				sub.tooSlow()
			}
		case sub.next == was && len(w.entries) > 0:
			sub.session.fanOut(sub, w.entries)
		case sub.next != f.next:
			sub.session.catchUp(sub)
		}
		sub.session.goOn() // it may have waited for just this
	}
	if n := len(w.entries); n > 0 {
		w.g.metrics.delivered(w.entries, w.g.tailer.Now(s.n))
	}
	clear(w.entries)
	return more
}

// heartbeat is what a session of f that has kept up gets now and then: the position of the slot's tail, which
// moves on with every topic of the slot, so that a client of a quiet topic does not fall behind the stream's
// window. ok is false when the session has not kept up, or nothing is known yet.
func (f *feed) heartbeat(next uint64, fm format) (r *record, at position.Position, ok bool) {
	s, now := f.topic.slot, f.worker.loop.Now()
	s.mu.Lock()
	ok = s.warm && next == f.topic.log.next()
	at = s.at
	fresh := s.freshness(time.Now())
	s.mu.Unlock()
	if !ok {
		return nil, at, false
	}
	b := &f.beats[fm]
	if b.record == nil || b.at != at || now > b.made+beatFor {
		*b = beat{at, now, newRecord(leg.Beacon, f.topic.num, at, encodeHeartbeat(fm, f.topic, at, fresh))}
	}
	return b.record, at, true
}

func (f *feed) add(sub *sub) {
	sub.feed, sub.place = f, int32(len(f.subs))
	f.subs = append(f.subs, sub)
}

// remove ends sub; the feed ends with its last subscription.
func (f *feed) remove(sub *sub) {
	last := len(f.subs) - 1
	f.subs[sub.place] = f.subs[last]
	f.subs[sub.place].place = sub.place
	f.subs[last] = nil
	f.subs = f.subs[:last]
	sub.feed = nil
	if last == 0 {
		f.worker.drop(f)
	}
}
