package admission

import (
	"sync"
	"time"
)

// DoorConfig is how a [Door] is set up. All of it is required but for Limit.Rand.
type DoorConfig struct {
	Limit     GradientConfig
	Queue     int           // handshakes that wait, at most
	QueueTime time.Duration // how long, at most
	Rate      float64       // handshakes per second that are expected before any are counted
}

// Door lets handshakes in up to a limit that follows from how long they take. A short queue in front of it evens out
// bursts: higher classes go first, and within a class the first. Where a higher class finds the queue full, the youngest of the
// lowest class has to leave.
type Door struct {
	cfg DoorConfig

	mu       sync.Mutex
	limit    *Gradient // guarded by mu, as all below
	inFlight int
	queue    [Classes]waiters
	queued   int
	rate     meter
	stats    DoorStats
}

// DoorStats are what a door has counted since it was made, and how it stands.
type DoorStats struct {
	InFlight, Limit, Queued, QueueSize int
	Least                              time.Duration   // latency, 0 while it is not known
	Rate                               float64         // handshakes per second
	Entered                            [Classes]uint64 // let in, at once or from the queue
	Waited                             [Classes]uint64 // put into the queue
	Full                               [Classes]uint64 // refused because the queue was full
	Late                               [Classes]uint64 // refused because they had waited too long
}

// Waiter is a handshake at a door. One is used once.
type Waiter struct {
	// Told is called when the handshake that waits is let in, or has to leave; not with a lock held, and not from
	// [Door.Enter] for the waiter itself.
	Told func(in bool)

	class      Class
	since      time.Time
	waits      bool
	prev, next *Waiter
}

// Verdict is what a door says to a handshake.
type Verdict uint8

// What a door says.
const (
	In    Verdict = iota // begin; [Door.Done] has to follow
	Wait                 // Told will be called, unless Leave is
	Leave                // come back later
)

// NewDoor makes a door with nobody at it.
func NewDoor(cfg DoorConfig) *Door {
	return &Door{cfg: cfg, limit: NewGradient(cfg.Limit), rate: meter{rate: cfg.Rate}}
}

// Enter asks to begin a handshake.
func (d *Door) Enter(now time.Time, class Class, w *Waiter) Verdict {
	v, out := d.enter(now, class, w)
	if out != nil {
		out.Told(false)
	}
	return v
}

func (d *Door) enter(now time.Time, class Class, w *Waiter) (v Verdict, out *Waiter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.class, w.since = class, now
	if d.queued == 0 && d.inFlight < d.limit.Limit() {
		d.begin(class)
		return In, nil
	}
	d.rate.pressed = true
	if d.queued >= d.cfg.Queue {
		if out = d.lowest(class); out == nil {
			d.stats.Full[class]++
			return Leave, nil
		}
		d.stats.Full[out.class]++
		d.remove(out)
	}
	d.queue[class].push(w)
	w.waits = true
	d.queued++
	d.stats.Waited[class]++
	return Wait, out
}

// begin lets one in.
func (d *Door) begin(class Class) {
	d.inFlight++
	d.stats.Entered[class]++
	d.limit.Began(d.inFlight)
}

// lowest is the youngest of the lowest class below class; nil for none.
func (d *Door) lowest(class Class) *Waiter {
	for c := range class {
		if w := d.queue[c].last; w != nil {
			return w
		}
	}
	return nil
}

func (d *Door) remove(w *Waiter) {
	d.queue[w.class].remove(w)
	w.waits = false
	d.queued--
}

// Abandon takes a handshake out of the queue whose time is over, or whose client is gone. It reports false when it does not
// wait any more: then Told has been called, or is about to be.
func (d *Door) Abandon(w *Waiter) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !w.waits {
		return false
	}
	d.remove(w)
	d.stats.Late[w.class]++
	return true
}

// Done tells that a handshake which was let in has ended, and how long it took since. counts is whether that says something
// about the load: an answer does, and so does a time-out, but a gateway that refuses at once does not.
func (d *Door) Done(now time.Time, took time.Duration, counts bool) {
	for _, t := range d.done(now, took, counts) {
		t.w.Told(t.in)
	}
}

type told struct {
	w  *Waiter
	in bool
}

func (d *Door) done(now time.Time, took time.Duration, counts bool) (list []told) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inFlight--
	if counts {
		d.limit.Sample(now, took)
		d.rate.add(now)
	}
	for d.queued > 0 && d.inFlight < d.limit.Limit() {
		w := d.first()
		d.remove(w)
		in := now.Sub(w.since) <= d.cfg.QueueTime
		if in {
			d.begin(w.class)
		} else {
			d.stats.Late[w.class]++
		}
		list = append(list, told{w, in})
	}
	return list
}

// first is the next to be let in.
func (d *Door) first() *Waiter {
	for c := int(Classes) - 1; c >= 0; c-- {
		if w := d.queue[c].first; w != nil {
			return w
		}
	}
	panic("BUG: admission: a queue with nobody in it is not empty")
}

// Rate is how many handshakes per second the door takes when it is pressed, as far as is known.
func (d *Door) Rate(now time.Time) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rate.turn(now)
	return d.rate.rate
}

// Queued is how many wait.
func (d *Door) Queued() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queued
}

// Stats are the counts at present.
func (d *Door) Stats(now time.Time) DoorStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rate.turn(now)
	s := d.stats
	s.InFlight, s.Limit, s.Queued, s.QueueSize = d.inFlight, d.limit.Limit(), d.queued, d.cfg.Queue
	s.Least, s.Rate = d.limit.Least(), d.rate.rate
	return s
}

// waiters are a class's queue, the first at the front.
type waiters struct{ first, last *Waiter }

func (l *waiters) push(w *Waiter) {
	if w.prev = l.last; w.prev == nil {
		l.first = w
	} else {
		w.prev.next = w
	}
	l.last = w
}

func (l *waiters) remove(w *Waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}
