package gateway

import (
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// worker is one event loop's share of the gateway: its sessions and the feeds of their topics. Everything in
// it belongs to the loop, apart from counts.
type worker struct {
	g    *Gateway
	loop *eventloop.Loop

	feeds    map[string]*feed
	sessions []*session
	pings    []byte // the heartbeat of sessions without a JSON or SSE one

	// Of Action Cable.
	classes    map[string]*class
	turn       uint64  // counts what batches are made for
	cablePings [3]beat // by unit

	// Scratch of one turn.
	entries []*entry                // what a feed fans out
	more    []*entry                // what one session catches up with
	out     []byte                  // several records, for one session
	batches [int(formats) * 2]batch // several records, for all sessions of a format

	staged   []staged // who is about to be written to
	sendings []eventloop.Sending

	owed       float64 // of a drain: sessions that should have been sent away by now
	drainShare float64 // of a drain: sessions per tick; 0 before the first
	leaving    exodus  // of stale slots

	asker asker // of routers' feeds

	corked *session // that begins; nil as a rule
	held   []byte   // what it has been told so far

	policy  *policy // that sessions are told
	telling int     // sessions below this place may still have to be told

	counts *workerCounts
}

// batch is what the sessions that keep up are missing, in one format, for legs or without: one string for one
// system call. It may be a shared record and must not be written to.
type batch struct {
	b   []byte
	n   int    // entries in b; 0: not made yet
	buf []byte // own storage for more than one entry
}

const (
	writeChunk = 64 << 10  // bytes that one write offers when a session catches up
	batchLimit = 256 << 10 // bytes of a batch
	keepBuffer = 1 << 20   // storage above this is not kept for the next turn
)

func newWorker(g *Gateway, l *eventloop.Loop, c *workerCounts) *worker {
	ping := newRecord(leg.Beacon, 0, zeroPosition, wsframe.AppendFrame(nil, wsframe.Ping, nil))
	return &worker{g: g, loop: l, feeds: make(map[string]*feed), counts: c, pings: ping.b, policy: newPolicy(g.policy())}
}

// feed is the loop's feed of a topic, made when there is none yet.
func (w *worker) feed(name string) *feed {
	f := w.feeds[name]
	if f == nil {
		f = &feed{worker: w, told: unknown}
		w.feeds[name] = f
		s := w.g.slots[w.g.slotOf(name)]
		f.topic = s.attach(name, f)
		w.g.tails.follow(s)
	}
	return f
}

func (w *worker) drop(f *feed) {
	delete(w.feeds, f.topic.name)
	f.topic.slot.detach(f, time.Now())
}

// add takes a session in.
func (w *worker) add(s *session) {
	s.place = int32(len(w.sessions))
	w.sessions = append(w.sessions, s)
}

func (w *worker) remove(s *session) {
	last := len(w.sessions) - 1
	w.sessions[s.place] = w.sessions[last]
	w.sessions[s.place].place = s.place
	w.sessions[last] = nil
	w.sessions = w.sessions[:last]
}

// newBatches forgets the batches of the last turn.
func (w *worker) newBatches() {
	w.turn++
	for i := range w.batches {
		b := &w.batches[i]
		b.b, b.n = nil, 0
		if cap(b.buf) > keepBuffer {
			b.buf = nil
		}
	}
	if cap(w.out) > keepBuffer {
		w.out = nil
	}
}

// batch is entries, or as many of them as are worth one write, in the format of the subscription's session.
func (w *worker) batch(sub *sub, entries []*entry) *batch {
	s := sub.session
	if sub.class != nil {
		return sub.class.batch(w, entries, s.onLeg)
	}
	i := int(s.format) * 2
	if s.onLeg {
		i++
	}
	b := &w.batches[i]
	if b.n > 0 {
		return b
	}
	if len(entries) == 1 {
		b.b, b.n = entries[0].record(s.format).bytes(s.onLeg), 1
		return b
	}
	b.buf, b.n = gather(b.buf[:0], sub, entries, batchLimit)
	b.b = b.buf
	return b
}

// gather appends the records of entries to b until there are limit bytes, and returns how many it took, one
// at least.
func gather(b []byte, sub *sub, entries []*entry, limit int) ([]byte, int) {
	s := sub.session
	if sub.class != nil {
		return sub.class.gather(b, entries, limit, s.onLeg)
	}
	for i, e := range entries {
		r := e.record(s.format).bytes(s.onLeg)
		if i > 0 && len(b)+len(r) > limit {
			return b, i
		}
		b = append(b, r...)
	}
	return b, len(entries)
}
