package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// Sink takes what a [Tailer] reads. Calls for one slot come one after another, from one goroutine; those for different
// slots may come at once. They must not block for long: they hold up up to 64 slots.
type Sink interface {
	// TailStarted says that the tail stands at `at`: every entry behind it will come. It is called again after
	// TailLost; with another epoch when the stream has lost data meanwhile, so that positions of the old epoch are void.
	TailStarted(slot int, at position.Position)
	// TailEntries hands over entries in ID order; never none.
	TailEntries(slot int, entries []Entry)
	// TailLost says that nothing is known of the slot until the next TailStarted.
	TailLost(slot int, err error)
}

// readerSlots is how many slots one connection reads: a blocking read costs Redis for every key at each wake, so that a few
// of this size are cheaper than one of all. It is a multiple of the group, for a Cluster's sake.
const readerSlots = 64

// Tailer reads the wanted slots as they grow. Its methods are safe for concurrent use.
type Tailer struct {
	readers []*reader
}

// NewTailer makes a tailer for sink, which wants no slot yet.
func (c *Client) NewTailer(sink Sink) *Tailer {
	t := &Tailer{}
	boot := fmt.Sprintf("%016x", rand.Uint64())
	for first := 0; first < topic.Slots; first += readerSlots {
		t.readers = append(t.readers, &reader{
			c: c, sink: sink, first: first,
			wakeKey: fmt.Sprintf("ringside:{%d}:wake:%s", first/groupSize, boot),
			kicked:  make(chan struct{}, 1),
			tails:   make(map[int]*tail),
		})
	}
	return t
}

// Run reads until ctx ends. It must be called once.
func (t *Tailer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, r := range t.readers {
		wg.Go(func() { r.run(ctx) })
		wg.Go(func() { r.wakeUp(ctx) })
	}
	wg.Wait()
	return nil
}

// Want says which slots to read: all of slots and no other. It returns at once. A slot that is wanted anew is started anew,
// without waiting for a read that is under way to end.
func (t *Tailer) Want(slots []int) {
	var wanted [topic.Slots]bool
	for _, s := range slots {
		wanted[s] = true
	}
	for _, r := range t.readers {
		r.want(wanted[r.first : r.first+readerSlots])
	}
}

// reader is one connection's share of the slots.
type reader struct {
	// Fixed after NewTailer.
	c       *Client
	sink    Sink
	first   int
	wakeKey string        // a stream of our own among those that are read: an entry ends a blocked read
	kicked  chan struct{} // the wanted slots have changed

	mu     sync.Mutex
	wanted [readerSlots]uint64 // guarded by mu: which want it is, 0 when not wanted
	wants  uint64              // guarded by mu: counts slots that came to be wanted

	// Owned by run.
	tails   map[int]*tail
	wake    position.ID // how far the wake stream was read
	sizes   int         // running mean of the size of payloads, bytes
	failing bool        // the last attempt failed

	// What a read needs, laid out anew when the tails change.
	order []*tail
	byKey map[string]*tail
	keys  []string // of order, and the wake stream
	ids   []string // where each of keys stands
}

// tail is a slot that is read.
type tail struct {
	slot int
	want uint64
	at   position.Position
	lost bool // TailLost was called
}

func (r *reader) want(slots []bool) {
	r.mu.Lock()
	changed := false
	for i, w := range slots {
		switch {
		case w && r.wanted[i] == 0:
			r.wants++
			r.wanted[i] = r.wants
		case !w && r.wanted[i] != 0:
			r.wanted[i] = 0
		default:
			continue
		}
		changed = true
	}
	r.mu.Unlock()
	if changed {
		select {
		case r.kicked <- struct{}{}:
		default:
		}
	}
}

// wakeExpiry is how long a wake stream outlives its reader.
const wakeExpiry = 10 * time.Minute

// wakeUp ends the blocked read whenever the wanted slots change.
func (r *reader) wakeUp(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.kicked:
		}
		select {
		case <-ctx.Done():
			return
		case <-r.c.connected:
		}
		op, cancel := context.WithTimeout(ctx, r.c.cfg.OpTimeout)
		b := r.c.redis.B()
		for _, resp := range r.c.redis.DoMulti(op,
			b.Xadd().Key(r.wakeKey).Maxlen().Almost().Threshold("1").Id("*").FieldValue().FieldValue("wake", "1").Build(),
			b.Pexpire().Key(r.wakeKey).Milliseconds(wakeExpiry.Milliseconds()).Build()) {
			if resp.Error() != nil { // then the read fails as well, and looks at what is wanted before the next
				r.c.metrics.wakeErrors.Add(1)
			}
		}
		cancel()
	}
}

const (
	retryMin = 20 * time.Millisecond
	retryMax = time.Second
)

// run reads, and begins again when the connection is lost.
func (r *reader) run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-r.c.connected:
	}
	delay := retryMin
	for ctx.Err() == nil {
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		r.c.metrics.tailErrors.Add(1)
		for _, t := range r.tails {
			t.lost = true
			r.sink.TailLost(t.slot, err)
		}
		if r.failing {
			delay = min(2*delay, retryMax)
		} else {
			delay = retryMin
		}
		r.failing = true
		select {
		case <-ctx.Done():
		case <-time.After(delay/2 + rand.N(delay)):
		}
	}
}
