package router

import (
	"net/netip"
	"sync"

	"github.com/ringside-edge/ringside/internal/anteroom"
)

// conns are the connections that are no session yet: each has a place, and those of the HTTP server a goroutine, and an end that can be waited for.
type conns struct {
	room *anteroom.Room

	mu    sync.Mutex
	open  map[*httpConn]struct{} // guarded by mu
	ended bool                   // guarded by mu
	wg    sync.WaitGroup         // added to under mu, and not once ended
}

func newConns(cfg anteroom.Config) *conns {
	return &conns{room: anteroom.New(cfg), open: make(map[*httpConn]struct{})}
}

// add serves c on a goroutine of its own, in the place that was reserved. It holds until [conns.remove].
func (s *conns) add(c *httpConn, serve func(*httpConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		c.Conn.Close()
		s.room.Release()
		return
	}
	s.room.Enter(c.guest, anteroom.Of(c.Conn)) // not c's own Close: that is for the goroutine which serves it
	s.serve(c, serve)
}

func (s *conns) serve(c *httpConn, serve func(*httpConn)) {
	s.open[c] = struct{}{}
	s.wg.Add(1)
	go serve(c)
}

// goOn is add for a guest that is in its place already.
func (s *conns) goOn(c *httpConn, serve func(*httpConn)) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !c.guest.Over(anteroom.Of(c.Conn)) {
		return false
	}
	s.serve(c, serve)
	return true
}

func (s *conns) remove(c *httpConn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	c.guest.Leave()
	s.wg.Done()
}

// end closes all connections and waits until nobody works on them any more.
func (s *conns) end() {
	s.mu.Lock()
	s.ended = true
	for c := range s.open {
		c.Conn.Close() // likewise
	}
	s.mu.Unlock()
	s.wg.Wait()
}

//nolint:gochecknoglobals // a descriptor is a constant in all but name
var descTurnedOut = desc("http_connections_closed_total", "Connections that were no session yet and had to go, by reason: crowded, its request was not there in time and others waited for the place; per_ip, too many of its address.", "reason")

// patienceShare is the part of the time for a handshake in which a client that shares the places with too many others has to say what
// it wants.
const patienceShare = 5

// newRoom is the room of a router for connections that are no session yet.
func (c *Config) newRoom() anteroom.Config {
	return anteroom.Config{
		Places: c.HTTPConns, PerAddr: min(c.Admission.PerIPConns, max(1, c.HTTPConns/2)), Patience: c.HandshakeTimeout / patienceShare,
	}
}

// countByAddr counts g as one of its peer's connections, unless many may be behind the peer. It reports whether g may stay.
func (r *Router) countByAddr(g *anteroom.Guest, peer netip.Addr) bool {
	return containsAddr(r.cfg.ProxyProtocolFrom, peer) || containsAddr(r.cfg.TrustedProxies, peer) || containsAddr(r.cfg.Admission.PerIPAllow, peer) ||
		g.CountAs(peer)
}
