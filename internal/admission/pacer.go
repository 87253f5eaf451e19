package admission

import (
	"sync"
	"time"
)

// Pacer is how fast connections are accepted: as fast as they come, until the event loops lag. Then the rate shrinks, down to
// a minimum, and what comes waits in the system's backlog, where it costs nothing.
type Pacer struct {
	lag         time.Duration
	least, most float64

	mu      sync.Mutex
	rate    float64   // guarded by mu
	next    time.Time // guarded by mu: when the next may be accepted
	lagging time.Duration
}

const (
	pacerShrink = 0.5
	pacerGrow   = 1.15
	// pacerBurst is what may be accepted at once after a pause.
	pacerBurst = 20 * time.Millisecond
)

// NewPacer makes a pacer that lets most connections per second in, and at least least while the loops lag by more than lag.
func NewPacer(lag time.Duration, least, most float64) *Pacer {
	return &Pacer{lag: lag, least: least, most: most, rate: most}
}

// Lagged takes in how long an event loop took to turn. It is to be called at a steady pace, some times a second, while connections come.
func (p *Pacer) Lagged(lag time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lagging = lag
	switch {
	case lag > p.lag:
		p.rate = max(p.least, p.rate*pacerShrink)
	case lag < p.lag/2:
		p.rate = min(p.most, p.rate*pacerGrow)
	}
}

// Wait is how long to wait before the next connection is accepted, which is counted.
func (p *Pacer) Wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := now.Add(-pacerBurst); p.next.Before(earliest) {
		p.next = earliest
	}
	wait := max(0, p.next.Sub(now))
	p.next = p.next.Add(time.Duration(float64(time.Second) / p.rate))
	return wait
}

// AtEase reports whether nothing is held back.
func (p *Pacer) AtEase() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate == p.most
}

// Rate is how many connections per second are accepted at most, and by how much the loops lagged last.
func (p *Pacer) Rate() (perSecond float64, lag time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate, p.lagging
}
