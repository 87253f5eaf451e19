package gateway

import (
	"bytes"
	"errors"
	"io"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/fault"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

var zeroPosition position.Position

// session is one client's connection, or a router's leg for it. It lives on its loop and has no queue: what
// it has not been given yet stands in the logs, behind its cursors. Only the rest of a message that the
// socket took in part, and a few answers, ever wait in it.
type session struct {
	conn   eventloop.Conn
	worker *worker
	id     uint64
	reader wsframe.Reader

	access *access // nil for those of open topics
	cable  *cable  // nil for those that don't speak Action Cable
	share  *share  // of a feed; else nil

	tail []byte // rest of a shared record, read only
	out  []byte // answers that wait behind it, the session's own

	topic      sub     // of the connect URL
	more       []*sub  // subscribed by message
	resume     *resume // what comes before the session goes on; nil as a rule
	acked      uint64  // on a leg: bytes of the client's that the router knows to be done with
	place      int32   // in worker.sessions
	format     format
	onLeg      bool
	takesFeeds bool                   // its router takes offers of feeds for it
	wasParked  bool                   // its router has said that it serves it from a feed
	parting    [leg.FarewellSize]byte // how it says so
	full       bool                   // the socket takes no more; Writable follows
	closing    bool                   // the last bytes are on their way
	reading    bool                   // a note reads on
	viewers    bool                   // its client wants to know how many follow its topics
	reason     closeReason            // closing: why
	allowance  allowance              // of what its client may send
	policy     uint32                 // version of the backoff policy that the client knows; 0: none
	nextBeat   int64                  // loop time, ms
	since      int64                  // full: when it last took something; closing: when it ends at the latest
	goBy       int64                  // told to go elsewhere: when it must have gone; else 0
	offered    int64                  // offered to other gateways: when; else 0
}

// closeGrace is how long a session that was told to go may take to do so, in ms.
const closeGrace = 5000

// arrival is a session on its way from the handshake to its loop.
type arrival struct {
	session *session
	fd      int
	topic   string
	since   position.Position
	resumed bool
	goesOn  bool     // it comes from another gateway: where it stands follows
	refused *refusal // it is begun only to be told why it is not
	head    []byte   // to be sent first, outside of any record
	early   []byte   // what the client sent together with its handshake
}

// Run takes the session in; on the loop.
func (a *arrival) Run() {
	s, w := a.session, a.session.worker
	if err := w.loop.Add(&s.conn, a.fd, s); err != nil {
		w.g.release()
		w.g.log.Warn("cannot take a session", zap.Error(err))
		return
	}
	w.add(s)
	if s.share != nil {
		w.counts.feeds.Add(1)
	}
	s.since = w.loop.Now()
	s.allowance = w.g.cfg.newAllowance(a.goesOn)
	s.nextBeat = s.since + w.g.cfg.Heartbeat.Milliseconds()
	w.cork(s)
	defer w.uncork(s)
	if len(a.head) > 0 {
		s.control(a.head)
	}
	if a.refused != nil {
		s.turnAway(closeRefused, a.refused)
		return
	}
	switch {
	case a.goesOn:
		w.g.metrics.goneOn[s.format].Add(1)
		s.resume = &resume{topic: a.topic, since: a.since, resumed: a.resumed}
	case s.cable != nil:
		w.g.metrics.opened[s.format].Add(1)
		s.beginCable()
	default:
		w.g.metrics.opened[s.format].Add(1)
		s.topic.first, s.topic.late = true, a.resumed
		s.subscribe(&s.topic, a.topic, a.since, a.resumed)
	}
	if len(a.early) > 0 && s.conn.Open() {
		s.received(a.early)
	}
}

func (s *session) subscribe(sub *sub, topic string, since position.Position, resumed bool) {
	sub.session, sub.last, sub.resumed = s, since, resumed
	sub.since = s.worker.loop.Now()
	s.worker.feed(topic).add(sub)
	if s.cable != nil {
		sub.reclass()
	}
	sub.advance()
	if sub.state == subWaiting && s.conn.Open() {
		sub.tell(since) // should we be gone before there is an answer, the next gateway gives it
	}
}

// subs calls f for every subscription that there is.
func (s *session) subs(f func(*sub)) {
	if s.topic.feed != nil {
		f(&s.topic)
	}
	for _, sub := range s.more {
		if sub.feed != nil { // a call of f may have closed the session
			f(sub)
		}
	}
}

// blocked reports that nothing of a log may be written now.
func (s *session) blocked() bool { return s.full || s.closing || !s.conn.Open() }

// Ready implements eventloop.Handler.
func (s *session) Ready(_ *eventloop.Conn, ev eventloop.Event) {
	if ev&eventloop.Writable != 0 && s.full {
		s.flush()
	}
	if ev&eventloop.Readable == 0 {
		return
	}
	s.read()
}

// turn is how many reads a session has before others have theirs.
const turn = 8

// read takes what the client has sent, as much as is one session's turn.
func (s *session) read() {
	buf := s.worker.loop.Scratch()
	for range turn {
		if !s.conn.Open() || s.reading {
			return
		}
		n, drained, err := s.conn.Read(buf)
		if n > 0 {
			s.received(buf[:n])
		}
		switch {
		case errors.Is(err, eventloop.ErrAgain):
			return
		case errors.Is(err, io.EOF):
			s.close(closeClient)
		case err != nil:
			s.close(closeError)
		case drained:
			return
		}
	}
	if s.conn.Open() {
		s.reading = true
		s.worker.loop.Post((*more)(s))
	}
}

// more is a session that reads on after others have had their turn.
type more session

// Run implements eventloop.Note.
func (m *more) Run() {
	s := (*session)(m)
	s.reading = false
	s.read()
}

// received handles what the client has sent.
func (s *session) received(p []byte) {
	s.worker.counts.bytesIn.Add(uint64(len(p)))
	switch {
	case s.takesFeeds && bytes.HasSuffix(p, s.parting[:]): // what comes in two pieces counts as the client's end
		s.wasParked = true
	case s.access != nil && s.access.owes && s.access.leftBy(p): // what stands before that is done by the next gateway
	case s.closing:
	case s.resume != nil:
		s.resuming(p)
	case s.share != nil:
		s.represent(p)
	case s.format == formatSSE:
		s.unasked(p)
	default:
		s.frames(p)
	}
}

// frames handles what the client has sent, and tells the router that it need not keep it.
func (s *session) frames(p []byte) {
	err := s.reader.Feed(p, wsframe.Limits{MaxMessage: s.worker.g.cfg.MaxFrame}, s)
	var bad *wsframe.ProtocolError
	if errors.As(err, &bad) && !s.closing {
		s.worker.g.metrics.badFrame(bad.Reason)
		s.finishWith(closeProtocol, bad.Code, bad.Reason)
	}
	if s.onLeg && s.acked != s.consumed() {
		s.sendControl(nil)
	}
}

// staged is a subscription that is about to be given a batch, with others.
type staged struct {
	sub   *sub
	batch *batch
}

// stage has a session that has kept up be given the entries of the present pass by [worker.send], in one write. It reports whether it will be.
func (w *worker) stage(sub *sub) bool {
	s := sub.session
	if fault.Enabled && s.wrong(sub, w.entries[0]) {
		return false
	}
	w.uncork(s)
	b := w.batch(sub, w.entries)
	w.staged = append(w.staged, staged{sub, b})
	w.sendings = append(w.sendings, eventloop.Sending{Conn: &s.conn, Bytes: b.b})
	return true
}

// send writes to those who are staged.
func (w *worker) send() {
	w.loop.SendAll(w.sendings)
	for i, st := range w.staged {
		s, sent := st.sub.session, &w.sendings[i]
		s.given(st.sub, st.batch, sent.N, sent.Err)
		s.goOn() // it may have waited for just this
	}
	clear(w.staged)
	clear(w.sendings)
	w.staged, w.sendings = w.staged[:0], w.sendings[:0]
}

// given settles what a session's socket has taken of a batch of the present pass.
func (s *session) given(sub *sub, b *batch, n int, err error) {
	entries := s.worker.entries
	switch {
	case err != nil:
		s.close(closeError)
	case n == len(b.b):
		sub.next += uint64(b.n)
		sub.last = entries[b.n-1].at
		s.sent(b.n, n)
		if b.n < len(entries) {
			s.catchUp(sub)
		}
	default:
		sub.next += uint64(s.partly(sub, entries[:b.n], n))
	}
}

// wrong does something wrong on purpose, and reports whether the messages are to be passed over.
func (s *session) wrong(sub *sub, e *entry) bool {
	if fault.Hit(fault.Repeat, 2000) {
		s.control(sub.bytes(e))
	}
	if fault.Hit(fault.Drop, 10000) {
		sub.next++
		sub.last = e.at
		return true
	}
	return false
}

// catchUp hands on what the log has behind the cursor, until the socket is full.
func (s *session) catchUp(sub *sub) {
	w, t := s.worker, sub.feed.topic
	for !s.blocked() {
		t.slot.mu.Lock()
		log := &t.log
		if sub.next < log.EpochAt && t.slot.at.Epoch == sub.last.Epoch {
			// The tail was started anew, further on in the same epoch: the stream has what lies between.
			t.slot.mu.Unlock()
			sub.state, sub.resumed, sub.since = subReplay, true, w.loop.Now()
			sub.advance()
			return
		}
		if sub.next < log.First && log.latest != nil && sub.next >= log.EpochAt && sub.halfWay() {
			t.slot.mu.Unlock()
			sub.state, sub.resumed, sub.since = subReplay, true, w.loop.Now() // the stream has it
			sub.advance()
			return
		}
		if sub.next >= log.EpochAt && log.latest != nil && (sub.late || sub.next < log.First) && sub.skips() {
			es, end, lost := log.latestSince(w.more[:0], sub.next, fanOutBatch)
			at := position.Position{Epoch: t.slot.at.Epoch, ID: lost.id}
			w.more = es
			t.slot.mu.Unlock()
			switch {
			case lost.next > 0:
				sub.next = lost.next
				sub.gap(gapSlow, sub.last, at)
			case len(es) == 0:
				sub.next, sub.late = end, false
				return
			default:
				s.skipTo(sub, es, end)
				clear(es)
			}
			continue
		}
		if sub.next < log.First {
			reason := gapSlow
			if sub.next < log.EpochAt {
				reason = gapEpoch
			}
			at := position.Position{Epoch: t.slot.at.Epoch, ID: log.Base}
			sub.next = log.First
			t.slot.mu.Unlock()
			if reason == gapSlow && sub.tooSlow() {
				return
			}
			sub.gap(reason, sub.last, at)
			continue
		}
		w.more = append(w.more[:0], log.Since(sub.next, fanOutBatch)...)
		t.slot.mu.Unlock()
		if len(w.more) == 0 {
			return
		}
		sub.next += uint64(s.push(sub, w.more))
		clear(w.more)
	}
}

// push hands entries to the socket until it is full and returns how many it took, one taken in part included.
func (s *session) push(sub *sub, entries []*entry) (taken int) {
	w := s.worker
	w.uncork(s)
	for taken < len(entries) && !s.blocked() {
		var n int
		w.out, n = gather(w.out[:0], sub, entries[taken:], writeChunk)
		m, err := s.conn.Write(w.out)
		if err != nil {
			s.close(closeError)
			return taken
		}
		if m < len(w.out) {
			return taken + s.partly(sub, entries[taken:taken+n], m)
		}
		taken += n
		sub.last = entries[taken-1].at
		s.sent(n, m)
	}
	return taken
}

// partly settles a write that the socket took only n bytes of: the rest of the entry that was cut becomes the
// session's tail. It returns how many entries are the session's now.
func (s *session) partly(sub *sub, entries []*entry, n int) (taken int) {
	s.worker.counts.bytesOut.Add(uint64(n))
	s.setFull()
	for _, e := range entries {
		if n == 0 {
			break
		}
		taken++
		sub.last = e.at
		size := sub.size(e)
		if n < size {
			s.tail = sub.bytes(e)[n:]
			break
		}
		n -= size
	}
	s.sent(taken, 0)
	return taken
}

func (s *session) setFull() {
	if !s.full {
		s.full, s.since = true, s.worker.loop.Now()
		s.worker.counts.full.Add(1)
	}
}

// sendControl sends bytes for the client that belong to no position. To a router they say as well what of the client's
// is done with. A session that lets too much of it wait is closed.
func (s *session) sendControl(body []byte) {
	if s.onLeg && s.conn.Open() && !s.closing {
		s.acked = s.consumed()
		body = newRecord(leg.Data, 0, leg.Acknowledge(s.acked), body).b
	}
	if s.full && len(s.out)+len(body) > s.worker.g.cfg.MaxControl {
		s.finishWith(closeControl, codePolicy, "too many answers were not read")
		return
	}
	s.control(body)
}

// control sends b, which is for the socket as it is, behind whatever waits already.
func (s *session) control(b []byte) {
	if !s.conn.Open() || s.closing || len(b) == 0 {
		return
	}
	switch {
	case s.full:
		s.out = append(s.out, b...)
		return
	case s.worker.corked == s:
		s.worker.held = append(s.worker.held, b...)
		return
	}
	n, err := s.conn.Write(b)
	s.worker.counts.bytesOut.Add(uint64(max(n, 0)))
	if err != nil {
		s.close(closeError)
		return
	}
	if n < len(b) {
		s.out = append(s.out, b[n:]...)
		s.setFull()
	}
}

// cork holds what the session is told at its beginning, the answer's head and all behind it, so that it leaves in one write.
func (w *worker) cork(s *session) { w.corked, w.held = s, w.held[:0] }

// uncork writes what cork has held of the session's; nothing when the session is not corked.
func (w *worker) uncork(s *session) {
	if w.corked != s {
		return
	}
	w.corked = nil
	s.control(w.held)
	if cap(w.held) > keepBuffer {
		w.held = nil
	}
}

// flush goes on where the socket was full.
func (s *session) flush() {
	if !s.flushed(&s.tail) || !s.flushed(&s.out) {
		return
	}
	s.tail, s.out = nil, nil
	s.full = false
	if s.closing {
		s.ended()
		return
	}
	s.worker.counts.full.Add(^uint64(0))
	s.subs(func(sub *sub) { sub.late, sub.since = true, s.worker.loop.Now() }) // its wait, for the stream, was for the client so far
	s.tellPolicy()
	s.subs((*sub).catchViewers)
	s.subs((*sub).advance)
}

// flushed writes *b and reports whether all of it is gone.
func (s *session) flushed(b *[]byte) bool {
	if len(*b) == 0 {
		return true
	}
	n, err := s.conn.Write(*b)
	if err != nil {
		s.close(closeError)
		return false
	}
	if n > 0 {
		s.worker.counts.bytesOut.Add(uint64(n))
		*b = (*b)[n:]
		if !s.closing {
			s.since = s.worker.loop.Now()
		}
	}
	return len(*b) == 0
}

// Sweep implements eventloop.Handler: time-outs and heartbeats.
func (s *session) Sweep(_ *eventloop.Conn, now int64) {
	cfg := &s.worker.g.cfg
	switch {
	case s.conn.Gone(now, cfg.AckTimeout):
		s.close(closeGone)
		return
	case s.closing:
		if now >= s.since {
			s.close(closeGraceOver)
		}
		return
	case s.expired():
		return
	case s.goBy > 0 && now >= s.goBy:
		s.close(closeDrain) // the router, or its clients, must see on their own
		return
	case s.full:
		if now-s.since > cfg.WriteTimeout.Milliseconds() {
			s.close(closeWriteTimeout)
		}
		return
	}
	if s.resume != nil && !s.resume.block && now-s.since > cfg.HandshakeTimeout.Milliseconds() {
		s.close(closeResume)
		return
	}
	if s.resume != nil && s.resume.first != nil && now-s.resume.first.since > cfg.ReplayTimeout.Milliseconds() && !s.resume.first.excused() {
		s.finish(closeNoReplay, s.worker.g.policy().Over(backoff.Widest)) // the message that its client has a part of does not come
		return
	}
	if s.worker.telling == 0 { // else its turn comes
		s.tellPolicy()
	}
	s.sweepCable(now)
	beat := now >= s.nextBeat && s.resume == nil
	if beat {
		s.nextBeat = now + cfg.Heartbeat.Milliseconds()
	}
	told := false
	s.subs(func(sub *sub) {
		if sub.state != subLive {
			sub.advance()
		}
		if beat && sub.greeted && !s.blocked() {
			sub.beat()
			told = true
		}
		if sub.state != subLive && !s.blocked() && now-sub.since > cfg.ReplayTimeout.Milliseconds() && !sub.excused() {
			s.finish(closeNoReplay, s.worker.g.policy().Over(backoff.Widest))
		}
	})
	if beat && !told && s.format != formatSSE && s.cable == nil && !s.blocked() {
		s.ping()
	}
}

func (s *session) ping() {
	if s.onLeg {
		s.control(s.worker.pings)
		return
	}
	s.control(s.worker.pings[leg.HeaderSize:])
}

// beat sends the subscription's heartbeat.
func (s *sub) beat() {
	ses := s.session
	var r *record
	if s.state == subLive {
		if rec, at, ok := s.feed.heartbeat(s.next, ses.format); ok {
			r, s.last = rec, at
		}
	}
	if r == nil && s.timed() {
		return
	}
	if r == nil {
		t := s.feed.topic
		r = newRecord(leg.Beacon, t.num, s.last, encodeHeartbeat(ses.format, t, s.last, t.slot.freshnessAt(s.last)))
	}
	ses.worker.counts.heartbeats.Add(1)
	ses.control(r.bytes(ses.onLeg))
}
