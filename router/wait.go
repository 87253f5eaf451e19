package router

func (s *session) waitsDown() bool { return s.waiting != nil && len(s.waiting.down) > 0 }
func (s *session) waitsUp() bool   { return s.waiting != nil && len(s.waiting.up) > 0 }

// keepDown adds to what waits for the client. What is kept is bounded: nothing is read for a side that waits, so it is
// one read's worth, and the last words of a session that ends.
func (s *session) keepDown(b []byte) {
	if len(b) == 0 {
		return
	}
	if !s.waitsDown() {
		s.begin(toClient).downSince = s.w.now()
	}
	s.waiting.down = append(s.waiting.down, b...)
	s.w.counts.waiting.add(uint64(len(b)))
}

// keepUp is what waits for the upstream from now on.
func (s *session) keepUp(b []byte) {
	if s.waitsUp() {
		s.w.counts.waiting.sub(uint64(len(s.waiting.up)))
		s.w.counts.blocked[toUpstream].sub(1)
		s.waiting.up = nil
	}
	if len(b) > 0 {
		s.begin(toUpstream).upSince = s.w.now()
		s.waiting.up = append([]byte(nil), b...)
		s.w.counts.waiting.add(uint64(len(b)))
	}
	s.settle()
}

func (s *session) begin(to side) *waiting {
	if s.waiting == nil {
		s.waiting = &waiting{}
	}
	s.w.counts.blocked[to].add(1)
	return s.waiting
}

// settle frees what keeps bytes when none are kept.
func (s *session) settle() {
	if s.waiting != nil && len(s.waiting.down) == 0 && len(s.waiting.up) == 0 {
		s.waiting = nil
	}
}

// forget gives up what waits.
func (s *session) forget() {
	if s.waitsDown() {
		s.w.counts.waiting.sub(uint64(len(s.waiting.down)))
		s.w.counts.blocked[toClient].sub(1)
	}
	if s.waitsUp() {
		s.w.counts.waiting.sub(uint64(len(s.waiting.up)))
		s.w.counts.blocked[toUpstream].sub(1)
	}
	s.waiting = nil
}

// flushDown writes what waits for the client. It reports whether the upstream can be read on.
func (s *session) flushDown() bool {
	n, err := s.client.Write(s.waiting.down)
	if err != nil {
		s.close(closeClientError)
		return false
	}
	c := s.w.counts
	c.writes[toClient].add(1)
	c.bytes[toClient].add(uint64(n))
	c.waiting.sub(uint64(n))
	if n > 0 {
		s.moved = s.w.now()
		s.waiting.downSince = s.moved
	}
	if s.waiting.down = s.waiting.down[n:]; len(s.waiting.down) > 0 {
		return false
	}
	s.waiting.down = nil
	c.blocked[toClient].sub(1)
	s.settle()
	if s.has(ending) {
		s.said()
		return false
	}
	return true
}

// flushUp writes what waits for the upstream. It reports whether the client can be read on.
func (s *session) flushUp() bool {
	n, err := s.upstream.Write(s.waiting.up)
	if err != nil {
		s.upstreamIsDeaf()
		return s.client.Open()
	}
	c := s.w.counts
	c.writes[toUpstream].add(1)
	c.bytes[toUpstream].add(uint64(n))
	c.waiting.sub(uint64(n))
	if n > 0 {
		s.moved = s.w.now()
		s.waiting.upSince = s.moved
	}
	if s.waiting.up = s.waiting.up[n:]; len(s.waiting.up) > 0 {
		return false
	}
	s.waiting.up = nil
	c.blocked[toUpstream].sub(1)
	s.settle()
	return true
}
