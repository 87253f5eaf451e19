package gateway

import (
	"errors"
	"strconv"

	"github.com/ringside-edge/ringside/internal/backoff"
)

// allowance is what a session's client may still send: a token bucket that fills by the loop's clock. A frame costs a token, whatever
// it is: a message, a fragment of one, a ping, a pong. One that is larger costs one more for each 4 KiB, so that the same bound
// holds for bytes.
type allowance struct {
	tokens float32
	at     uint32 // when they were counted, by the loop's clock in ms, of which this is the lower half
}

// frameBytes is how many bytes of a frame cost as much as a frame.
const frameBytes = 4 << 10

// movedCredit is what a session that comes from another gateway has beyond a full bucket, in seconds of what it may send: while it had
// no gateway its router kept what it sent, and all of that comes at once.
const movedCredit = 60

// errTooFast ends the reading of a client's frames.
var errTooFast = errors.New("the client sends too fast")

// newAllowance is that of a session which begins, or goes on.
func (c *Config) newAllowance(goesOn bool) allowance {
	a := allowance{tokens: float32(c.ClientBurst)}
	if goesOn {
		a.tokens += float32(c.ClientRate * movedCredit)
	}
	return a
}

// frameCost is what a frame of so many bytes costs.
func frameCost(size int) int { return 1 + size/frameBytes }

// spend pays for size bytes at once and reports whether there was enough for that.
func (a *allowance) spend(size int, now int64, cfg *Config) bool {
	if passed, burst := uint32(now)-a.at, float32(cfg.ClientBurst); a.tokens < burst {
		a.tokens = min(burst, a.tokens+float32(passed)*float32(cfg.ClientRate)/1000)
	}
	a.at = uint32(now)
	a.tokens -= float32(frameCost(size))
	return a.tokens >= 0
}

// WSFrame implements wsframe.Handler: it ends the session of a client that sends too fast.
func (s *session) WSFrame(size int) error {
	cfg := &s.worker.g.cfg
	if s.closing || s.allowance.spend(size, s.worker.loop.Now(), cfg) {
		return nil
	}
	s.finishWith(closeRate, codePolicy, "too many frames: at most "+strconv.Itoa(cfg.ClientRate)+" per second, "+
		strconv.Itoa(cfg.ClientBurst)+" at once")
	return errTooFast
}

// unasked takes what the client of an event stream sends, who has nothing to say.
func (s *session) unasked(p []byte) {
	if !s.allowance.spend(len(p), s.worker.loop.Now(), &s.worker.g.cfg) {
		s.finish(closeRate, s.worker.g.policy().Over(backoff.Widest))
	}
}
