package admission

import (
	"sync"
	"time"
)

// BookConfig is how a [Book] is set up. All of it is required.
type BookConfig struct {
	Least   time.Duration // nobody is told to come back sooner
	Horizon time.Duration // nor later
	Grace   time.Duration // how long after its time a reservation is good
	Rand    func() float64
}

// Book assigns the times at which clients that were turned away shall return: one behind the other at the rate that can be
// taken, so that a crowd comes back as a slope and the first to be turned away returns first. It holds no list: what has been
// given away is one instant, up to which all is.
//
// Beyond the horizon, returns are spread evenly over its second half, more than can be taken: who is turned away again has had
// no loss, and the book stays bounded. That is counted.
type Book struct {
	cfg BookConfig

	mu    sync.Mutex
	next  time.Time // guarded by mu: the first time that is free
	stats BookStats // guarded by mu
}

// BookStats are what a book has counted since it was made.
type BookStats struct {
	Booked     uint64
	Overbooked uint64 // beyond the horizon; part of Booked
	Backlog    time.Duration
}

// Return is when a client shall come back: at From, and until Until it is expected.
type Return struct{ From, Until time.Time }

// Share is which part of the rate is booked: the rest is for those who come unasked.
const Share = 0.8

// NewBook makes an empty book.
func NewBook(cfg BookConfig) *Book { return &Book{cfg: cfg} }

// Reserve books a return, where rate clients per second can be taken and queued are waiting already.
func (b *Book) Reserve(now time.Time, rate float64, queued int) Return {
	b.mu.Lock()
	defer b.mu.Unlock()
	rate = max(rate*Share, 1e-3)
	each := time.Duration(float64(time.Second) / rate)
	if free := now.Add(b.cfg.Least + time.Duration(queued)*each); b.next.Before(free) {
		b.next = free
	}
	from := b.next
	b.stats.Booked++
	if b.next.Sub(now) > b.cfg.Horizon {
		b.stats.Overbooked++
		half := b.cfg.Horizon / 2
		from = now.Add(half + time.Duration(b.cfg.Rand()*float64(half)))
	} else {
		b.next = b.next.Add(each)
	}
	return Return{From: from, Until: from.Add(b.cfg.Grace)}
}

// Stats are the counts at present.
func (b *Book) Stats(now time.Time) BookStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Backlog = max(0, b.next.Sub(now))
	return s
}
