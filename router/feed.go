package router

import (
	"bytes"
	"unique"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topiclog"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// feed is a topic in one format on one loop: a leg of the router's own, the log of what has come on it, and the sessions that are
// served from the log. They are parked: each is one descriptor and a cursor. It belongs to the loop, and to the loop's table from the
// first session that may be parked on it to the last.
//
//	gateway ── one leg ──► feed.take ──► log ──► step ──► parked sessions
type feed struct {
	w         *worker
	offered   uint64 // the offer's key
	topic     unique.Handle[string]
	key       uint32 // ring.Key of the topic
	websocket bool   // what its sessions speak; else event streams

	feedLeg

	log     topiclog.Log[*feedEntry]
	at      position.Position // everything up to here has come
	claims  int               // sessions that it has been offered to
	members []*session        // those that are parked
	firsts  int               // of them those of whose topics it is the first: a session is counted once

	// The present pass over the members, each of whom gets all that there is when its turn comes.
	next   uint64 // index up to which every member has been offered entries, or is about to be by this pass
	left   int    // members that it has not come to: those below this place
	posted bool   // a note goes on with it

	batch feedBatch // what a member was offered last: as a rule it is the same for the next one
}

// feedBatch is what the entries behind a cursor have for a client, as many as are worth one write.
type feedBatch struct {
	from, to uint64            // the cursor's index, and the one behind the entries
	upTo     position.Position // of the last one
	b        []byte
	shared   bool   // b is an entry's: it does not change
	told     uint32 // version of the backoff policy that it tells; 0 for none
	buf      []byte // for several entries
}

// feedEntry is what a record of a feed has for the clients. It is immutable.
type feedEntry struct {
	at   position.Position
	b    []byte
	told uint32 // version of the backoff policy that it tells; 0 for none
}

// feedOverhead is what an entry costs beside its bytes: the struct, its place in the log.
const feedOverhead = 80

// ID implements topiclog.Entry.
func (e *feedEntry) ID() position.ID { return e.at.ID }

// Size implements topiclog.Entry.
func (e *feedEntry) Size() int { return len(e.b) + feedOverhead }

const (
	feedSlice = 128        // members of a feed that are served before others get their turn: about 1 ms
	feedWrite = readBuffer // bytes that are offered at once
)

// feed is the loop's feed of an offer.
func (w *worker) feed(o leg.Offer, topic unique.Handle[string], websocket bool) *feed {
	f := w.feeds[o.Key]
	if f == nil {
		f = &feed{w: w, offered: o.Key, topic: topic, key: ring.Key(topic.Value()), websocket: websocket}
		f.home.ticket = bytes.Clone(o.Ticket)
		w.feeds[o.Key] = f
	}
	f.claims++
	return f
}

// release takes a claim back. A feed that nobody can be parked on is forgotten.
func (f *feed) release() {
	if f.claims--; f.claims == 0 {
		f.sayMembers()
		f.hangUp()
		f.clear(f.at.ID)
		delete(f.w.feeds, f.offered)
	}
}

// serves reports whether a session that stands at p, whose client knows of this version of the policy, can be parked now.
func (f *feed) serves(p position.Position, told uint32) bool {
	return f.live() && told == f.home.told && p.Epoch == f.at.Epoch && !p.ID.Less(f.log.Base) && !f.at.ID.Less(p.ID)
}

// unplaced is the cursor of a member whose place in the log is to be found yet.
const unplaced = 1<<64 - 1

// join makes a session one of the members. It may end it, or send it to a leg of its own.
func (f *feed) join(s *session, t *standing) {
	t.next, t.place, t.joined = unplaced, int32(len(f.members)), true
	f.members = append(f.members, s)
	f.firsts += oneIf(t == &s.home.topics[0])
	f.place(s, t)
}

// place finds a member's place in the log.
func (f *feed) place(s *session, t *standing) {
	switch {
	case !f.live():
		return // it comes when the feed does
	case t.at.Epoch == f.at.Epoch && f.at.ID.Less(t.at.ID):
		return // its gateway was ahead: the feed gets there
	case t.at.Epoch == f.at.Epoch:
		if i, ok := f.log.Seek(t.at.ID); ok {
			t.next = i
			f.catchUp(s, t)
			return
		}
	}
	s.unpark(unparkBehind)
}

// leave ends that.
func (f *feed) leave(s *session, t *standing) {
	f.firsts -= oneIf(t == &s.home.topics[0])
	last := len(f.members) - 1
	f.members[t.place] = f.members[last]
	f.members[t.place].standing(f).place = t.place
	f.members[last] = nil
	f.members = f.members[:last]
	t.joined = false
}

// take takes a record in. It reports whether to go on.
func (f *feed) take(h leg.Header, body []byte) bool {
	switch h.Kind {
	case leg.Topic:
		if h.Flags&leg.Off != 0 {
			f.end()
			return false
		}
		f.begun(h)
	case leg.Data, leg.Beacon:
		switch {
		case h.Topic == 0 && h.Position.ID.Seq != 0:
			f.tell(uint32(h.Position.ID.Seq), body)
		case h.Topic == 0:
			f.append(&feedEntry{at: f.at, b: bytes.Clone(body)})
		case h.Topic == f.num:
			f.message(h, body)
		}
	case leg.Move:
		f.lookForHome(moveDrain)
	case leg.Renew:
		f.home.ticket = bytes.Clone(body)
	case leg.Granted:
		f.granted(h, body)
	case leg.End:
		f.end()
		return false
	default:
		f.w.counts.records[recordUnknown].add(1)
	}
	return true
}

// message takes in what moves the topic's position.
func (f *feed) message(h leg.Header, body []byte) {
	f.w.counts.records[recordPosition].add(1)
	at := h.Position
	switch {
	case at.Epoch != f.at.Epoch:
		f.log.NewEpoch(at.ID)
	case h.Kind == leg.Data && !f.at.ID.Less(at.ID):
		return // a second time
	case at.ID.Less(f.at.ID):
		at = f.at
	}
	f.at = at
	f.append(&feedEntry{at: at, b: bytes.Clone(body)})
}

// tell passes on that the backoff policy has changed. An EventSource has no dice of its own: each is given its own delay.
func (f *feed) tell(version uint32, body []byte) {
	f.home.told = version
	if f.websocket {
		f.append(&feedEntry{at: f.at, b: bytes.Clone(body), told: version})
		return
	}
	for i := len(f.members) - 1; i >= 0; i-- { // backwards, because one that ends makes room for the last one
		s := f.members[i]
		s.home.told = version
		s.writeDown(retryAfter(f.w.r.policy().Steady()))
	}
}

// append adds an entry to the log, within its bounds.
func (f *feed) append(e *feedEntry) {
	f.w.grow(e.Size())
	f.log.Append(e)
	f.batch.from = unplaced // there is more now
	cfg := &f.w.r.cfg
	for f.log.Len() > 1 && (f.log.Len() > cfg.FeedEntries || f.log.Bytes > cfg.FeedBytes || f.w.r.feedBytes.Load() > int64(cfg.FeedTotalBytes)) {
		f.w.grow(-f.log.DropFirst().Size())
	}
}

// clear drops all entries and has the log begin behind base.
func (f *feed) clear(base position.ID) {
	f.w.grow(-f.log.Bytes)
	f.log.Restart(base)
	f.batch.from = unplaced
}

// grow counts bytes of the feeds' logs.
func (w *worker) grow(n int) { w.r.feedBytes.Add(int64(n)) }

// more begins a pass over the members when there is something new for them.
func (f *feed) more() {
	if !f.posted && (f.left > 0 || f.next < f.log.Next()) {
		f.posted = true
		f.w.loop.Post(f)
	}
}

// Run goes on with the present pass, or begins one, and leaves a note for the rest; on the loop.
func (f *feed) Run() {
	f.posted = false
	f.step()
	f.more()
}

// step offers a slice of the members what there is, so that a topic that many follow holds up no other.
func (f *feed) step() {
	if f.left = min(f.left, len(f.members)); f.left == 0 {
		f.next, f.left = f.log.Next(), len(f.members)
	}
	for end := max(0, f.left-feedSlice); f.left > end; {
		f.left--
		if f.left < len(f.members) { // the last ones may have ended meanwhile
			s := f.members[f.left]
			f.offer(s, s.standing(f))
		}
	}
	f.send()
}

// gather makes the batch for a cursor that is within the log.
func (f *feed) gather(from uint64) *feedBatch {
	g := &f.batch
	if g.from == from {
		return g
	}
	es := f.log.Since(from, f.log.Len())
	var n int
	g.b, n, g.told = together(g.buf[:0], es)
	if g.shared = n == 1; !g.shared {
		g.buf = g.b
	}
	g.from, g.to, g.upTo = from, from+uint64(n), es[n-1].at
	return g
}

// together is what the first n entries have for a client, as many as are worth one write: in buf, or, of one alone, where it is. told
// is the version of the backoff policy that they tell.
func together(buf []byte, es []*feedEntry) (b []byte, n int, told uint32) {
	if len(es) == 1 || len(es[0].b)+len(es[1].b) > feedWrite {
		return es[0].b, 1, es[0].told
	}
	for _, e := range es {
		if len(buf)+len(e.b) > feedWrite {
			break
		}
		buf, n, told = append(buf, e.b...), n+1, max(told, e.told)
	}
	return buf, n, told
}

// offer hands a member what it lacks, at once or with the next [feed.send].
func (f *feed) offer(s *session, t *standing) {
	switch {
	case s.has(ending):
	case t.next == unplaced:
		f.send() // it may need another batch
		f.place(s, t)
	case t.next < f.log.First:
		s.unpark(unparkBehind)
	case t.next == f.log.Next(), s.waitsDown():
	default:
		f.stage(s, t)
	}
}

// stage has a member be given a batch with the others who are where it is.
func (f *feed) stage(s *session, t *standing) {
	w := f.w
	if len(w.staged) > 0 && t.next != f.batch.from {
		f.send()
	}
	g := f.gather(t.next)
	if len(g.b) == 0 { // then nobody is staged: those who are would be for the same batch
		f.catchUp(s, t)
		return
	}
	w.staged = append(w.staged, s)
	w.sendings = append(w.sendings, eventloop.Sending{Conn: &s.client, Bytes: g.b})
}

// send writes to those who are staged.
func (f *feed) send() {
	w, g := f.w, f.batch
	if len(w.staged) == 0 {
		return
	}
	w.loop.SendAll(w.sendings)
	for i, s := range w.staged {
		if sent := &w.sendings[i]; sent.Err == nil {
			n, _ := s.told(sent.N, nil)
			f.given(s, s.standing(f), &g, n)
		}
	}
	for i, s := range w.staged { // what ends sessions comes last: it may end others of the feed, too
		switch err := w.sendings[i].Err; {
		case err != nil:
			s.told(0, err)
		case s.client.Open() && s.has(parked) && !s.has(ending):
			f.catchUp(s, s.standing(f)) // there was more than is worth one write
		}
	}
	clear(w.staged)
	clear(w.sendings)
	w.staged, w.sendings = w.staged[:0], w.sendings[:0]
}

// give writes a batch to a member.
func (f *feed) give(s *session, t *standing, g *feedBatch) {
	n := 0
	if len(g.b) > 0 {
		var ok bool
		if n, ok = s.tell(g.b); !ok {
			return
		}
	}
	f.given(s, t, g, n)
}

// given settles that a member's socket has taken n bytes of a batch.
func (f *feed) given(s *session, t *standing, g *feedBatch, n int) {
	if len(g.b) > 0 {
		s.moved = s.w.now()
	}
	t.next, t.at = g.to, g.upTo
	if g.told != 0 {
		s.home.told = g.told
	}
	if n == len(g.b) {
		return
	}
	if g.shared {
		s.keepTail(g.b[n:])
	} else {
		s.keepDown(g.b[n:])
	}
	if s.home.strict {
		s.unpark(unparkBehind)
	}
}

// catchUp hands on what the log has behind a member's cursor, until its socket is full.
func (f *feed) catchUp(s *session, t *standing) {
	for s.client.Open() && s.has(parked) && !s.has(ending) && !s.waitsDown() && t.next < f.log.Next() {
		if t.next < f.log.First {
			s.unpark(unparkBehind)
			return
		}
		f.give(s, t, f.gather(t.next))
	}
}
