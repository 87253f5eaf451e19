package router

import (
	"unique"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/leg"
)

// session is a client's connection and an upstream's, spliced. Idle, it is this struct, its uplink, its home, and two descriptors: no
// goroutine, no buffer. Parked, it has no uplink. A test holds its size. Everything in it belongs to its worker's loop.
type session struct {
	client   eventloop.Conn
	upstream *uplink // never nil
	w        *worker
	waiting  *waiting // what a full socket did not take; nil as a rule
	home     *home    // of a leg: what it takes to go on elsewhere

	moved ticks // when something was last read or written
	since ticks // ending: since when there is nothing left but the client's own end

	place  int32 // in worker.sessions
	flags  flags
	key    uint32      // stands for its topic: ring.Key
	talk   uint16      // of an event stream: bytes that its client has sent, who has nothing to say
	reason closeReason // once ending
}

// uplink is a session's connection to its upstream, and how far what has come on it is understood.
type uplink struct {
	eventloop.Conn
	strip  leg.Stripper // of a leg
	frames frames       // of a raw WebSocket upstream
	acked  uint64       // bytes of the client's that the gateway has acknowledged on this leg

	half unique.Handle[string] // the topic of a message that is half way to the client, once its leg is gone
}

// noUplink is that of all sessions that have none yet, or are parked: closed, and nobody changes it.
var noUplink = &uplink{}

func newSession(w *worker) *session { return &session{w: w, upstream: noUplink} }

// connect has the loop watch fd as the session's upstream, of which h hears. When it fails fd is closed.
func (s *session) connect(fd int, h eventloop.Handler) error {
	if s.upstream == noUplink {
		s.upstream = &uplink{}
	}
	return s.w.loop.Add(&s.upstream.Conn, fd, h)
}

// flags are what kind of session it is, and how far it has come.
type flags uint32

const (
	isWebSocket flags = 1 << iota // else an event stream
	isLeg                         // else a raw upstream

	clientEnded   // the client sends nothing any more
	upstreamEnded // the upstream sends nothing any more
	upstreamDeaf  // the upstream takes nothing any more: what the client sends is dropped
	legEnded      // an End record has come
	leaving       // to be sent away at the next message boundary
	ending        // the upstream is done with; what waits for the client and then the end are left

	homeless  // the leg is gone, and another gateway is being looked for
	legBroken // the gateway has acknowledged what it was not sent

	isChunked // a raw event stream in HTTP chunks
	isOpaque  // a raw event stream into which nothing can be put: its length is told, or it is compressed

	morePostedDown // a note goes on reading from the upstream, or from the client
	morePostedUp

	isTLS    // the client's descriptor is a bridge's other end
	isLegTLS // the leg's is

	parked // it is served from feeds, and has no leg
)

func flagsOf(hs *handshake, up *upstream) (f flags) {
	if hs.websocket {
		f |= isWebSocket
	}
	if up.answer.leg {
		f |= isLeg
	}
	if up.answer.chunked {
		f |= isChunked
	}
	if up.answer.opaque {
		f |= isOpaque
	}
	return f
}

func (s *session) has(f flags) bool { return s.flags&f != 0 }

// ticks are times of a loop in units of 1/8 s or so, which fit in half the space: they count for 17 years.
type ticks uint32

func ticksOf(ms int64) ticks { return ticks(ms >> 7) }

// arrival is a session on its way to its loop.
type arrival struct {
	session          *session
	client, upstream int    // descriptors; upstream is -1 where the session has it already
	call             *call  // then: who has asked for it
	first            []byte // the answer's head, and behind it what else the upstream has sent
	head             int    // length of the head
	early            []byte // what the client has sent behind its handshake
}

// Run begins the session.
func (a *arrival) Run() {
	s := a.session
	w := s.w
	if err := w.loop.Add(&s.client, a.client, s); err != nil {
		s.leaveHome()
		if a.call != nil {
			s.upstream.Close()
		} else {
			eventloop.CloseFD(a.upstream)
		}
		w.r.release()
		w.r.metrics.closed[closeSetup].Add(1)
		return
	}
	a.begin()
}

// begin begins the session of a client that the loop has.
func (a *arrival) begin() {
	s := a.session
	w := s.w
	w.add(s)
	s.moved = w.now()
	if s.home != nil {
		s.home.spoke = s.moved
	}
	if a.call != nil {
		s.upstream.Handle(s)
	} else if err := s.connect(a.upstream, s); err != nil {
		s.close(closeSetup)
		return
	}
	w.counts.opened[s.kind()].add(1)
	// Head and first bytes leave in one write.
	s.hand(a.first[:a.head], a.first[a.head:])
	if len(a.early) > 0 && s.client.Open() && !s.has(ending) {
		s.handUp(a.early)
	}
	if a.call != nil && a.call.more && s.upstream.Open() { // its event has been
		s.pumpDown()
	}
}

// kind is an index for the counts: WebSocket or event stream, leg or raw.
func (s *session) kind() flags { return s.flags & (isWebSocket | isLeg) }

// Ready implements eventloop.Handler.
func (s *session) Ready(c *eventloop.Conn, ev eventloop.Event) {
	if c == &s.client {
		if ev&eventloop.Writable != 0 && s.waitsDown() && s.flushDown() {
			s.goOnDown()
		}
		if ev&eventloop.Readable != 0 {
			s.pumpUp()
		}
		return
	}
	if ev&eventloop.Writable != 0 && s.waitsUp() && s.flushUp() {
		s.pumpUp()
	}
	if ev&eventloop.Readable != 0 {
		s.pumpDown()
	}
}

// Sweep implements eventloop.Handler: it looks after the time-outs.
func (s *session) Sweep(c *eventloop.Conn, now int64) {
	gone := c.Gone(now, s.w.r.cfg.AckTimeout)
	switch {
	case gone && c == &s.client:
		s.close(closeGone)
		return
	case gone:
		s.upstreamGone(closeUpstreamTimeout)
		return
	case c != &s.client:
		return
	}
	t, w := ticksOf(now), s.w
	switch {
	case s.waitsDown() && t-s.waiting.downSince > w.writeTimeout:
		s.close(closeWriteTimeout)
	case w.outlived(s, t):
		s.leave()
	case s.has(homeless): // the mover looks after it
	case s.waitsUp() && t-s.waiting.upSince > w.writeTimeout:
		s.stuckUp()
	case s.has(ending) && !s.waitsDown() && t-s.since > w.grace:
		s.close(s.reason)
	case !s.has(ending) && t-s.moved > w.idleTimeout:
		s.upstreamGone(closeIdle)
	case s.has(parked) && !s.has(ending):
		s.mindParked(t)
	default:
		s.mayPark(t)
	}
}
