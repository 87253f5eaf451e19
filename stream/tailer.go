package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// Sink takes what a [Tailer] reads. Calls for one slot come one after another; those for different slots may come at once. They
// must not block for long: they hold up up to 64 slots.
type Sink interface {
	// TailStarted says that the tail stands at `at`: every entry behind it will come. It is called again after TailLost, and
	// whenever the stream has begun a new epoch, so that positions of the old one are void. An epoch that began while the tail
	// stood is told at its mark, so that all of it follows; begin is the ID of the mark, zero when it is not known.
	TailStarted(slot int, at position.Position, begin position.ID)
	// TailEntries hands over entries in ID order; never none. Those without a topic only move the position on.
	TailEntries(slot int, entries []Entry)
	// TailLost says that nothing is known of the slot until the next TailStarted.
	TailLost(slot int, err error)
}

// TailConfig is how a [Tailer] reads. A zero field takes the default that stands beside it.
type TailConfig struct {
	Shard   string          // whose group reads the owned slots; required when there are any
	Sink    Sink            // required
	Beacon  time.Duration   // 1s: a slot that has been quiet for so long gets a beacon from its owner, for twice as long from others
	Linger  time.Duration   // 0: for so long a read may wait, where entries come one by one and fast, so that it brings several
	Plain   bool            // owned slots are followed by plain reads as well: without groups and acknowledgements
	Members func() []string // the shards there are: groups of others are collected; nil collects none
}

// kind is how a slot is read.
type kind uint8

const (
	unread   kind = iota
	followed      // by plain reads
	owned         // through the shard's consumer group, and acknowledged
)

// Slots that one connection reads: a blocking read costs Redis for every key at each wake, so that a few of this size are cheaper
// than one of all. In a Cluster only keys of one group can be read at once.
const readerSlots = 64

// Tailer reads the wanted slots as they grow. Its methods are safe for concurrent use.
type Tailer struct {
	// Fixed after NewTailer.
	c          *Client
	cfg        TailConfig
	group      string
	boot       string        // names this process: the group's consumer, the wake streams
	width      int           // slots of a reader
	wakeExpiry time.Duration // of the wake streams

	mu        sync.Mutex
	wanted    [topic.Slots]kind      // guarded by mu
	times     [topic.Slots]uint64    // guarded by mu: counts how often a slot came to be wanted
	tails     [topic.Slots]*tail     // guarded by mu: those that some reader has, or has let go of for another
	contested [topic.Slots]time.Time // guarded by mu: until when the slot is only followed, because another process reads as this shard
	readers   [][2]*reader           // by the first slot; followed, owned

	clocks [topic.Slots / groupSize]atomic.Int64 // µs that the clock of the group's server is ahead of ours
}

// NewTailer makes a tailer, which wants no slot yet.
func (c *Client) NewTailer(cfg TailConfig) *Tailer {
	setDefault(&cfg.Beacon, time.Second)
	t := &Tailer{c: c, cfg: cfg, group: groupPrefix + cfg.Shard, boot: fmt.Sprintf("%016x", rand.Uint64()), width: readerSlots, wakeExpiry: wakeExpiry}
	if c.top == cluster {
		t.width = groupSize
	}
	for first := 0; first < topic.Slots; first += t.width {
		t.readers = append(t.readers, [2]*reader{newReader(t, first, followed), newReader(t, first, owned)})
	}
	c.tailer.Store(t)
	return t
}

// Run reads until ctx ends. It must be called once.
func (t *Tailer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, pair := range t.readers {
		for _, r := range pair {
			wg.Go(func() { r.run(ctx) })
			wg.Go(func() { r.wakeUp(ctx) })
		}
	}
	wg.Go(func() { t.watch(ctx) })
	wg.Go(func() { t.collect(ctx) })
	wg.Wait()
	return nil
}

// Want says which slots to read, owned and others: all of these and no other. It returns at once. A slot that is wanted anew is
// started anew, without waiting for a read that is under way to end; one that is wanted in the other way goes on where it stands.
func (t *Tailer) Want(own, follow []int) {
	var want [topic.Slots]kind
	for _, s := range follow {
		want[s] = followed
	}
	for _, s := range own {
		want[s] = owned
	}
	t.mu.Lock()
	changed := make(map[*reader]bool)
	for s, k := range want {
		was := t.wanted[s]
		if was == k {
			continue
		}
		if was == unread {
			t.times[s]++
		}
		t.wanted[s] = k
		for _, r := range t.readers[s/t.width] {
			changed[r] = true
		}
	}
	t.mu.Unlock()
	for r := range changed {
		r.kick()
	}
}

// kindOf is how a slot is to be read at present; with mu held.
func (t *Tailer) kindOf(slot int, now time.Time) kind {
	k := t.wanted[slot]
	if k == owned && (t.cfg.Plain || now.Before(t.contested[slot])) {
		return followed
	}
	return k
}

// contestedFor is how long a slot is only followed after another process was seen to read as this shard.
const contestedFor = 30 * time.Second

// contest has a slot followed for a while: a group that two processes share would split its entries between them. The tail goes
// on where it stands.
func (t *Tailer) contest(slot int, other string) {
	t.mu.Lock()
	t.contested[slot] = time.Now().Add(contestedFor)
	t.mu.Unlock()
	t.c.metrics.contested.Add(1)
	t.c.log.Warn("another process reads as this shard; its slot is followed without the group for a while: do two gateways have one ID?",
		zap.Int("slot", slot), zap.String("shard", t.cfg.Shard), zap.String("consumer", other))
}

// Now is the clock of the server that has the slot, in µs since the UNIX epoch, as well as it is known.
func (t *Tailer) Now(slot int) int64 { return time.Now().UnixMicro() + t.clocks[slot/groupSize].Load() }
