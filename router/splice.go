package router

import (
	"errors"
	"io"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
)

const (
	// readBuffer is what one read takes at most, and so what can be left over when the other side's socket is full.
	readBuffer = 16 << 10
	// turn is how many reads a session has before others have theirs.
	turn = 8
)

// pumpDown hands on what the upstream has sent, until there is nothing more or the client's socket is full.
func (s *session) pumpDown() {
	for range turn {
		if !s.upstream.Open() || s.has(upstreamEnded|morePostedDown) || s.waitsDown() {
			return
		}
		held := 0
		buf := s.w.loop.Scratch()
		if s.waiting != nil {
			held = copy(buf, s.waiting.held)
		}
		n, drained, err := s.upstream.Read(buf[held : held+s.w.read])
		switch {
		case n > 0:
			s.moved = s.w.now()
			if !s.hand(nil, buf[:held+n]) || drained {
				return
			}
		case errors.Is(err, eventloop.ErrAgain):
			return
		case errors.Is(err, io.EOF):
			s.upstreamEOF()
			return
		default:
			s.upstreamGone(closeUpstreamError)
			return
		}
	}
	s.later(morePostedDown)
}

// goOnDown goes on where the client's socket was full.
func (s *session) goOnDown() {
	if s.has(parked) {
		s.catchUp()
		return
	}
	s.pumpDown()
}

// pumpUp hands on what the client has sent, likewise. When the upstream is done with, it only waits for the client's end.
func (s *session) pumpUp() {
	for range turn {
		if !s.client.Open() || s.has(clientEnded|morePostedUp) || s.waitsUp() {
			return
		}
		buf := s.w.buffer()
		n, drained, err := s.client.Read(buf)
		switch {
		case n > 0:
			s.moved = s.w.now()
			if !s.handUp(buf[:n]) || drained {
				return
			}
		case errors.Is(err, eventloop.ErrAgain):
			return
		case errors.Is(err, io.EOF):
			s.clientEOF()
			return
		default:
			s.close(closeClientError)
			return
		}
	}
	s.later(morePostedUp)
}

// moreDown and moreUp are a session that goes on after others have had their turn.
type (
	moreDown session
	moreUp   session
)

// later goes on with a direction, morePostedDown or morePostedUp, after others have had their turn.
func (s *session) later(direction flags) {
	switch {
	case s.has(direction):
	case direction == morePostedDown:
		s.flags |= direction
		s.w.loop.Post((*moreDown)(s))
	default:
		s.flags |= direction
		s.w.loop.Post((*moreUp)(s))
	}
}

// Run implements eventloop.Note.
func (m *moreDown) Run() {
	s := (*session)(m)
	s.flags &^= morePostedDown
	s.pumpDown()
}

// Run implements eventloop.Note.
func (m *moreUp) Run() {
	s := (*session)(m)
	s.flags &^= morePostedUp
	s.pumpUp()
}

// hand hands on what the upstream has sent, behind head at the session's beginning. It reports whether to go on reading.
// b is changed, and must directly follow head in memory where there is one.
func (s *session) hand(head, b []byte) bool {
	var err error
	var rest []byte
	client := b
	switch {
	case s.has(isLeg):
		client, rest, err = s.upstream.strip.Strip(b, s)
	case s.has(isWebSocket):
		s.upstream.frames.feed(b)
	default:
		s.upstream.frames.feedText(b)
	}
	if len(head) > 0 {
		client = append(head, client...) // moves the bytes to where they belong
	}
	if !s.writeDown(client) {
		return false
	}
	s.hold(rest)
	switch {
	case err != nil || s.has(legBroken):
		s.w.counts.badLegs.add(1)
		if s.home != nil {
			s.w.r.log.Warn("a gateway broke the leg's protocol; the session's client is closed", zap.String("shard", s.home.shard.id), zap.Error(err))
		}
		s.finishBroken()
	case s.has(legEnded):
		s.finish(closeEnd, nil)
	case s.has(leaving) && s.atBoundary():
		s.goAway(closeDrain, s.w.r.drainDelay())
	default:
		return !s.waitsDown()
	}
	return false
}

// writeDown writes to the client and keeps what its socket does not take. It reports whether the session lives.
func (s *session) writeDown(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	n, ok := 0, true
	if !s.waitsDown() {
		n, ok = s.tell(b)
	}
	if ok && n < len(b) {
		s.keepDown(b[n:])
	}
	return ok
}

// tell writes to the client, for whom nothing must wait, and returns how much its socket took. ok is false when the session has ended
// over it.
func (s *session) tell(b []byte) (n int, ok bool) {
	return s.told(s.client.Write(b))
}

// told settles a write to the client.
func (s *session) told(n int, err error) (_ int, ok bool) {
	if err != nil {
		s.close(closeClientError)
		return 0, false
	}
	s.w.counts.writes[toClient].add(1)
	s.w.counts.bytes[toClient].add(uint64(n))
	return n, true
}

// maxTalk is how much the client of an event stream may send, in bytes, who has nothing to say: as much as clients and proxies may
// let slip, and nothing that could keep us busy.
const maxTalk = 4 << 10

// bears ends an event stream whose client sends and sends. It reports whether the session goes on.
func (s *session) bears(n int) bool {
	if n > maxTalk-int(s.talk) {
		s.goAway(closeUnasked, s.w.r.crashDelay())
		return false
	}
	s.talk += uint16(n)
	return true
}

// handUp writes what the client has sent to the upstream. It reports whether to go on reading.
func (s *session) handUp(b []byte) bool {
	// An event stream's client has nothing to say: what it sends is no part of the exchange that was checked.
	if s.has(ending) || !s.has(isWebSocket) || s.has(upstreamDeaf) && s.home == nil {
		s.w.counts.dropped.add(uint64(len(b)))
		return s.has(ending|isWebSocket) || s.bears(len(b))
	}
	if s.home != nil {
		if b = s.spoke(b); len(b) == 0 {
			return s.client.Open()
		}
		s.keepUp(b)
		return s.flushUp()
	}
	n, err := s.upstream.Write(b)
	if err != nil {
		s.upstreamIsDeaf()
		return s.client.Open()
	}
	s.w.counts.writes[toUpstream].add(1)
	s.w.counts.bytes[toUpstream].add(uint64(n))
	if n < len(b) {
		s.keepUp(b[n:])
		return false
	}
	return true
}
