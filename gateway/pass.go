package gateway

import (
	"time"

	"github.com/ringside-edge/ringside/leg"
)

const (
	// resumeLife is how long a resume token is good at least.
	resumeLife = 12 * time.Hour
	// resumeStep is what its end is rounded up to: a welcome that was cut short goes on at another gateway, which must write
	// the same.
	resumeStep = time.Hour
)

// resumePass is the token with which the client of a session passes limits for new ones when it comes back.
func (g *Gateway) resumePass(session uint64, now time.Time) string {
	return g.deps.Keys.Pass(leg.Pass{Kind: leg.PassResume, Until: now.Add(resumeLife).Truncate(resumeStep).Add(resumeStep), ID: session})
}
