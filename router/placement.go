package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

// placement is the ring that the router goes by: that of its view of the membership, unless the view has lost more than a
// third of the gateways within [lossWindow] without their having said that they leave. Then it is more likely that the
// view is wrong than that they are all gone, and the lost ones stay in the ring: whether a gateway takes a session, a dial and
// its heartbeat tell as well. Safe for concurrent use.
type placement struct {
	view  func() *ring.Ring
	alive func(*ring.Member) bool // by heartbeat
	now   func() time.Time

	present atomic.Pointer[placed]

	mu    sync.Mutex
	known map[string]*knownShard // guarded by mu; by ID: the gateways of the last good ring, and who was lost from it lately
	gone  time.Time              // guarded by mu: frozen: since when no lost gateway has had a heartbeat; zero when one has
}

// placed is a ring, and the view that it was made of.
type placed struct {
	view, ring *ring.Ring
	since      time.Time // when the ring came to be
	frozen     bool
	again      time.Time // frozen: when to look at the heartbeats again
}

type knownShard struct {
	member *ring.Member
	lost   time.Time // zero: it is there
}

const (
	lossWindow = 10 * time.Second // within which losses count together
	// goneTime is how long all lost gateways must have been without a heartbeat for a frozen view to be believed.
	goneTime = 10 * time.Second
	// frozenLook is how often a frozen ring is looked at; nothing else tells when a heartbeat has gone or come.
	frozenLook = 100 * time.Millisecond
)

func newPlacement(view func() *ring.Ring, alive func(*ring.Member) bool, now func() time.Time) *placement {
	return &placement{view: view, alive: alive, now: now, known: make(map[string]*knownShard)}
}

// ring is the ring at present. With a view that has not changed it costs no lock.
func (p *placement) ring() *ring.Ring {
	if c := p.present.Load(); c != nil && c.view == p.view() && (!c.frozen || p.now().Before(c.again)) {
		return c.ring
	}
	return p.look().ring
}

// stoodStill is how long the ring has been the same; 0 while it is frozen.
func (p *placement) stoodStill() time.Duration {
	c := p.look()
	if c.frozen {
		return 0
	}
	return p.now().Sub(c.since)
}

// look takes the view in.
func (p *placement) look() *placed {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, view, c := p.now(), p.view(), p.present.Load()
	if c == nil || !c.frozen {
		p.forget(now.Add(-lossWindow))
	}
	lost := p.compare(view, now)
	next := &placed{view: view, ring: view, since: now}
	if c != nil && 3*lost > len(p.known) {
		if !p.believe(view, now) {
			next = &placed{view: view, ring: p.withLost(view), since: now, frozen: true, again: now.Add(frozenLook)}
			p.present.Store(next)
			return next
		}
		p.forget(now)
	}
	p.gone = time.Time{}
	if c != nil && c.ring.Version() == view.Version() {
		next.since = c.since
	}
	p.present.Store(next)
	return next
}

// compare notes who is there and returns how many are lost.
func (p *placement) compare(view *ring.Ring, now time.Time) (lost int) {
	there := make(map[string]*ring.Member)
	for _, m := range view.Shards() {
		there[m.ID] = m
		p.known[m.ID] = &knownShard{member: m}
	}
	for id, k := range p.known {
		if there[id] != nil {
			continue
		}
		// One that is still listed has said how it is: it drains, has left, or begins anew.
		if _, listed := view.Member(id); listed {
			delete(p.known, id)
			continue
		}
		if k.lost.IsZero() {
			k.lost = now
		}
		lost++
	}
	return lost
}

// believe reports whether the lost gateways are really gone: none has a heartbeat, and not for a while.
func (p *placement) believe(view *ring.Ring, now time.Time) bool {
	if len(view.Shards()) == 0 {
		return false // there is nothing to gain by it
	}
	for _, k := range p.known {
		if !k.lost.IsZero() && p.alive(k.member) {
			p.gone = time.Time{}
			return false
		}
	}
	if p.gone.IsZero() {
		p.gone = now
	}
	return now.Sub(p.gone) >= goneTime
}

// withLost is the view with the lost gateways in it: who has come since is not kept out.
func (p *placement) withLost(view *ring.Ring) *ring.Ring {
	members := view.Members()
	for _, k := range p.known {
		if !k.lost.IsZero() {
			members = append(members, *k.member)
		}
	}
	return view.Next(members, view.Wishes())
}

// forget forgets the losses up to a time.
func (p *placement) forget(upTo time.Time) {
	for id, k := range p.known {
		if !k.lost.IsZero() && !k.lost.After(upTo) {
			delete(p.known, id)
		}
	}
}
