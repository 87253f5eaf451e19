package router

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/internal/eventloop"
)

// watchLag measures how long a note takes to be read by the slowest event loop, until ctx ends: what the sessions feel.
// While a loop has not answered the last note, it lags by as much as it has owed the answer.
func (r *Router) watchLag(ctx context.Context) {
	if r.gate.pacer == nil {
		return
	}
	asked := make([]time.Time, len(r.workers))
	took := make([]atomic.Int64, len(r.workers)) // ns; negative while a note is on its way
	for {
		worst := time.Duration(0)
		for i, w := range r.workers {
			lag := time.Duration(took[i].Load())
			if lag < 0 {
				worst = max(worst, time.Since(asked[i]))
				continue
			}
			worst = max(worst, lag)
			now := time.Now()
			asked[i] = now
			took[i].Store(-1)
			if !w.loop.Post(eventloop.NoteFunc(func() { took[i].Store(int64(time.Since(now))) })) {
				return // the loops end
			}
		}
		r.gate.pacer.Lagged(worst)
		if !r.rest(ctx) {
			return
		}
	}
}

// rest waits until it is time to ask the loops again: soon, while connections come, or are held back. It reports whether to go on.
func (r *Router) rest(ctx context.Context) bool {
	every, knock := admission.LagEvery, (chan struct{})(nil)
	select {
	case <-r.gate.knock:
	default:
		if r.gate.pacer.AtEase() {
			every, knock = lagRest, r.gate.knock
		}
	}
	t := time.NewTimer(every)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-knock:
	}
	return true
}

// lagRest is how often the loops are asked while nobody comes: an idle router need not wake.
const lagRest = time.Second

// pace waits until the next connection may be accepted.
func (r *Router) pace(ctx context.Context) {
	if r.gate.pacer == nil {
		return
	}
	select {
	case r.gate.knock <- struct{}{}:
	default:
	}
	if wait := r.gate.pacer.Wait(time.Now()); wait > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
