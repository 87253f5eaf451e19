package admission

import (
	"sync"
	"time"
)

// Uses remembers which passes have been used, until they expire by themselves. When it is full, further passes count as
// used: one is then no better than none, and none is good twice.
type Uses struct {
	size int

	mu   sync.Mutex
	seen map[uint64]struct{} // guarded by mu
	// guarded by mu: what was seen, in buckets by when it can be forgotten; the first is at base.
	buckets [useBuckets][]uint64
	base    int64
}

const (
	useBuckets = 64
	// useStep is the width of a bucket.
	useStep = time.Second
	// MaxPassLife is the longest that a pass can be remembered; one that lives longer counts as used.
	MaxPassLife = (useBuckets - 2) * useStep
)

// NewUses makes a memory for so many passes.
func NewUses(size int) *Uses { return &Uses{size: size, seen: make(map[uint64]struct{})} }

// First reports whether the pass with this nonce is used for the first time, and remembers it until it expires.
func (u *Uses) First(now time.Time, nonce uint64, expires time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forget(now.Unix())
	at := expires.Unix() + 1
	if _, used := u.seen[nonce]; used || len(u.seen) >= u.size || at-u.base >= useBuckets || at < u.base {
		return false
	}
	u.seen[nonce] = struct{}{}
	b := &u.buckets[at%useBuckets]
	*b = append(*b, nonce)
	return true
}

// forget drops the buckets before now.
func (u *Uses) forget(now int64) {
	if u.base == 0 || now-u.base > useBuckets {
		u.base = max(u.base, now-useBuckets)
	}
	for ; u.base < now; u.base++ {
		b := &u.buckets[u.base%useBuckets]
		for _, nonce := range *b {
			delete(u.seen, nonce)
		}
		*b = nil
	}
}

// Len is how many are remembered.
func (u *Uses) Len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.seen)
}
