package gateway

import (
	"strconv"
	"time"

	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// closeReason says why a session ended; it is the label of ringside_gateway_closed_total.
type closeReason uint8

const (
	closeClient       closeReason = iota // the client, or the router for it, closed
	closeError                           // the socket failed
	closeProtocol                        // the client broke the protocol
	closeWriteTimeout                    // the socket took nothing for too long
	closeControl                         // too many answers waited for a client that does not read
	closeGraceOver                       // told to go, and did not
	closeDrain                           // the gateway drains
	closeNoReplay                        // its past could not be read in time
	closeMoved                           // the router took it to another gateway, as it was asked to
	closeGone                            // the peer acknowledged nothing any more
	closeResume                          // the router's word on where the session stands was not understood
	closeExpired                         // its token has expired
	closeDenied                          // the application wanted it to end
	closeRefused                         // it was begun only to tell its client why it is refused
	closeSlow                            // it fell off the log of a topic that wants such sessions closed
	closeRate                            // its client sent too fast
	closeParked                          // its router serves it from a feed
	closeAtRouter                        // it ended while its router served it from a feed
	closeReasons
)

func (r closeReason) String() string {
	return [closeReasons]string{"client", "error", "protocol", "write_timeout", "control_overflow",
		"grace_over", "drain", "no_replay", "moved", "gone", "resume", "expired", "denied", "refused", "slow", "rate", "parked", "at_router"}[r]
}

// Close codes that we give (RFC 6455, 7.4.1 and the IANA registry).
const (
	codeUnsupported = 1003
	codePolicy      = 1008
	codeRestart     = 1012
	codeTryLater    = 1013
)

// finish ends the session with word to the client when to come back.
func (s *session) finish(reason closeReason, delay time.Duration) {
	code := uint16(codeTryLater)
	if reason == closeDrain {
		code = codeRestart
	}
	if s.cable != nil {
		s.farewell(reason, map[closeReason]string{closeSlow: cableTooSlow}[reason], true)
		return
	}
	ms := strconv.FormatInt(delay.Milliseconds(), 10)
	if s.format == formatSSE {
		s.end(reason, []byte("retry: "+ms+"\n\n"))
		return
	}
	s.end(reason, wsframe.AppendClose(nil, code, `{"reconnect":`+ms+`}`))
}

// finishWith ends a WebSocket session with a close frame.
func (s *session) finishWith(reason closeReason, code uint16, text string) {
	s.end(reason, wsframe.AppendClose(nil, code, text))
}

// end hands on what the socket has begun to take, then last, then closes. Nothing else is sent any more.
func (s *session) end(reason closeReason, last []byte) {
	if s.closing || !s.conn.Open() {
		return
	}
	s.note()
	s.leave()
	if s.onLeg {
		last = newRecord(leg.End, 0, zeroPosition, last).b
	}
	if s.full { // behind what waits, whatever the bound on that says
		s.out = append(s.out, last...)
		s.worker.counts.full.Add(^uint64(0))
	} else if s.control(last); !s.conn.Open() {
		return
	} else if s.worker.uncork(s); !s.conn.Open() {
		return
	} else if s.full {
		s.worker.counts.full.Add(^uint64(0))
	}
	s.closing, s.reason = true, reason
	s.since = s.worker.loop.Now() + closeGrace
	if !s.full {
		s.ended()
	}
}

// ended is called when a session that ends has nothing left to say. A client that asked for the end has had
// its answer and is closed (RFC 6455, 7.1.1: the server closes first); any other has a while to go by itself.
func (s *session) ended() {
	if s.reason == closeClient {
		s.close(closeClient)
		return
	}
	_ = s.conn.CloseWrite()
}

// leave ends all subscriptions.
func (s *session) leave() {
	s.subs(func(sub *sub) { sub.feed.remove(sub) })
	s.more = nil
}

// close ends the session at once.
func (s *session) close(reason closeReason) {
	s.worker.uncork(s)
	if !s.conn.Open() {
		return
	}
	if !s.closing {
		s.note()
	}
	s.keep(reason)
	s.over(reason)
	switch {
	case s.closing:
		reason = s.reason
	case s.wasParked:
		reason = closeParked
	case (s.goBy > 0 || s.offered > 0) && (reason == closeClient || reason == closeError):
		reason = closeMoved
	}
	if s.full && !s.closing {
		s.worker.counts.full.Add(^uint64(0))
	}
	if s.goBy > 0 {
		s.worker.counts.leaving.Add(^uint64(0))
	}
	s.leave()
	if s.share != nil {
		s.worker.counts.shared.Add(-uint64(s.share.members.Firsts))
		s.worker.counts.feeds.Add(^uint64(0))
	}
	s.conn.Close()
	s.tail, s.out, s.resume = nil, nil, nil
	s.worker.remove(s)
	g := s.worker.g
	g.metrics.closed[reason].Add(1) // before its place is free: who sees that it has gone finds it counted
	g.release()
}
