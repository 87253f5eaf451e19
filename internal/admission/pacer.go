package admission

import (
	"sync"
	"time"
)

// Pacer is how fast connections are accepted. It begins with a rate that a crowd may come at, from one moment to the next, and raises it as long as
// connections wait for it and the event loops keep up. When they lag the rate shrinks, down to a minimum, and what comes waits in the system's
// backlog, where it costs nothing.
type Pacer struct {
	lag          time.Duration
	least, first float64

	mu      sync.Mutex
	rate    float64   // guarded by mu
	next    time.Time // guarded by mu: when the next may be accepted
	waited  bool      // guarded by mu: some had to wait since the last look at the lag
	came    int       // guarded by mu: connections since then
	lagging time.Duration
}

const (
	pacerShrink = 0.5
	pacerGrow   = 1.15
	// pacerMost is how many times the first rate the highest is.
	pacerMost = 16
	// pacerBurst is what may be accepted at once after a pause.
	pacerBurst = 20 * time.Millisecond
	// pacerStep is the shortest wait: a sleep costs as much as a tenth of a handshake, and is not taken for each.
	pacerStep = 4 * time.Millisecond
)

// NewPacer makes a pacer that begins with first connections per second, and lets at least least in while the loops lag by more than lag.
func NewPacer(lag time.Duration, least, first float64) *Pacer {
	return &Pacer{lag: lag, least: least, first: first, rate: first}
}

// Lagged takes in how long an event loop took to turn. It is to be called at a steady pace, some times a second, while connections come.
func (p *Pacer) Lagged(lag time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lagging = lag
	switch {
	case lag > p.lag:
		p.rate = max(p.least, p.rate*pacerShrink)
	case lag >= p.lag/2:
	case p.rate < p.first:
		p.rate = min(p.first, p.rate*pacerGrow)
	case p.waited:
		p.rate = min(pacerMost*p.first, p.rate*pacerGrow)
	case float64(p.came) < p.first*LagEvery.Seconds()/4: // the crowd is over
		p.rate = p.first
	}
	p.waited, p.came = false, 0
}

// Wait is how long to wait before the next connection is accepted, which is counted.
func (p *Pacer) Wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := now.Add(-pacerBurst); p.next.Before(earliest) {
		p.next = earliest
	}
	wait := max(0, p.next.Sub(now))
	if wait < pacerStep {
		wait = 0
	}
	p.waited = p.waited || wait > 0
	p.came++
	p.next = p.next.Add(time.Duration(float64(time.Second) / p.rate))
	return wait
}

// AtEase reports whether there is no crowd, and nothing is held back.
func (p *Pacer) AtEase() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate == p.first && !p.waited
}

// Rate is how many connections per second are accepted at most, and by how much the loops lagged last.
func (p *Pacer) Rate() (perSecond float64, lag time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate, p.lagging
}
