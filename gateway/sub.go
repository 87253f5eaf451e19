package gateway

import (
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// subState is where a subscription stands between its request and the live log.
type subState uint8

const (
	subWaiting subState = iota // for the slot's tail to start, or to reach the client's position
	subReplay                  // for, or in, a page read from the stream
	subLive                    // in the log
)

// sub is one session's subscription to one topic: a cursor. It belongs to the session's loop.
type sub struct {
	session *session
	feed    *feed
	next    uint64            // live: index of the next entry in the log
	last    position.Position // everything up to here has been handed to the session
	since   int64             // waiting or replaying: since when, by the loop's clock
	place   int32             // in feed.subs
	state   subState
	resumed bool // the client brought a position
	told    bool // the router knows about it
	greeted bool // the client knows that it is subscribed
	late    bool // it is behind: its session's socket was full, or its client comes back
	first   bool // the topic of the connect URL: it is greeted by the welcome
	offered bool // its router has been offered a feed

	viewer  int32 // one more than its place in feed.viewers; 0 when its client did not ask how many follow the topic
	viewers int32 // what it was told last; unknown before

	// Of Action Cable.
	class   *class   // by what its client calls it
	history *history // on its way back to where its client was; nil as a rule
}

func (s *sub) is(o *sub) bool { return s == o }

// advance brings a subscription that is not live nearer to it. It may close the session, and any step of it may, after which there
// is no feed any more.
func (s *sub) advance() {
	if s.session.blocked() {
		return
	}
	if s.state == subWaiting {
		s.start()
	}
	if s.state == subReplay && !s.session.blocked() {
		s.replayPage()
	}
	if s.state == subLive && !s.session.blocked() {
		s.session.catchUp(s)
	}
	s.session.historyDone(s)
	s.session.goOn()
	s.offerFeed()
}

// start places the cursor where the client left off, or at the end of the log.
func (s *sub) start() {
	t, after := s.feed.topic, s.last
	t.slot.mu.Lock()
	warm, at := t.slot.warm, t.slot.at
	if warm && s.history != nil {
		s.stand(at)
	}
	begin := position.Position{Epoch: at.Epoch, ID: t.slot.begin}
	other := s.resumed && s.last.Epoch != at.Epoch
	// Another gateway may be ahead of this one's tail, also in an epoch of which this one is to hear yet.
	ahead := s.resumed && at.ID.Less(s.last.ID) && !other || other && begin.ID.Less(s.last.ID)
	lost := ahead && s.unheardOf() || other && !ahead
	var idx uint64
	var inLog bool
	switch {
	case !warm:
	case !s.resumed:
		idx, inLog = t.log.Next(), true
	case lost && !other:
		idx, inLog, begin = t.log.Next(), true, at
	case lost:
		idx, inLog = t.log.Seek(begin.ID)
	case !ahead:
		idx, inLog = t.log.Seek(s.last.ID)
	}
	t.slot.mu.Unlock()
	if !warm {
		return
	}
	if !s.resumed {
		after, s.last = at, at
	}
	if s.tell(after); s.session.conn.Open() {
		s.greet(after)
	}
	if !s.session.conn.Open() {
		return
	}
	if lost {
		s.gap(gapEpoch, after, begin)
	}
	switch {
	case ahead && !lost: // the tail will get there
	case inLog:
		if s.resumed {
			s.session.worker.g.metrics.replays[replayMemory].Add(1)
		}
		s.live(idx)
	default:
		s.session.worker.g.metrics.replays[replayStream].Add(1)
		s.state = subReplay
	}
}

// unheardOf reports whether a position that is ahead of the tail can't be got to any more: the tail has come to what was added when
// the client had the position already. Then it belongs to data that Redis has lost. The caller holds the slot's mu.
func (s *sub) unheardOf() bool {
	slot := s.feed.topic.slot
	if !slot.warm {
		return false
	}
	since := s.session.worker.loop.Now() - s.since - slot.g.unheardMargin
	read := slot.g.tailer.Now(slot.n)/1000 - int64(slot.at.ID.Ms)
	return since > slot.g.unheardMargin && time.Since(slot.seen).Milliseconds() < since && read < since
}

// unheardMargin is what clocks and gateways may differ by, ms.
const unheardMargin = 1000

// excused reports whether it is known that Redis keeps the subscription waiting: its client is told that it is stale.
func (s *sub) excused() bool {
	if s.feed == nil {
		return false
	}
	slot := s.feed.topic.slot
	return slot.stale.Load() || slot.g.stream.Ready() != nil
}

func (s *sub) live(next uint64) {
	s.next, s.state = next, subLive
}

// tell tells the router, once, that the session follows the topic, and where the client stands in it.
func (s *sub) tell(at position.Position) {
	if s.told || !s.session.onLeg {
		return
	}
	s.told = true
	h := leg.Header{Kind: leg.Topic, Topic: s.feed.topic.num, Position: at}
	if !s.greeted {
		h.Flags = leg.Asked
	}
	if s.session.share != nil && s.session.cable == nil && s.session.worker.g.demands(s.feed.topic.name) == 0 { // else somebody is asked, who may take his time
		h.Flags |= leg.TakesAsks
	}
	s.session.control(leg.AppendRecord(nil, h, s.feed.topic.name))
}

// greet tells the client, once, that it is subscribed. at is what the client has: what lies between it and where the
// session goes on it is about to be told of.
func (s *sub) greet(at position.Position) {
	if s.greeted {
		return
	}
	s.greeted = true
	ses := s.session
	r := newRecord(leg.Data, s.feed.topic.num, at, encodeGreeting(ses, s))
	if s.first {
		ses.policy = ses.worker.policy.version
	}
	ses.control(r.bytes(ses.onLeg))
	if ses.cable != nil && ses.conn.Open() {
		ses.confirm()
	}
	s.beginViewers()
}

// gap tells the client that what lies between after and at can't be had any more.
func (s *sub) gap(reason gapReason, after, at position.Position) {
	s.session.worker.g.metrics.gaps[reason].Add(1)
	s.last = at
	r := newRecord(leg.Beacon, s.feed.topic.num, at, encodeGap(s.session.format, s.feed.topic, reason, after, at))
	s.session.control(r.bytes(s.session.onLeg))
	if s.session.cable != nil && s.session.conn.Open() {
		s.session.historyLost(s.feed.topic.name)
	}
}

// bytes are an entry as the session's socket gets it.
func (s *sub) bytes(e *entry) []byte {
	if s.class != nil {
		return s.class.record(e).bytes(s.session.onLeg)
	}
	return e.record(s.session.format).bytes(s.session.onLeg)
}

// size is how many bytes that are.
func (s *sub) size(e *entry) int {
	if s.class == nil {
		return len(s.bytes(e))
	}
	n := s.class.size(e.record(s.class.format).b[leg.HeaderSize:])
	if s.session.onLeg {
		n += leg.HeaderSize
	}
	return n
}

// gapReason says why a gap could not be closed.
type gapReason uint8

const (
	gapTrimmed gapReason = iota // the stream does not reach back that far
	gapEpoch                    // Redis has lost data: the position belongs to another life of the stream
	gapSlow                     // the session fell off the log's tail
	gapReasons
)

func (r gapReason) String() string {
	return [gapReasons]string{"trimmed", "epoch", "slow"}[r]
}
