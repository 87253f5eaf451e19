package router

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

// closeReason says why a session ended; it is the label of ringside_router_closed_total.
type closeReason uint8

const (
	closeClient          closeReason = iota // the client closed
	closeEnd                                // its gateway ended it
	closeUpstream                           // its raw upstream closed
	closeLegLost                            // the leg ended, or failed, without an End record: the gateway is gone
	closeLegProtocol                        // the leg broke its protocol
	closeClientError                        // the client's socket failed
	closeUpstreamError                      // a raw upstream's socket failed
	closeIdle                               // nothing moved for too long
	closeWriteTimeout                       // the client took nothing for too long
	closeUpstreamTimeout                    // the upstream took nothing for too long
	closeDrain                              // the router drains
	closeShutdown                           // the router ends
	closeSetup                              // it could not be taken over from its handshake
	closeGone                               // the client acknowledged nothing any more
	closeNoGateway                          // its gateway was gone, and no other took it in time
	closeUnacked                            // the client has sent as much as is kept of it, and its gateway is done with none of it
	closeUnasked                            // the client of an event stream has sent more than a little
	closeReasons
)

func (r closeReason) String() string {
	return [closeReasons]string{"client", "end", "upstream", "leg_lost", "leg_protocol", "client_error", "upstream_error", "idle",
		"write_timeout", "upstream_timeout", "drain", "shutdown", "setup", "gone", "no_gateway", "unacked", "unasked"}[r]
}

// Close codes that we give (RFC 6455, 7.4.1 and the IANA registry).
const (
	codeTooBig   = 1009
	codeInternal = 1011
	codeRestart  = 1012
)

// closeGrace is how long a client that has been told everything may take to close: closing first could lose it our last
// bytes.
const closeGrace = 2 * time.Second

// crashDelay is how long a client is told to stay away when its gateway has crashed: spread, so that the sessions of a
// gateway don't come back all at once.
func (r *Router) crashDelay() time.Duration { return r.policy().Soon() }

// drainDelay is that of a client whose router leaves.
func (r *Router) drainDelay() time.Duration { return r.policy().Paced(r.cfg.DrainWindow) }

// policy is by which clients come back.
func (r *Router) policy() backoff.Policy {
	if r.deps.Policy == nil {
		return backoff.Default()
	}
	return r.deps.Policy()
}

// clientEOF is called when the client sends nothing any more, and all that it had sent is passed on: the end is, too. It
// may still want to hear the rest.
func (s *session) clientEOF() {
	s.flags |= clientEnded
	switch {
	case s.has(ending):
		if !s.waitsDown() {
			s.close(s.reason)
		}
	case s.has(upstreamEnded):
		s.close(closeUpstream)
	case s.has(homeless | parked), s.has(isTLS) && s.client.PeerGone(): // nobody listens either
		s.close(closeClient)
	case s.unsent() == 0:
		s.passEnd()
	}
}

// passEnd tells the upstream that the client sends nothing any more.
func (s *session) passEnd() {
	if s.upstream.CloseWrite() != nil {
		s.upstreamIsDeaf()
	}
}

// upstreamEOF is called when the upstream sends nothing any more, and all that it had sent is passed on. A leg is over
// then. So is a raw upstream that has ended between two frames, or events, without having said so: its process is gone, and the
// client is told when to come back. Any other raw upstream may still listen, so that its end is passed on as well.
func (s *session) upstreamEOF() {
	if !s.has(isLeg|clientEnded) && s.atBoundary() {
		s.goAway(closeUpstream, s.w.r.crashDelay())
		return
	}
	s.flags |= upstreamEnded
	switch {
	case s.has(isLeg):
		s.upstreamGone(closeLegLost)
	case s.has(clientEnded):
		s.close(closeClient)
	case s.has(upstreamDeaf) || !s.has(isWebSocket): // whatever the client does, nobody hears it
		s.finish(closeUpstream, nil)
	default:
		_ = s.client.CloseWrite() // fails when the client is gone, which a read tells
	}
}

// upstreamIsDeaf drops what waits for an upstream that takes nothing any more. What it has sent before still counts: a
// read tells how it ended.
func (s *session) upstreamIsDeaf() {
	s.flags |= upstreamDeaf
	if s.home == nil { // else it is for the next gateway
		s.dropUp()
	}
	if s.has(upstreamEnded) {
		s.finish(closeUpstream, nil)
		return
	}
	s.pumpDown()
}

