package router

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// mover finds gateways for sessions that have to change theirs, and paces it: each gateway gets so many at once and so
// many per second, those whose clients wait first. It is safe for concurrent use.
type mover struct {
	limits  func() (atOnce int, perSecond float64)                         // of each gateway
	targets func(m *move) []*shard                                         // who may take it, the preferred one first
	dial    func(context.Context, *move, *shard) (int, dialOutcome, error) // opens a leg; its descriptor
	failed  func(sh *shard, m *move, outcome dialOutcome, err error)       // is told of each that did not work
	done    func(m *move)                                                  // hands the result back
	now     func() time.Time

	kicked chan struct{}

	mu     sync.Mutex
	queues map[*shard]*moveQueue // guarded by mu; of gateways that have something to do
	parked []*move               // guarded by mu; there was no gateway for them
	ended  bool                  // guarded by mu
	wg     sync.WaitGroup        // dials; added to under mu, and not once ended
}

// moveQueue are the moves to one gateway. It is guarded by the mover's mu.
type moveQueue struct {
	urgent, calm fifo
	underWay     int
	tokens       float64 // of a token bucket
	filled       time.Time
}

const (
	parkLook  = 50 * time.Millisecond // how often parked moves are looked at
	pauseMin  = 50 * time.Millisecond // before gateways that did not take a session are tried again for it
	pauseMax  = time.Second
	moveBurst = 50 * time.Millisecond // what a bucket holds: the tokens of so long
)

func newMover() *mover {
	return &mover{kicked: make(chan struct{}, 1), queues: make(map[*shard]*moveQueue), now: time.Now}
}

// add takes a move on. It returns at once.
func (v *mover) add(m *move) {
	v.mu.Lock()
	v.assign(m)
	v.mu.Unlock()
	v.kick()
}

// kick makes the mover look whether something has become possible.
func (v *mover) kick() {
	select {
	case v.kicked <- struct{}{}:
	default:
	}
}

// run works until ctx ends, and waits for the dials that are under way then. Moves that are left are forgotten.
func (v *mover) run(ctx context.Context) {
	look := time.NewTimer(time.Hour) // only while there is something to look at: an idle router need not wake
	defer look.Stop()
	looking := false
	next := time.NewTimer(time.Hour)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			v.mu.Lock()
			v.ended = true
			v.mu.Unlock()
			v.wg.Wait()
			return
		case <-v.kicked:
		case <-look.C:
			looking = false
			v.unpark(v.now())
		case <-next.C:
		}
		if wait := v.dispatch(ctx, v.now()); wait > 0 {
			next.Reset(wait)
		}
		if !looking && v.busy() {
			looking = true
			look.Reset(parkLook)
		}
	}
}

// busy reports whether there are moves, or were a moment ago.
func (v *mover) busy() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.parked) > 0 || len(v.queues) > 0
}

// assign puts m into the queue of a gateway, or aside when there is none; with mu held.
func (v *mover) assign(m *move) {
	for _, sh := range v.targets(m) {
		if sh == m.from || slices.Contains(m.tried, sh) {
			continue
		}
		q := v.queues[sh]
		if q == nil {
			q = &moveQueue{filled: v.now(), tokens: 1}
			v.queues[sh] = q
		}
		sh.book.held.Add(1)
		if m.urgent() {
			q.urgent.push(m)
		} else {
			q.calm.push(m)
		}
		return
	}
	if m.reason == moveRebalance { // it has a gateway
		v.done(m)
		return
	}
	m.tried = nil
	m.pause = min(max(2*m.pause, pauseMin), pauseMax)
	m.again = v.now().Add(m.pause)
	v.parked = append(v.parked, m)
}

// unpark looks for gateways for those that had none.
func (v *mover) unpark(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	parked := v.parked
	v.parked = nil
	for _, m := range parked {
		switch {
		case m.void.Load():
		case !now.Before(m.until):
			v.done(m)
		case now.Before(m.again):
			v.parked = append(v.parked, m)
		default:
			v.assign(m)
		}
	}
}

// dispatch begins what can be begun and returns how long it takes until more can be; 0 for as long as nothing changes.
func (v *mover) dispatch(ctx context.Context, now time.Time) (wait time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return 0
	}
	atOnce, perSecond := v.limits()
	for sh, q := range v.queues {
		q.fill(now, perSecond)
		for q.underWay < atOnce {
			m := q.next()
			if m == nil {
				break
			}
			switch {
			case m.void.Load():
				q.drop()
				sh.book.held.Add(-1)
				continue
			case !now.Before(m.until):
				q.drop()
				sh.book.held.Add(-1)
				v.done(m)
				continue
			case !sh.alive(now): // what waits for it goes elsewhere
				q.drop()
				sh.book.held.Add(-1)
				v.assign(m)
				continue
			}
			if q.tokens < 1 {
				d := time.Duration(math.Ceil((1 - q.tokens) / perSecond * float64(time.Second)))
				if wait == 0 || d < wait {
					wait = d
				}
				break
			}
			q.tokens--
			q.underWay++
			q.drop()
			v.wg.Add(1)
			go v.open(ctx, m, sh, q)
		}
		if q.underWay == 0 && q.next() == nil && q.tokens >= 1 {
			delete(v.queues, sh)
		}
	}
	return wait
}

// open opens a leg for m.
func (v *mover) open(ctx context.Context, m *move, sh *shard, q *moveQueue) {
	defer v.wg.Done()
	fd, outcome, err := v.dial(ctx, m, sh)
	if outcome == dialOK {
		m.shard, m.fd = sh, fd
		v.done(m)
	} else {
		v.failed(sh, m, outcome, err)
	}
	v.mu.Lock()
	q.underWay--
	sh.book.held.Add(-1) // now it is the session's to count
	if outcome != dialOK {
		m.tried = append(m.tried, sh)
		v.assign(m)
	}
	v.mu.Unlock()
	v.kick()
}

// fill adds the tokens that have come since the last time.
func (q *moveQueue) fill(now time.Time, perSecond float64) {
	most := max(1, perSecond*moveBurst.Seconds())
	q.tokens = min(most, q.tokens+now.Sub(q.filled).Seconds()*perSecond)
	q.filled = now
}

// next is the move whose turn it is; nil for none.
func (q *moveQueue) next() *move {
	if m := q.urgent.first(); m != nil {
		return m
	}
	return q.calm.first()
}

// drop takes it out.
func (q *moveQueue) drop() {
	if q.urgent.first() != nil {
		q.urgent.pop()
		return
	}
	q.calm.pop()
}

// fifo is a queue of moves. The zero fifo is empty.
type fifo struct {
	moves []*move // moves[head:]
	head  int
}

func (f *fifo) push(m *move) { f.moves = append(f.moves, m) }

func (f *fifo) first() *move {
	if f.head == len(f.moves) {
		return nil
	}
	return f.moves[f.head]
}

func (f *fifo) pop() {
	f.moves[f.head] = nil
	if f.head++; f.head == len(f.moves) {
		f.moves, f.head = f.moves[:0], 0
	}
}
