package router

import (
	"sync/atomic"
	"time"
	"unique"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/leg"
)

// moveReason says why a session goes to another gateway; it is the label of ringside_router_moves_total.
type moveReason uint8

const (
	moveCrash     moveReason = iota // its leg is gone, or its gateway is silent
	moveDrain                       // its gateway has asked for it
	moveRebalance                   // the ring prefers another gateway
	moveTakeover                    // its leg is carried by a predecessor of this process, which is to end
	moveUnpark                      // it was served from a feed, and needs a leg of its own again
	moveOpen                        // of a feed: it had no gateway yet
	moveReasons
)

func (r moveReason) String() string {
	return [moveReasons]string{"crash", "drain", "rebalance", "takeover", "unpark", "open"}[r]
}

// moveOutcome says how a move ended.
type moveOutcome uint8

const (
	movedOK         moveOutcome = iota // the session goes on
	movedNot                           // no gateway took it in time
	movedSuperseded                    // it was overtaken: its leg went first
	movedLeft                          // the client, or the router, has left meanwhile
	moveOutcomes
)

func (o moveOutcome) String() string {
	return [moveOutcomes]string{"moved", "no_gateway", "superseded", "left"}[o]
}

// mobile is what can change its gateway: a session, or a feed. Its methods are called on its loop.
type mobile interface {
	// arrive takes the result of a move that nobody has made void. The descriptor, if there is one, is the mobile's.
	arrive(m *move)
}

// move is the change of one session, or feed, to another gateway. Its loop makes it and gets it back; in between it is the mover's.
//
// In its course the session is in one of three states:
//
//	          gateway asks, or the ring            a leg to another gateway stands
//	settled ────────────────────────────► moving ────────────────────────────────► settled
//	   │                                     │                                         ▲
//	   │ the leg is gone                     │ the leg is gone                         │ a leg stands
//	   └────────────────────────────────► homeless ────────────────────────────────────┘
//	                                         │ no gateway takes it in time
//	                                         ▼
//	                                      closed with 1012
//
// While it is moving the old leg goes on, and is let go of when the new one stands; while it is homeless the client waits. A session
// that is parked has its feed in place of a leg.
type move struct {
	w      *worker
	of     mobile
	key    uint32
	to     *shard // of a rebalancing: where to, and nowhere else
	ticket []byte
	told   uint32 // version of the backoff policy that the client knows
	reason moveReason
	from   *shard // not there
	began  time.Time
	until  time.Time

	void atomic.Bool // set by the session: nobody waits for the result any more

	// The mover's.
	tried []*shard      // since the last pause, in vain
	pause time.Duration // the last one
	again time.Time     // when it is over

	// The result.
	shard *shard // where the new leg goes; nil when there is none
	fd    int    // its descriptor
}

// urgent reports whether the client waits.
func (m *move) urgent() bool { return m.reason.urgent() }

func (r moveReason) urgent() bool { return r == moveCrash || r >= moveUnpark }

// movable reports whether the session can go on at another gateway.
func (s *session) movable() bool {
	if s.home == nil || s.has(ending|leaving|clientEnded|legEnded) || !s.client.Open() {
		return false
	}
	topic, half := s.upstream.strip.Half()
	return !half || topic != 0 || s.upstream.half != unique.Handle[string]{}
}

// loseLeg lets go of the leg, or of the feed that stands in for it. What the client has sent and nobody has acknowledged stays.
func (s *session) loseLeg() {
	s.leaveFeeds()
	s.sayFarewell()
	s.upstream.Close()
	s.home.count(false)
	s.lost()
	s.flags &^= upstreamEnded | upstreamDeaf | legBroken
	s.setHomeless(true)
	s.fromTheStart(nil)
}

// lookForHome begins a move, in place of one that is under way for a lesser reason.
func (s *session) lookForHome(reason moveReason) { s.home.begin(s.w, s, s.key, nil, reason) }

// moveTo is lookForHome for a shard that has been chosen already.
func (s *session) moveTo(to *shard, reason moveReason) { s.home.begin(s.w, s, s.key, to, reason) }

// begin begins a move of whose home it is, in place of one that is under way for a lesser reason. to is where it goes and nowhere
// else, if it is not nil.
func (h *home) begin(w *worker, of mobile, key uint32, to *shard, reason moveReason) {
	r := w.r
	if m := h.move; m != nil {
		if m.urgent() || !reason.urgent() {
			return
		}
		h.endMove(w, movedSuperseded)
	}
	now := r.now()
	m := &move{
		w: w, of: of, key: key, ticket: h.ticket, told: h.told, reason: reason, began: now, until: now.Add(r.cfg.RehomeWait), to: to, fd: -1,
	}
	if reason == moveDrain || reason == moveRebalance {
		m.from = h.shard
	}
	if to != nil {
		m.from.book.going.Add(1)
	}
	h.move = m
	w.counts.moving.add(1)
	r.mover.add(m)
}

// endMove ends the move that is under way, if any.
func (h *home) endMove(w *worker, outcome moveOutcome) {
	m := h.move
	if m == nil {
		return
	}
	m.void.Store(true)
	if m.to != nil {
		m.from.book.going.Add(-1)
	}
	h.move = nil
	w.counts.moving.dec()
	w.r.metrics.moves[m.reason][outcome].Add(1)
}

// leaveHome ends what there is about moving when the session ends.
func (s *session) leaveHome() {
	if s.home == nil {
		return
	}
	s.home.endMove(s.w, movedLeft)
	s.leaveFeeds()
	s.renounceAll()
	s.home.count(false)
	s.setHomeless(false)
}

// setHomeless notes whether the session has no leg.
func (s *session) setHomeless(is bool) {
	if s.has(homeless) == is {
		return
	}
	was := s.load()
	s.flags ^= homeless
	s.settle(was)
	s.w.counts.homeless.add(uint64(2*oneIf(is) - 1))
}

// Run takes the result in, on the loop of whose move it is.
func (m *move) Run() {
	if !m.void.Load() {
		m.of.arrive(m)
		return
	}
	if m.shard != nil {
		eventloop.CloseFD(m.fd)
	}
}

// succeeded notes that the move has led to a gateway, whose leg is open.
func (h *home) succeeded(w *worker, m *move) {
	h.endMove(w, movedOK)
	w.r.metrics.moveTime.Observe(w.r.now().Sub(m.began).Seconds())
	h.shard, h.ticket = m.shard, m.ticket
	h.count(true)
}

// arrive implements mobile.
func (s *session) arrive(m *move) {
	if m.shard == nil {
		s.home.endMove(s.w, movedNot)
		if s.has(homeless | parked) {
			s.goAway(closeNoGateway, s.w.r.crashDelay())
		}
		return
	}
	if !s.has(homeless) { // make before break: this far the old leg, or the feed, went on
		s.loseLeg()
	}
	if err := s.connect(m.fd, s); err != nil { // closes it
		s.home.endMove(s.w, movedSuperseded)
		s.lookForHome(moveCrash)
		return
	}
	s.setHomeless(false)
	s.home.succeeded(s.w, m)
	s.flags &^= isLegTLS
	if s.w.r.deps.LegTLS != nil {
		s.flags |= isLegTLS
	}
	s.moved = s.w.now()
	s.fromTheStart(leg.AppendResume(nil, s.resume()))
	if s.flushUp() {
		s.later(morePostedUp) // the client may have been left unread
	}
	s.later(morePostedDown)
}
