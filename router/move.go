package router

import (
	"sync/atomic"
	"time"

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
	moveReasons
)

func (r moveReason) String() string {
	return [moveReasons]string{"crash", "drain", "rebalance", "takeover"}[r]
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

// move is the change of one session to another gateway. The session's loop makes it and gets it back; in between it is the
// mover's.
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
// While it is moving the old leg goes on, and is let go of when the new one stands; while it is homeless the client waits.
type move struct {
	session *session
	key     uint32
	to      *shard // of a rebalancing: where to, and nowhere else
	ticket  []byte
	told    uint32 // version of the backoff policy that the client knows
	reason  moveReason
	from    *shard // not there
	began   time.Time
	until   time.Time

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
func (m *move) urgent() bool { return m.reason == moveCrash }

// movable reports whether the session can go on at another gateway.
func (s *session) movable() bool {
	if s.home == nil || s.has(ending|leaving|clientEnded|legEnded) || !s.client.Open() {
		return false
	}
	topic, half := s.strip.Half()
	return !half || topic != 0 || s.home.half.Value() != ""
}

// loseLeg lets go of the leg. What the client has sent and nobody has acknowledged stays.
func (s *session) loseLeg() {
	s.sayFarewell()
	s.upstream.Close()
	s.home.count(false)
	s.home.lost(s.strip.Half())
	s.strip.NextLeg()
	s.flags &^= upstreamEnded | upstreamDeaf | legBroken
	s.setHomeless(true)
	s.fromTheStart(nil)
}

// lookForHome begins a move, in place of one that is under way for a lesser reason.
func (s *session) lookForHome(reason moveReason) { s.moveTo(nil, reason) }

// moveTo is lookForHome for a shard that has been chosen already, if to is not nil.
func (s *session) moveTo(to *shard, reason moveReason) {
	r := s.w.r
	if m := s.home.move; m != nil {
		if !m.urgent() && reason != moveCrash {
			return
		}
		s.endMove(movedSuperseded)
	}
	now := r.now()
	m := &move{
		session: s, key: s.key, ticket: s.home.ticket, told: s.home.told, reason: reason, began: now, until: now.Add(r.cfg.RehomeWait), to: to, fd: -1,
	}
	if reason == moveDrain || reason == moveRebalance {
		m.from = s.home.shard
	}
	if to != nil {
		m.from.book.going.Add(1)
	}
	s.home.move = m
	s.w.counts.moving.add(1)
	r.mover.add(m)
}

// endMove ends the move that is under way, if any.
func (s *session) endMove(outcome moveOutcome) {
	m := s.home.move
	if m == nil {
		return
	}
	m.void.Store(true)
	if m.to != nil {
		m.from.book.going.Add(-1)
	}
	s.home.move = nil
	s.w.counts.moving.sub(1)
	s.w.r.metrics.moves[m.reason][outcome].Add(1)
}

// leaveHome ends what there is about moving when the session ends.
func (s *session) leaveHome() {
	if s.home == nil {
		return
	}
	s.endMove(movedLeft)
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

// Run takes the result in, on the session's loop.
func (m *move) Run() {
	s, r := m.session, m.session.w.r
	if m.void.Load() {
		if m.shard != nil {
			eventloop.CloseFD(m.fd)
		}
		return
	}
	if m.shard == nil {
		s.endMove(movedNot)
		if s.has(homeless) {
			s.goAway(closeNoGateway, r.crashDelay())
		}
		return
	}
	if !s.has(homeless) { // make before break: this far the old leg went on
		s.loseLeg()
	}
	if err := s.w.loop.Add(&s.upstream, m.fd, s); err != nil { // closes it
		s.lookForHome(moveCrash)
		return
	}
	s.endMove(movedOK)
	r.metrics.moveTime.Observe(r.now().Sub(m.began).Seconds())
	s.setHomeless(false)
	s.home.shard, s.home.ticket = m.shard, m.ticket
	s.home.count(true)
	s.flags &^= isLegTLS
	if s.w.r.deps.LegTLS != nil {
		s.flags |= isLegTLS
	}
	s.moved = s.w.now()
	s.fromTheStart(leg.AppendResume(nil, s.home.resume()))
	if s.flushUp() {
		s.later(morePostedUp) // the client may have been left unread
	}
	s.later(morePostedDown)
}
