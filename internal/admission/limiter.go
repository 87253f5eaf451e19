package admission

import (
	"net/netip"
	"sync"
	"time"
)

// LimiterConfig is how a [Limiter] is set up. All of it is required.
type LimiterConfig struct {
	Rate  float64 // per second and key
	Burst int     // at once, for a key that was quiet
	Size  int     // keys at most
}

// Limiter is a token bucket for each key, in O(1) time and bounded memory.
//
// A key is forgotten when its bucket is full again, since a new one would be no different: nothing is gained by having a
// key evicted. While no bucket of a full table is full again, keys that are not in it share one bucket of [overflowRate]
// times the rate: a flood of addresses can slow down other strangers, but it neither grows the table nor sets an offender free.
type Limiter[K comparable] struct {
	every time.Duration // what one use costs
	slack time.Duration // how far ahead of its time a key may be
	size  int

	mu       sync.Mutex
	index    map[K]int32
	entries  []entry[K]    // guarded by mu; entries[0] is the list's head: next is the youngest, prev the oldest
	free     int32         // guarded by mu; a chain by next, 0 for none
	overflow time.Duration // guarded by mu: as an entry's due
	start    time.Time     // guarded by mu: times are kept from here on; set by the first call
	stats    LimiterStats  // guarded by mu
}

type entry[K comparable] struct {
	key        K
	due        time.Duration // when its bucket is full again (GCRA's theoretical arrival time)
	prev, next int32
}

// LimiterStats are what a limiter has counted since it was made, and its present size.
type LimiterStats struct {
	Keys, Size        int
	Evicted           uint64 // forgotten because their buckets were full again
	Refused           uint64
	Overflowed        uint64 // uses that went to the common bucket because the table was full
	OverflowedRefused uint64 // refused there; part of Refused
}

const (
	// overflowRate is how many times the rate of one key all those share that find no place in the table.
	overflowRate = 32
	// cleanUp is how many old entries a call removes at most.
	cleanUp = 2
)

// NewLimiter makes an empty limiter.
func NewLimiter[K comparable](cfg LimiterConfig) *Limiter[K] {
	if cfg.Rate <= 0 || cfg.Burst < 1 || cfg.Size < 1 {
		panic("BUG: admission: a limiter without a rate, a burst or a size")
	}
	every := time.Duration(float64(time.Second) / cfg.Rate)
	return &Limiter[K]{
		every: every, slack: every * time.Duration(cfg.Burst-1), size: cfg.Size,
		index: make(map[K]int32), entries: make([]entry[K], 1),
	}
}

// Allow reports whether the key may come now, and counts it when it may.
func (l *Limiter[K]) Allow(now time.Time, key K) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start.IsZero() {
		l.start = now
	}
	t := now.Sub(l.start)
	for range cleanUp {
		if !l.evict(t) {
			break
		}
	}
	i, ok := l.index[key]
	switch {
	case ok:
		l.unlink(i)
	default:
		if i = l.place(); i == 0 {
			return l.allowOverflow(t)
		}
		l.entries[i].key, l.entries[i].due = key, 0
		l.index[key] = i
	}
	l.linkFirst(i)
	e := &l.entries[i]
	if e.due > t+l.slack {
		l.stats.Refused++
		return false
	}
	e.due = max(e.due, t) + l.every
	return true
}

func (l *Limiter[K]) allowOverflow(t time.Duration) bool {
	l.stats.Overflowed++
	if l.overflow > t+l.slack {
		l.stats.Refused++
		l.stats.OverflowedRefused++
		return false
	}
	l.overflow = max(l.overflow, t) + l.every/overflowRate
	return true
}

// evict forgets the oldest key when its bucket is full again.
func (l *Limiter[K]) evict(t time.Duration) bool {
	i := l.entries[0].prev
	if i == 0 || l.entries[i].due > t {
		return false
	}
	l.unlink(i)
	delete(l.index, l.entries[i].key)
	l.entries[i] = entry[K]{next: l.free}
	l.free = i
	l.stats.Evicted++
	return true
}

// place is where a new key can be put; 0 when the table is full.
func (l *Limiter[K]) place() int32 {
	if i := l.free; i != 0 {
		l.free = l.entries[i].next
		return i
	}
	if len(l.entries) > l.size {
		return 0
	}
	l.entries = append(l.entries, entry[K]{})
	return int32(len(l.entries) - 1) //nolint:gosec // bounded by size
}

func (l *Limiter[K]) unlink(i int32) {
	e := &l.entries[i]
	l.entries[e.prev].next, l.entries[e.next].prev = e.next, e.prev
}

func (l *Limiter[K]) linkFirst(i int32) {
	first := l.entries[0].next
	l.entries[i].prev, l.entries[i].next = 0, first
	l.entries[first].prev = i
	l.entries[0].next = i
}

// Stats are the counts at present.
func (l *Limiter[K]) Stats() LimiterStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Keys, s.Size = len(l.index), l.size
	return s
}

// AddrKey is what an address counts as: IPv6 by its /64, which one subscriber has at least; IPv4 as it is, however it is written.
func AddrKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		panic("BUG: admission: an IPv6 address has no /64: " + err.Error())
	}
	return p.Addr()
}

// Allowed reports whether an address is in one of the prefixes.
func Allowed(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
