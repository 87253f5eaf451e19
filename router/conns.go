package router

import (
	"context"
	"sync"
)

// conns are the connections that are no session yet: each has a place, a goroutine, and an end that can be waited for.
type conns struct {
	places chan struct{}

	mu    sync.Mutex
	open  map[*httpConn]struct{} // guarded by mu
	ended bool                   // guarded by mu
	wg    sync.WaitGroup         // added to under mu, and not once ended
}

func newConns(n int) *conns {
	return &conns{places: make(chan struct{}, n), open: make(map[*httpConn]struct{})}
}

// reserve waits for a place and takes it; false when ctx ends first.
func (s *conns) reserve(ctx context.Context) bool {
	select {
	case s.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *conns) release() { <-s.places }

// add serves c on a goroutine of its own, in the place that was reserved. It holds until [conns.remove].
func (s *conns) add(c *httpConn, serve func(*httpConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		c.Conn.Close()
		s.release()
		return
	}
	s.open[c] = struct{}{}
	s.wg.Add(1)
	go serve(c)
}

func (s *conns) remove(c *httpConn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	s.release()
	s.wg.Done()
}

// end closes all connections and waits until nobody works on them any more.
func (s *conns) end() {
	s.mu.Lock()
	s.ended = true
	for c := range s.open {
		c.Conn.Close() // not c's own Close: that is for the goroutine which serves it
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *conns) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}
