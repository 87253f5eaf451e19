package router

import (
	"errors"
	"io"

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
		buf := s.w.buffer()
		n, drained, err := s.upstream.Read(buf)
		switch {
		case n > 0:
			s.moved = s.w.now()
			if !s.hand(nil, buf[:n]) || drained {
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
	s.flags |= morePostedDown
	s.w.loop.Post((*moreDown)(s))
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
	s.flags |= morePostedUp
	s.w.loop.Post((*moreUp)(s))
}

// moreDown and moreUp are a session that goes on after others have had their turn.
type (
	moreDown session
	moreUp   session
)

// Run implements eventloop.Note.
func (m *moreDown) Run() {
	m.flags &^= morePostedDown
	(*session)(m).pumpDown()
}

// Run implements eventloop.Note.
func (m *moreUp) Run() {
	m.flags &^= morePostedUp
	(*session)(m).pumpUp()
}

// hand writes what the upstream has sent to the client, without the leg's records, in one write; with the answer's
// head before it at the session's beginning. It reports whether to go on reading. b is changed, and must directly
// follow head in memory where there is one.
func (s *session) hand(head, b []byte) bool {
	var err error
	client := b
	switch {
	case s.has(isLeg):
		client, err = s.strip.Strip(b, s)
	case s.has(isWebSocket):
		s.frames.feed(b)
	}
	if len(head) > 0 {
		client = append(head, client...) // moves the bytes to where they belong
	}
	if !s.writeDown(client) {
		return false
	}
	switch {
	case err != nil:
		s.w.counts.badLegs.add(1)
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
	n := 0
	if !s.waitsDown() {
		var err error
		if n, err = s.client.Write(b); err != nil {
			s.close(closeClientError)
			return false
		}
		s.w.counts.writes[toClient].add(1)
		s.w.counts.bytes[toClient].add(uint64(n))
	}
	if n < len(b) {
		s.keepDown(b[n:])
	}
	return true
}

// handUp writes what the client has sent to the upstream. It reports whether to go on reading.
func (s *session) handUp(b []byte) bool {
	// An event stream's client has nothing to say: what it sends is no part of the exchange that was checked.
	if s.has(upstreamDeaf|ending) || !s.has(isWebSocket) {
		s.w.counts.dropped.add(uint64(len(b)))
		return true
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
