// Package eventloop runs sessions as descriptors instead of goroutines: one goroutine per [Loop] waits for
// readiness of all its connections and calls their handlers, so that an idle connection costs a table entry
// and no stack, no buffer.
//
// On Linux the loop sits on an edge-triggered epoll descriptor that is itself waited for in Go's netpoller:
// an idle loop blocks no thread and a busy one makes no futile system call. Elsewhere, and with
// [Config.Portable], goroutines wait per connection and the loop is merely where handlers run; it is meant
// for development and for holding both to the same tests, not for load.
//
// # Ownership
//
// A loop alone touches its connections. Whoever else wants something of one leaves a [Note] ([Loop.Post]),
// which runs on the loop; only the first note of an idle loop wakes it.
//
// The package does not know what travels over a connection, dials nothing and accepts nothing: descriptors
// come from [Detach].
package eventloop

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// ErrAgain means that there is nothing to read now; a [Readable] event follows when there is.
var ErrAgain = errors.New("eventloop: would block")

// Event is a set of what has become possible on a connection.
type Event uint8

// The events.
const (
	Readable Event = 1 << iota // bytes, the end, or an error can be read
	Writable                   // the socket takes bytes again
	Hangup                     // the peer has closed its side or the connection has failed; a read tells which
)

// Handler is what a connection's owner gets to hear. All its methods run on the loop's goroutine and must
// not block.
type Handler interface {
	// Ready reports events, edge-triggered: after Readable the handler reads until [Conn.Read] says that
	// the socket is drained, or remembers to go on by itself later. Events may be spurious.
	Ready(c *Conn, ev Event)
	// Sweep is called about once a second for every connection, for time-outs and heartbeats. now is
	// [Loop.Now].
	Sweep(c *Conn, now int64)
}

// Note is work that another goroutine leaves for the loop. Run is called on the loop and must not block.
// A pointer type costs no allocation.
type Note interface{ Run() }

// NoteFunc is a [Note] of a plain function.
type NoteFunc func()

// Run calls f.
func (f NoteFunc) Run() { f() }

// Config is how a loop is set up. The zero Config is ready to use.
type Config struct {
	Portable   bool // goroutines in place of epoll; always so outside Linux
	NoRing     bool // [Loop.SendAll] writes one by one, and not by io_uring; always so outside Linux, and where Portable is set
	BufferSize int  // bytes of [Loop.Scratch]; 64 KiB when 0
}

const (
	defaultBuffer = 64 << 10
	sweepSlices   = 16 // a sweep is done in slices, so that it never holds the loop up for long
	sweepTick     = time.Second / sweepSlices
)

// Loop is one event loop. Post may be called from any goroutine; everything else, where not said otherwise,
// only on the loop itself, that is from handlers and notes.
type Loop struct {
	// Fixed after New.
	poll    poller
	start   time.Time
	ring    *ring // nil where there is none
	ringErr error // why not

	// Owned by the loop.
	scratch   []byte
	conns     []entry
	free      []int32
	live      int
	now       int64 // ms since start, read once a turn
	sweepAt   int   // next entry to sweep
	nextSweep time.Duration
	batch     []Note // the notes being worked off; swapped with notes

	sleeping atomic.Bool // the loop waits, or is about to: a poster must wake it

	mu    sync.Mutex
	notes []Note // guarded by mu
	ended bool   // guarded by mu
}

// entry is a place in the table of connections. The generation tells an event of the present connection
// from one that was fetched before its predecessor was closed.
type entry struct {
	conn *Conn
	gen  uint32
}

// poller waits for readiness. Only wake may be called from outside the loop.
type poller interface {
	add(c *Conn) error
	remove(c *Conn)                      // closes the descriptor
	release(c *Conn) (fd int, err error) // forgets it, and leaves it open
	// wait blocks until there are events, or wake, or until, which counts from Loop.start. It takes
	// back l.sleeping and then hands the events to l.dispatch.
	wait(l *Loop, until time.Duration)
	pending(l *Loop) // hands out what is ready without blocking
	wake()
	close()
}

