package router

import "slices"

// waiting is what of a session's bytes has no place yet. As long as something waits for the one side, the other is not
// read, so that it is one read's worth for the client, and for a leg that can be moved what [Config.MaxUnacked] allows.
type waiting struct {
	held []byte // of a leg: a record that is not whole yet
	tail []byte // for the client, before down: the rest of an entry of a feed, read only
	down []byte // for the client
	up   []byte // for the upstream. What a leg that can be moved has taken stays until the gateway acknowledges it
	lead int    // bytes at the beginning of up that are ours, not the client's: a resume block
	sent int    // bytes of up that the upstream has taken

	downSince, upSince ticks // when the socket last took something, or the gateway last acknowledged something
}

// load is what of a session waits, to compare with.
type load struct {
	bytes    int
	down, up bool
}

func (s *session) load() (l load) {
	if wt := s.waiting; wt != nil {
		l = load{len(wt.held) + len(wt.tail) + len(wt.down) + len(wt.up), s.waitsDown(), s.waitsUp()}
	}
	return l
}

// settle brings the counts up to date after something that waits has changed, and lets go of what is empty.
func (s *session) settle(was load) {
	now, c := s.load(), s.w.counts
	c.waiting.add(uint64(now.bytes - was.bytes))
	for to, change := range [sides]int{toClient: oneIf(now.down) - oneIf(was.down), toUpstream: oneIf(now.up) - oneIf(was.up)} {
		c.blocked[to].add(uint64(change))
	}
	if now.bytes == 0 && s.waiting != nil {
		s.w.putWaiting(s.waiting)
		s.waiting = nil
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// wait is where things wait.
func (s *session) wait() *waiting {
	if s.waiting == nil {
		s.waiting = s.w.getWaiting()
	}
	return s.waiting
}

func (s *session) waitsDown() bool {
	return s.waiting != nil && len(s.waiting.tail)+len(s.waiting.down) > 0
}

// waitsUp reports that the client must not be read: the upstream has not taken what it sent before, or not acknowledged
// too much of it.
func (s *session) waitsUp() bool {
	wt := s.waiting
	return wt != nil && (len(wt.up) > wt.sent && !s.has(homeless|parked) || len(wt.up) >= s.w.r.cfg.MaxUnacked)
}

// unsent is what the upstream is still to take.
func (s *session) unsent() int {
	if s.waiting == nil {
		return 0
	}
	return len(s.waiting.up) - s.waiting.sent
}

// keepDown adds to what waits for the client.
func (s *session) keepDown(b []byte) {
	if len(b) == 0 {
		return
	}
	was := s.load()
	wt := s.wait()
	if !was.down {
		wt.downSince = s.w.now()
	}
	wt.down = append(wt.down, b...)
	s.settle(was)
}

// keepTail is keepDown for the rest of what is shared, and which is not copied. Nothing may wait for the client yet.
func (s *session) keepTail(b []byte) {
	was := s.load()
	wt := s.wait()
	wt.tail, wt.downSince = b, s.w.now()
	s.settle(was)
}

// hold keeps a record that is not whole yet.
func (s *session) hold(b []byte) {
	if len(b) == 0 && (s.waiting == nil || len(s.waiting.held) == 0) {
		return
	}
	was := s.load()
	wt := s.wait()
	wt.held = append(wt.held[:0], b...)
	s.settle(was)
}

// keepUp adds to what the upstream is to take.
func (s *session) keepUp(b []byte) {
	was := s.load()
	wt := s.wait()
	if !was.up {
		wt.upSince = s.w.now()
	}
	wt.up = append(wt.up, b...)
	s.settle(was)
}

// dropUp gives up what the client has sent.
func (s *session) dropUp() {
	if s.waiting == nil {
		return
	}
	was := s.load()
	s.w.counts.dropped.add(uint64(max(0, s.unsent()-s.waiting.lead)))
	s.waiting.up, s.waiting.lead, s.waiting.sent = nil, 0, 0
	s.settle(was)
}

// acknowledged lets go of n bytes at the beginning of what a leg has taken. It reports whether it has taken as many.
func (s *session) acknowledged(n uint64) bool {
	wt := s.waiting
	if wt == nil || wt.lead > 0 || n > uint64(wt.sent) {
		return false
	}
	was := s.load()
	wt.up = slices.Delete(wt.up, 0, int(n))
	wt.sent -= int(n)
	wt.upSince = s.w.now()
	s.settle(was)
	if was.up && !s.waitsUp() {
		s.later(morePostedUp)
	}
	return true
}

// fromTheStart lets another leg have everything that has not been acknowledged, behind block.
func (s *session) fromTheStart(block []byte) {
	was := s.load()
	wt := s.wait()
	wt.held = nil
	wt.up = slices.Replace(wt.up, 0, wt.lead, block...)
	wt.lead, wt.sent = len(block), 0
	wt.upSince = s.w.now()
	s.settle(was)
}

// forget gives up what waits.
func (s *session) forget() {
	if s.waiting == nil {
		return
	}
	was := s.load()
	*s.waiting = waiting{}
	s.settle(was)
}

// flushDown writes what waits for the client. It reports whether to go on with what comes behind it.
func (s *session) flushDown() bool {
	was, wt, moved := s.load(), s.waiting, false
	for _, b := range []*[]byte{&wt.tail, &wt.down} {
		if len(*b) == 0 {
			continue
		}
		n, ok := s.tell(*b)
		if !ok {
			return false
		}
		moved = moved || n > 0
		if *b = (*b)[n:]; len(*b) > 0 {
			break
		}
		*b = nil
	}
	if moved {
		s.moved = s.w.now()
		wt.downSince = s.moved
	}
	s.settle(was)
	switch {
	case s.waitsDown():
		return false
	case s.has(ending):
		s.said()
		return false
	}
	return true
}

// flushUp writes what the upstream is to take. It reports whether the client can be read on.
func (s *session) flushUp() bool {
	if s.unsent() == 0 || s.has(homeless|parked|upstreamDeaf) {
		return !s.waitsUp()
	}
	n, err := s.upstream.Write(s.waiting.up[s.waiting.sent:])
	if err != nil {
		s.upstreamIsDeaf()
		return false
	}
	s.w.counts.writes[toUpstream].add(1)
	s.w.counts.bytes[toUpstream].add(uint64(n))
	was := s.load()
	if n > 0 {
		s.moved = s.w.now()
		s.waiting.upSince = s.moved
		s.taken(n)
	}
	s.settle(was)
	if s.has(clientEnded) && s.unsent() == 0 {
		s.passEnd()
		return false
	}
	return !s.waitsUp()
}

// taken notes that the upstream has taken n more bytes of up: a leg's stay.
func (s *session) taken(n int) {
	wt := s.waiting
	if s.home == nil {
		if wt.up = wt.up[n:]; len(wt.up) == 0 {
			wt.up = nil
		}
		return
	}
	wt.sent += n
	if ours := min(wt.lead, wt.sent); ours > 0 {
		wt.up = slices.Delete(wt.up, 0, ours)
		wt.lead -= ours
		wt.sent -= ours
	}
}

const (
	spareWaiting = 64      // of a loop: what is kept for the next session that needs it
	spareBytes   = 4 << 10 // of each buffer in it
)

func (w *worker) getWaiting() *waiting {
	n := len(w.spare)
	if n == 0 {
		return &waiting{}
	}
	wt := w.spare[n-1]
	w.spare = w.spare[:n-1]
	return wt
}

func (w *worker) putWaiting(wt *waiting) {
	if len(w.spare) >= spareWaiting || cap(wt.up) > spareBytes || cap(wt.held) > spareBytes {
		return
	}
	*wt = waiting{up: wt.up[:0], held: wt.held[:0]}
	w.spare = append(w.spare, wt)
}
