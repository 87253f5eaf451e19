package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

// tails decides which slots are tailed: those that the shard owns, or would own were it active, and those
// that have a subscriber here. It knows which of them stand.
type tails struct {
	g    *Gateway
	kick chan struct{} // a slot has got a subscriber
	warm chan struct{} // closed once all owned slots have stood

	full atomic.Bool // there are as many topics as may be: those that linger have to go

	mu      sync.Mutex
	placed  bool // a placement has been seen
	owned   [topics.Slots]bool
	wanted  [topics.Slots]bool
	stands  [topics.Slots]bool
	isWarm  bool
	lastErr error // of the last tail that was lost
}

func newTails(g *Gateway) *tails {
	return &tails{g: g, kick: make(chan struct{}, 1), warm: make(chan struct{})}
}

// sweepEvery is how often topics and slots without sessions are looked for.
const sweepEvery = 5 * time.Second

// roomEvery is how often they are while there are as many topics as may be.
const roomEvery = time.Second

// run keeps the tailer's slots up to date until ctx ends.
func (t *tails) run(ctx context.Context, want func(own, follow []int)) {
	changed, unsubscribe := t.g.deps.Changed()
	defer unsubscribe()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	swept := time.Now()
	for {
		t.reconcile(want)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-t.kick:
			if t.full.Load() { // what lingers goes now, but not all the time
				sweep.Reset(max(time.Millisecond, roomEvery-time.Since(swept)))
			}
		case now := <-sweep.C:
			swept = now
			sweep.Reset(sweepEvery)
			if !t.full.Swap(false) {
				now = now.Add(-t.g.cfg.LogLinger)
			}
			t.sweep(now)
		}
	}
}

// sweep forgets the topics that have been without a session since before cutoff.
func (t *tails) sweep(cutoff time.Time) {
	for _, s := range t.g.slots {
		s.sweep(cutoff)
	}
}

// makeRoom has the topics forgotten that have no session and only linger. It returns at once.
func (t *tails) makeRoom() {
	if !t.full.CompareAndSwap(false, true) {
		return
	}
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// reconcile computes the wanted slots and tells the tailer when they have changed.
func (t *tails) reconcile(want func(own, follow []int)) {
	var owned [topics.Slots]bool
	for _, n := range t.g.prospect().Owned(t.g.cfg.ID) {
		owned[n] = true
	}
	var own, follow []int
	t.mu.Lock()
	changed := t.owned != owned
	t.owned, t.placed = owned, true
	for n := range t.g.slots {
		is := owned[n]
		if is {
			own = append(own, n)
		} else if is = t.keep(t.g.slots[n]); is {
			follow = append(follow, n)
		}
		if is != t.wanted[n] {
			changed, t.wanted[n] = true, is
			t.stands[n] = t.stands[n] && is
		}
	}
	t.checkWarm()
	t.mu.Unlock()
	if changed {
		want(own, follow)
	}
}

// keep reports whether a slot that the shard does not own has to be tailed for its subscribers' sake, or for
// the logs that linger. A slot that need not is cold from now on.
func (t *tails) keep(s *slot) bool { return !s.coolIfUnused() }

// prospect is the placement as it would be were this shard active.
func (g *Gateway) prospect() *ring.Ring {
	r := g.deps.Ring()
	m, ok := r.Member(g.cfg.ID)
	if !ok {
		m = ring.Member{ID: g.cfg.ID, Role: ring.RoleGateway, Weight: 1}
	}
	if m.State == ring.StateDraining || m.State == ring.StateLeft {
		return r // it owns nothing any more, but serves who is left
	}
	m.State = ring.StateActive
	return r.With(m)
}

// follow sees to it that s, which has got a subscriber, is tailed. It returns at once.
func (t *tails) follow(s *slot) {
	t.mu.Lock()
	wanted := t.wanted[s.n]
	t.mu.Unlock()
	if wanted {
		return
	}
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func (t *tails) started(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stands[n] = t.wanted[n]
	t.checkWarm()
}

func (t *tails) lost(n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stands[n] = false
	t.lastErr = err
}

func (t *tails) checkWarm() {
	if !t.placed || t.isWarm || t.missing() > 0 {
		return
	}
	t.isWarm = true
	close(t.warm)
}

func (t *tails) missing() (n int) {
	for i, o := range t.owned {
		if o && !t.stands[i] {
			n++
		}
	}
	return n
}

// ready says what keeps the gateway from doing its work.
func (t *tails) ready() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.placed {
		return errors.New("no placement yet")
	}
	if n := t.missing(); n > 0 {
		return errors.Join(fmt.Errorf("the tails of %d owned slots don't stand", n), t.lastErr)
	}
	return nil
}

func (t *tails) missingNow() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.missing()
}
