package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

// Gateways that did not take a connection are tried last for a while: gossip needs seconds to notice what a refused
// dial tells at once.
const (
	ejectTime  = time.Second
	maxEjected = 1024 // addresses; far above any number of gateways, so that it only bounds mistakes
)

// ejections are the addresses that are tried last, and until when. Safe for concurrent use.
type ejections struct {
	any   atomic.Bool // spares the lock as long as there is nothing to see
	mu    sync.Mutex
	until map[string]time.Time // guarded by mu
}

// add ejects addr and reports whether it was not ejected before.
func (e *ejections) add(addr string, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(now)
	_, already := e.until[addr]
	if !already && len(e.until) >= maxEjected {
		return false
	}
	if e.until == nil {
		e.until = make(map[string]time.Time)
	}
	e.until[addr] = now.Add(ejectTime)
	e.any.Store(true)
	return !already
}

// lastResorts is shards with those behind the others that have not taken a session lately, or have no heartbeat. It may be
// shards itself, which is not changed.
func (r *Router) lastResorts(shards []*ring.Member, now time.Time) []*ring.Member {
	shards = r.ejected.last(shards, now)
	if r.shards.count(pulseDown)+r.shards.count(pulseSilent) == 0 {
		return shards
	}
	order := make([]*ring.Member, 0, len(shards))
	for _, down := range []bool{false, true} {
		for _, m := range shards {
			if r.shards.of(m).down() == down {
				order = append(order, m)
			}
		}
	}
	return order
}

// last is shards with those that are ejected behind the others. It may be shards itself, which is not changed.
func (e *ejections) last(shards []*ring.Member, now time.Time) []*ring.Member {
	if !e.any.Load() {
		return shards
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	order := make([]*ring.Member, 0, len(shards))
	for _, ejected := range []bool{false, true} {
		for _, m := range shards {
			if now.Before(e.until[m.Addr]) == ejected {
				order = append(order, m)
			}
		}
	}
	return order
}

// has reports whether addr is ejected.
func (e *ejections) has(addr string, now time.Time) bool {
	if !e.any.Load() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Before(e.until[addr])
}

// len is how many addresses are ejected.
func (e *ejections) len(now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(now)
	return len(e.until)
}

func (e *ejections) expire(now time.Time) {
	for addr, until := range e.until {
		if !now.Before(until) {
			delete(e.until, addr)
		}
	}
	e.any.Store(len(e.until) > 0)
}