// upstreamGone decides what becomes of a session whose upstream is gone, or as good as gone, though nobody has ended
// the session: it goes on at another gateway. Where that is not possible its client is sent away, with a delay for its
// return when it stands at a message boundary.
func (s *session) upstreamGone(reason closeReason) {
	switch {
	case s.movable():
		s.loseLeg()
		s.lookForHome(moveCrash)
		return
	case s.has(clientEnded):
		reason = closeClient
	case s.has(isLeg) && reason == closeUpstreamError:
		reason = closeLegLost // reset or closed, it is the same: there was no End record
	case s.has(upstreamEnded) && !s.has(isLeg):
		reason = closeUpstream
	}
	if reason == closeClient {
		s.finish(reason, nil)
		return
	}
	s.goAway(reason, s.w.r.crashDelay())
}

// leave sends the session away, for a reason of ours, at the next message boundary.
func (s *session) leave() {
	if s.has(ending) {
		return
	}
	s.flags |= leaving
	if s.atBoundary() || !s.boundaryComes() {
		s.goAway(closeDrain, s.w.r.drainDelay())
	}
}

// boundaryComes reports whether a session that does not stand at a boundary may yet.
func (s *session) boundaryComes() bool {
	switch {
	case s.has(isLeg):
		return true
	case s.has(upstreamEnded):
		return false
	case s.has(isWebSocket):
		return !s.upstream.frames.saidBye()
	}
	return !s.has(isOpaque)
}

// atBoundary reports whether something of ours can be put in behind what the client has got, or will get.
func (s *session) atBoundary() bool {
	switch {
	case s.has(isLeg):
		_, half := s.upstream.strip.Half()
		return !half
	case s.has(upstreamEnded):
		return false // the client has been told so
	case s.has(isWebSocket):
		return s.upstream.frames.atBoundary() && !s.upstream.frames.saidBye()
	}
	return !s.has(isOpaque) && s.upstream.frames.afterEvent(s.has(isChunked))
}

// goAway ends the session with word to the client when to come back, where there is a place for that.
func (s *session) goAway(reason closeReason, delay time.Duration) {
	switch {
	case !s.atBoundary():
		s.finish(reason, nil)
	case s.has(isWebSocket):
		s.finish(reason, wsframe.AppendClose(nil, codeRestart, `{"reconnect":`+strconv.FormatInt(delay.Milliseconds(), 10)+`}`))
	case s.has(isChunked):
		retry := retryAfter(delay)
		s.finish(reason, fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(retry), retry))
	default:
		s.finish(reason, retryAfter(delay))
	}
}

// retryAfter tells an event stream's client when to come back.
func retryAfter(d time.Duration) []byte { return fmt.Appendf(nil, "retry: %d\n\n", d.Milliseconds()) }

// finishBroken ends a session whose gateway broke the leg's protocol.
func (s *session) finishBroken() {
	var last []byte
	if s.has(isWebSocket) && s.atBoundary() {
		last = wsframe.AppendClose(nil, codeInternal, "")
	}
	s.finish(closeLegProtocol, last)
}

// stuckUp decides what becomes of a session whose upstream has taken, or acknowledged, nothing for too long.
func (s *session) stuckUp() {
	switch {
	case s.home == nil || s.unsent() > 0 || s.home.shard.down():
		s.upstreamGone(closeUpstreamTimeout)
	case !s.waitsDown(): // else the acknowledgement may stand behind what the client does not read
		s.finishUnacked()
	}
}

// finishUnacked ends a session whose client has sent more than can be kept of it before its gateway could do anything with
// it: a message in very small pieces, say. Another gateway could not either.
func (s *session) finishUnacked() {
	var last []byte
	if s.atBoundary() {
		last = wsframe.AppendClose(nil, codeTooBig, "")
	}
	s.finish(closeUnacked, last)
}

// finish ends the session: the upstream at once, the client when it has taken what waits for it, and last.
func (s *session) finish(reason closeReason, last []byte) {
	if s.has(ending) || !s.client.Open() {
		return
	}
	s.endParked()
	s.flags |= ending
	s.reason = reason
	s.leaveHome()
	s.upstream.Close()
	s.dropUp()
	s.hold(nil)
	if s.writeDown(last) && !s.waitsDown() {
		s.said()
	}
}

// said is called when a session that ends has nothing left to say. The client has a while to close by itself.
func (s *session) said() {
	if s.has(clientEnded) || s.client.CloseWrite() != nil {
		s.close(s.reason)
		return
	}
	s.since = s.w.now()
	s.pumpUp() // its end may have come already
}

// close ends the session at once.
func (s *session) close(reason closeReason) {
	if !s.client.Open() {
		return
	}
	switch {
	case s.has(ending):
		reason = s.reason
	case s.has(clientEnded) && reason == closeClientError:
		reason = closeClient
	}
	s.endParked()
	s.leaveHome()
	s.forget()
	s.client.Close()
	s.upstream.Close()
	s.w.remove(s)
	s.w.r.release()
	s.w.r.metrics.closed[reason].Add(1)
}