// New makes a loop. It runs nothing until [Loop.Run]; a loop that is never run must be run with an ended
// context to free its descriptors.
func New(cfg Config) (*Loop, error) {
	if cfg.BufferSize == 0 {
		cfg.BufferSize = defaultBuffer
	}
	l := &Loop{scratch: make([]byte, cfg.BufferSize), start: time.Now(), nextSweep: sweepTick}
	if err := l.open(cfg.Portable); err != nil {
		return nil, fmt.Errorf("cannot open an event loop: %w", err)
	}
	if cfg.Portable || cfg.NoRing {
		l.ringErr = errNoRing
	} else {
		l.ring, l.ringErr = newRing()
	}
	return l, nil
}

// errNoRing means that io_uring is not wanted.
var errNoRing = errors.New("eventloop: it is switched off")

// Run works until ctx ends, then closes all connections that are still there, without calling their
// handlers, and returns nil. It must be called once.
func (l *Loop) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		if l.sleeping.CompareAndSwap(true, false) {
			l.poll.wake()
		}
	})
	defer stop()
	for ctx.Err() == nil {
		l.tick()
		l.runNotes()
		l.sleeping.Store(true)
		if !l.hasNotes() && ctx.Err() == nil {
			l.poll.wait(l, l.nextSweep)
			continue
		}
		l.sleeping.Store(false)
		l.poll.pending(l)
		// Let the goroutines that feed this loop run before the next turn: with few cores they would
		// otherwise wait for a preemption.
		runtime.Gosched()
	}
	l.end()
	return nil
}

// Post leaves n for the loop and reports whether the loop will run it: it won't once it has ended. Safe for
// concurrent use; notes of one goroutine run in the order in which they were left.
func (l *Loop) Post(n Note) bool {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.notes = append(l.notes, n)
	l.mu.Unlock()
	if l.sleeping.CompareAndSwap(true, false) {
		l.poll.wake()
	}
	return true
}

// Now is the loop's clock: milliseconds since the loop was made, monotonic, read once a turn. On the loop
// only.
func (l *Loop) Now() int64 { return l.now }

// Scratch is a buffer that all handlers of the loop share; what is in it is gone when the handler returns.
// On the loop only.
func (l *Loop) Scratch() []byte { return l.scratch }

// Len is the number of connections. On the loop only.
func (l *Loop) Len() int { return l.live }

// Each calls f for every connection; f may close it. On the loop only.
func (l *Loop) Each(f func(c *Conn)) {
	for i := 0; i < len(l.conns); i++ {
		if c := l.conns[i].conn; c != nil {
			f(c)
		}
	}
}

func (l *Loop) hasNotes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.notes) > 0
}

func (l *Loop) runNotes() {
	l.mu.Lock()
	l.batch, l.notes = l.notes, l.batch[:0]
	l.mu.Unlock()
	for i, n := range l.batch {
		n.Run()
		l.batch[i] = nil
	}
}

func (l *Loop) tick() {
	since := time.Since(l.start)
	l.now = since.Milliseconds()
	if since < l.nextSweep {
		return
	}
	l.nextSweep = since + sweepTick
	l.sweepSlice()
}

func (l *Loop) sweepSlice() {
	n := (len(l.conns) + sweepSlices - 1) / sweepSlices
	for ; n > 0; n-- {
		if l.sweepAt >= len(l.conns) {
			l.sweepAt = 0
		}
		if c := l.conns[l.sweepAt].conn; c != nil {
			c.handler.Sweep(c, l.now)
		}
		l.sweepAt++
	}
}

func (l *Loop) dispatch(slot int32, gen uint32, ev Event) {
	if int(slot) >= len(l.conns) {
		return
	}
	e := &l.conns[slot]
	if e.conn == nil || e.gen != gen {
		return
	}
	if ev&Hangup != 0 {
		e.conn.hangup = true
	}
	e.conn.handler.Ready(e.conn, ev)
}

func (l *Loop) end() {
	l.mu.Lock()
	l.ended = true
	l.notes = nil
	l.mu.Unlock()
	l.Each((*Conn).Close)
	l.poll.close()
	if l.ring != nil {
		l.ring.close()
	}
}
