package router

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/eventloop"
)

// plainAnswer is what a client gets that speaks HTTP where TLS is spoken.
const plainAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 66\r\n\r\n" +
	`{"error":"not_tls","message":"this port speaks TLS: wss or https"}`

// secure makes the TLS handshake. It reports whether the connection is served; how it went is counted by the bridges.
func (r *Router) secure(c *httpConn, deadline time.Time) bool {
	c.wire = bridge.NewWire(c.Conn, c.ahead)
	c.wire.Watch(c.guest)
	c.ahead = nil
	t, outcome, _ := r.deps.Bridges.Accept(bridge.Client, c.wire, r.deps.TLS, deadline) //nolint:errcheck // it concerns only this client
	switch {
	case outcome == bridge.NotTLS:
		_, _ = c.Conn.Write([]byte(plainAnswer)) // it is gone, or reads it
		c.linger = true
		return false
	case outcome != bridge.OK:
		return false
	}
	c.tls = t
	c.guest.GotOn()
	return c.Conn.SetDeadline(time.Time{}) == nil
}

// take makes a descriptor of the connection, which the HTTP server is done with; see [eventloop.Take].
func (c *httpConn) take(hijacked net.Conn, bridges *bridge.Set) (fd int, early []byte, err error) {
	if c.tls == nil {
		return eventloop.Take(hijacked)
	}
	if early, err = eventloop.Buffered(hijacked); err != nil {
		return -1, nil, err
	}
	c.carried = true
	fd, err = bridges.Add(bridge.Client, c.tls, c.wire)
	return fd, early, err
}

// flags are what a session of this connection is.
func (c *httpConn) flags() flags {
	if c.tls != nil {
		return isTLS
	}
	return 0
}

// secureLeg makes the TLS handshake with a gateway of ours, where legs speak TLS, and puts the secured connection in the place of c.
// On an error c is closed.
func (r *Router) secureLeg(ctx context.Context, c *net.Conn, own bool, deadline time.Time) (*bridge.Wire, dialOutcome, error) {
	if !own || r.deps.LegTLS == nil {
		return nil, dialOK, nil
	}
	wire := bridge.NewWire(*c, nil)
	t, outcome, err := r.deps.Bridges.Connect(ctx, bridge.Leg, wire, r.deps.LegTLS(), deadline)
	if err != nil {
		(*c).Close()
		switch outcome {
		case bridge.Timeout:
			return nil, dialTimeout, err
		case bridge.Aborted:
			return nil, dialReset, err
		default:
			return nil, dialTLS, err
		}
	}
	*c = t
	return wire, dialOK, nil
}

// carry makes a descriptor of a secured connection to a gateway. The connection is the bridge's, or closed.
func carry(bridges *bridge.Set, c net.Conn, wire *bridge.Wire) (int, error) {
	t, ok := c.(*tls.Conn)
	if !ok {
		return -1, errors.New("BUG: router: a wire without TLS")
	}
	return bridges.Add(bridge.Leg, t, wire)
}
