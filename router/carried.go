package router

import (
	"crypto/rand"
	mathrand "math/rand/v2"
)

// carrierState is who carries the TLS of a session that goes to another process: the descriptors are the successor's then, and the
// bridges stay with the process that has made the handshakes.
type carrierState struct {
	ID   string `json:"id"`             // of the process
	Left ticks  `json:"left,omitempty"` // how long it goes on for the client; 0: the client's end is no bridge's
	Leg  bool   `json:"leg,omitempty"`  // the leg is carried there too
}

// carrier is a predecessor that carries a session's client.
type carrier struct {
	id    string
	until ticks // when it ends
	leave ticks // when the session is sent away, at the latest
}

// newCarrierID is a name of this process that no other has.
func newCarrierID() string { return rand.Text() }

// carried is the state of who carries the session; nil when nobody does.
func (s *session) carried() *carrierState {
	if !s.has(isTLS | isLegTLS) {
		return nil
	}
	r := s.w.r
	st := &carrierState{ID: r.carrierID, Leg: s.has(isLegTLS)}
	switch c, ok := s.w.carriers[s]; {
	case ok: // not by us
		st.ID, st.Left = c.id, max(1, c.until-min(c.until, s.w.now()))
	case s.has(isTLS):
		st.Left = max(1, ticksOf(r.deps.Linger.Milliseconds()))
	}
	return st
}

// carriedBy notes who carries a session that has come from another process: it is sent away before that ends, spread as in a
// drain. Its leg is exchanged for one of our own.
func (s *session) carriedBy(st *carrierState) {
	w := s.w
	if st == nil || st.ID == w.r.carrierID {
		return
	}
	if st.Left > 0 {
		if w.carriers == nil {
			w.carriers = make(map[*session]carrier)
		}
		until := w.now() + st.Left
		spread := min(ticksOf(w.r.cfg.DrainWindow.Milliseconds()), st.Left/2)
		w.counts.carried.add(1)
		w.carriers[s] = carrier{id: st.ID, until: until, leave: until - spread + mathrand.N(spread+1)}
	}
	if st.Leg && s.movable() {
		s.lookForHome(moveTakeover)
	}
}

// outlived reports whether the process that carries the session is about to end.
func (w *worker) outlived(s *session, now ticks) bool {
	if len(w.carriers) == 0 || s.has(leaving|ending) {
		return false
	}
	c, ok := w.carriers[s]
	return ok && now > c.leave
}
