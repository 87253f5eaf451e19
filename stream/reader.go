package stream

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/position"
)

// reader is one connection's share of the slots, of one kind. A slot whose kind changes goes from one reader to its neighbour, and
// stands still for as long as that takes.
type reader struct {
	// Fixed after NewTailer.
	t       *Tailer
	kind    kind
	first   int    // slots first to first+t.width
	wakeKey string // a stream of our own among those that are read: an entry ends a blocked read
	kicked  chan struct{}
	changed chan struct{} // for a reader that reads nothing at present

	doubt atomic.Bool // the tails have to be placed anew

	mu   sync.Mutex
	conn rueidis.DedicatedClient // guarded by mu; nil when there is none

	// Owned by run.
	done    func() // gives conn back; nil when there is none
	tails   map[int]*tail
	wake    position.ID // how far the wake stream was read
	renewed time.Time   // when the wake stream's expiry was put off last
	sizes   int         // running mean of the size of payloads, bytes
	asked   int         // entries of a slot that the last read took at most
	failing bool        // the last attempt failed
	pace    pace

	last   []string // keys of the slots that the last read brought which brought any; of owned slots
	steady bool     // those were among the ones that the read before that had brought

	// What a read needs, laid out anew when the tails change.
	order []*tail
	byKey map[string]*tail
	keys  []string // of order, and the wake stream
	ids   []string // where each of keys stands
}

func newReader(t *Tailer, first int, k kind) *reader {
	name := map[kind]string{followed: "f", owned: "o"}[k]
	return &reader{
		t: t, kind: k, first: first, wakeKey: tag(first) + "wake:" + t.boot + name,
		kicked: make(chan struct{}, 1), changed: make(chan struct{}, 1), tails: make(map[int]*tail),
		pace: pace{most: t.cfg.Linger},
	}
}

// kick has the reader look at what is wanted.
func (r *reader) kick() {
	note(r.kicked)
	note(r.changed)
}

