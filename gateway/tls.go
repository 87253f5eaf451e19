package gateway

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/eventloop"
)

// complainEvery is how often the log tells of connections that could not be secured.
const complainEvery = 10 * time.Second

// securing is a listener whose connections speak TLS. The handshake is made by who reads first, so that nobody waits for it who
// accepts.
type securing struct {
	net.Listener
	g          *Gateway
	complained atomic.Int64 // Unix ns
}

// Accept implements net.Listener.
func (l *securing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	place, ok := c.(*anteroom.Conn)
	if !ok {
		panic("BUG: gateway: a connection without a place")
	}
	wire := bridge.NewWire(place.Conn, nil)
	wire.Watch(place)
	return &secured{Conn: place, l: l, wire: wire}, nil
}

// secured is a connection over TLS until it is a session's. It belongs to the goroutine that serves it.
type secured struct {
	*anteroom.Conn // without TLS
	l              *securing
	wire           *bridge.Wire
	tls            *tls.Conn // nil before the handshake
	carried        bool      // it is a bridge's
}

// Read implements net.Conn.
func (c *secured) Read(p []byte) (int, error) {
	if c.tls == nil {
		if err := c.shake(); err != nil {
			return 0, err
		}
	}
	return c.tls.Read(p)
}

// shake makes the handshake in the time of one.
func (c *secured) shake() error {
	g := c.l.g
	deadline := time.Now().Add(g.cfg.HandshakeTimeout)
	t, outcome, err := g.deps.Bridges.Accept(bridge.Leg, c.wire, g.deps.TLS, deadline)
	if err == nil {
		c.tls = t
		c.GotOn()
		return c.Conn.SetDeadline(deadline) // of the request
	}
	now, last := time.Now().UnixNano(), c.l.complained.Load()
	if outcome != bridge.Aborted && now-last > int64(complainEvery) && c.l.complained.CompareAndSwap(last, now) {
		g.log.Warn("refused a connection: it has to be a router's, over TLS, with a certificate by the authorities of leg-tls-ca",
			zap.Stringer("from", c.RemoteAddr()), zap.Stringer("reason", outcome), zap.NamedError("cause", err))
	}
	return err
}

// NetConn lets its place be found.
func (c *secured) NetConn() net.Conn { return c.Conn }

// Write implements net.Conn.
func (c *secured) Write(p []byte) (int, error) {
	if c.tls == nil {
		return 0, net.ErrClosed // nothing is said before the handshake
	}
	return c.tls.Write(p)
}

// Close implements net.Conn.
func (c *secured) Close() error {
	switch {
	case c.carried:
		c.Leave()
		return nil
	case c.tls != nil:
		defer c.Conn.Close() // nothing but its place is left
		return c.tls.Close()
	}
	return c.Conn.Close()
}

// take makes a descriptor of a connection, which the HTTP server is done with; see [eventloop.Take].
func (g *Gateway) take(c net.Conn) (fd int, early []byte, err error) {
	s, ok := eventloop.Find[*secured](c)
	if !ok {
		return eventloop.Take(c)
	}
	if early, err = eventloop.Buffered(c); err != nil {
		return -1, nil, err
	}
	s.carried = true
	fd, err = g.deps.Bridges.Add(bridge.Leg, s.tls, s.wire)
	return fd, early, err
}

// secure puts TLS on the listener when it is to have it.
func (g *Gateway) secure() {
	if g.deps.TLS != nil {
		g.ln = &securing{Listener: g.ln, g: g}
	}
}
