package router

import (
	"github.com/ringside-edge/ringside/internal/eventloop"
)

// worker is one event loop's share of the router. Everything in it belongs to the loop; counts can be read by others.
type worker struct {
	r        *Router
	loop     *eventloop.Loop
	counts   *counts
	sessions []*session
	greeted  map[*greeting]struct{} // by the loop, and not answered yet
	owed     float64                // of a drain: sessions that should have been sent away by now, below one
	read     int                    // bytes that one read takes at most
	spare    []*waiting
	carriers map[*session]carrier // of those that a predecessor's bridge carries; nil as a rule
	feeds    map[uint64]*feed     // by their offers' keys
	asking   map[feedName]*feed   // those whose gateways can be asked for sessions
	out      []byte               // scratch: a handshake that a feed's gateway is asked for
	staged   []*session           // scratch: members of a feed that are about to be written to
	sendings []eventloop.Sending  // what each of them is sent
	rebalancing

	idleTimeout, writeTimeout, grace ticks
}

func newWorker(r *Router, l *eventloop.Loop) *worker {
	return &worker{
		r: r, loop: l, counts: &counts{}, read: readBuffer, feeds: make(map[uint64]*feed), greeted: make(map[*greeting]struct{}), asking: make(map[feedName]*feed),
		idleTimeout: ticksOf(r.cfg.IdleTimeout.Milliseconds()), writeTimeout: ticksOf(r.cfg.WriteTimeout.Milliseconds()),
		grace: ticksOf(closeGrace.Milliseconds()),
	}
}

func (w *worker) now() ticks { return ticksOf(w.loop.Now()) }

// buffer is what one read is read into.
func (w *worker) buffer() []byte { return w.loop.Scratch()[:w.read] }

func (w *worker) add(s *session) {
	s.place = int32(len(w.sessions))
	w.sessions = append(w.sessions, s)
}

func (w *worker) remove(s *session) {
	if _, ok := w.carriers[s]; ok {
		delete(w.carriers, s)
		w.counts.carried.dec()
	}
	last := len(w.sessions) - 1
	w.sessions[s.place] = w.sessions[last]
	w.sessions[s.place].place = s.place
	w.sessions[last] = nil
	w.sessions = w.sessions[:last]
}

// drainSome sends away the worker's share of what has to go in each of so many ticks that are left; in the last one,
// whatever there is, message boundary or not.
func (w *worker) drainSome(ticks int) {
	last := ticks <= 1
	n := 0
	for _, s := range w.sessions {
		if !s.has(leaving | ending) {
			n++
		}
	}
	w.owed += float64(n) / float64(max(1, ticks))
	for i := len(w.sessions) - 1; i >= 0; i-- {
		i = min(i, len(w.sessions)-1) // sessions that are gone at once leave their places to others
		if i < 0 {
			return
		}
		s := w.sessions[i]
		switch {
		case s.has(ending):
		case last:
			s.goAway(closeDrain, w.r.drainDelay())
		case !s.has(leaving) && w.owed >= 1:
			w.owed--
			s.leave()
		}
	}
}

// shutdown ends all sessions at once; clients that can be told are told.
func (w *worker) shutdown() {
	for g := range w.greeted {
		g.undo()
	}
	for len(w.sessions) > 0 {
		s := w.sessions[len(w.sessions)-1]
		s.goAway(closeShutdown, w.r.crashDelay())
		s.close(closeShutdown)
	}
}