// note leaves a note in ch, unless there is one.
func note(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// wakeExpiry is how long a wake stream outlives its reader, which renews it in time.
const wakeExpiry = 10 * time.Minute

// wakeUp ends the blocked read whenever the wanted slots change.
func (r *reader) wakeUp(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.kicked:
		}
		c, err := r.t.c.client()
		if err != nil {
			continue
		}
		op, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
		for _, resp := range c.DoMulti(op,
			c.B().Xadd().Key(r.wakeKey).Maxlen().Almost().Threshold("1").Id("*").FieldValue().FieldValue("wake", "1").Build(),
			c.B().Pexpire().Key(r.wakeKey).Milliseconds(r.t.wakeExpiry.Milliseconds()).Build()) {
			if resp.Error() != nil { // then the read fails as well, and looks at what is wanted before the next
				r.t.c.metrics.wakeErrors.Add(1)
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
	case <-r.t.c.connected:
	}
	delay := retryMin
	for ctx.Err() == nil {
		err := explain(r.session(ctx))
		if ctx.Err() != nil {
			break
		}
		r.t.c.metrics.tailErrors.Add(1)
		for _, t := range r.tails {
			r.lose(t, err)
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
	r.acknowledge()
}

func (r *reader) lose(t *tail, err error) {
	t.mu.Lock()
	t.lost = true
	t.mu.Unlock()
	r.t.cfg.Sink.TailLost(t.slot, err)
}

// interrupt ends the read that is under way, if any, and has all tails placed anew.
func (r *reader) interrupt() {
	r.doubt.Store(true)
	note(r.changed)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		r.conn.Close()
	}
}

// session reads over one connection until that fails, which it reports, or ctx ends.
func (r *reader) session(ctx context.Context) error {
	defer func() {
		if r.done != nil {
			r.done()
		}
		r.done = nil
	}()
	r.doubt.Store(false) // they are all placed now
	for ctx.Err() == nil {
		select {
		case <-r.changed: // it is looked at now
		default:
		}
		if err := r.sync(ctx); err != nil {
			return err
		}
		if r.doubt.Load() {
			return errors.New("interrupted: its streams are to be looked at")
		}
		if len(r.tails) == 0 {
			select {
			case <-ctx.Done():
			case <-r.changed:
			}
			continue
		}
		few, err := r.read(ctx, r.conn)
		if err != nil {
			r.conn.Close()
			return err
		}
		r.failing = false
		if few {
			r.linger(ctx)
		}
	}
	return ctx.Err()
}

// open takes a connection, unless there is one, and sees that it is there.
func (r *reader) open(ctx context.Context) error {
	if r.done != nil {
		return nil
	}
	c, err := r.t.c.client()
	if err != nil {
		return err
	}
	conn, release := c.Dedicate()
	r.mu.Lock()
	r.conn = conn
	r.mu.Unlock()
	stop := context.AfterFunc(ctx, conn.Close)
	r.done = func() {
		stop()
		r.mu.Lock()
		r.conn = nil
		r.mu.Unlock()
		release()
	}
	if r.kind == owned {
		err = r.openWake(ctx, conn)
	} else {
		op, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
		defer cancel()
		err = conn.Do(op, conn.B().Xlen().Key(r.wakeKey).Build()).Error() // of a key: in a Cluster it tells which server is meant
	}
	if err != nil {
		conn.Close()
	}
	return err
}

// claims takes the tails that are this reader's to read, and lets go of those that no longer are. It returns those that were let
// go of, and those that have to be placed.
func (r *reader) claims(now time.Time) (gone, fresh []*tail) {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for slot := r.first; slot < r.first+t.width; slot++ {
		k, tl := t.kindOf(slot, now), t.tails[slot]
		if tl != nil && tl.had == r && (k != r.kind || tl.times != t.times[slot]) {
			gone = append(gone, tl)
			delete(r.tails, slot)
			if k == unread || tl.times != t.times[slot] {
				t.tails[slot] = nil
			} else {
				tl.had = nil // not yet the other's: it is kicked once what is to be done here is done
			}
			tl = t.tails[slot]
		}
		if k != r.kind {
			continue
		}
		if tl == nil || tl.had == nil && tl.times != t.times[slot] {
			tl = &tail{slot: slot, times: t.times[slot], lost: true}
			t.tails[slot] = tl
		}
		if tl.had == nil {
			tl.had = r
			r.tails[slot] = tl
			fresh = append(fresh, tl)
		} else if tl.had == r && tl.lost {
			fresh = append(fresh, tl)
		}
	}
	return gone, fresh
}

// sync takes and places the tails that are wanted, and lets go of the others.
func (r *reader) sync(ctx context.Context) error {
	gone, fresh := r.claims(time.Now())
	if err := r.letGo(ctx, gone); err != nil {
		return err
	}
	if len(fresh) > 0 {
		// The connection first: when it breaks later on, the tails are placed anew. What were to happen to the stream between the
		// placing and the connecting nobody would notice.
		if err := r.open(ctx); err != nil {
			return err
		}
		if err := r.start(ctx, fresh); err != nil {
			return err
		}
	}
	if len(gone)+len(fresh) > 0 || r.keys == nil {
		r.layOut()
	}
	return nil
}

// letGo leaves the group of slots that are not owned any more, and tells the neighbour.
func (r *reader) letGo(ctx context.Context, gone []*tail) error {
	if len(gone) == 0 {
		return nil
	}
	var err error
	if r.kind == owned {
		err = r.leaveGroups(ctx, gone)
	}
	for _, other := range r.t.readers[r.first/r.t.width] {
		if other != r {
			other.kick()
		}
	}
	return err
}

// start places tails at their streams' ends, or where they stood, and tells the sink.
func (r *reader) start(ctx context.Context, fresh []*tail) error {
	asked := make([]edgesOf, len(fresh))
	for i, t := range fresh {
		asked[i] = edgesOf{slot: t.slot, head: t.at.ID}
	}
	es, err := r.t.c.edges(ctx, asked)
	if err != nil {
		return err
	}
	for i, t := range fresh {
		was := t.at
		if err := r.place(ctx, t, es[i]); err != nil {
			return err
		}
		if !t.lost && t.at == was {
			continue // it comes from the neighbour
		}
		t.mu.Lock()
		t.lost = false
		t.mu.Unlock()
		r.t.cfg.Sink.TailStarted(t.slot, t.at, t.begin)
	}
	if r.kind == owned {
		return r.joinGroups(ctx, fresh)
	}
	return nil
}

// layOut prepares what every read needs of the tails.
func (r *reader) layOut() {
	r.last, r.steady = nil, false
	r.order = slices.SortedFunc(maps.Values(r.tails), func(a, b *tail) int { return a.slot - b.slot })
	r.keys, r.byKey = nil, make(map[string]*tail, len(r.order))
	for _, t := range r.order {
		k := Key(t.slot)
		r.keys = append(r.keys, k)
		r.byKey[k] = t
	}
	r.keys = append(r.keys, r.wakeKey)
}
