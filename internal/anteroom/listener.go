package anteroom

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Listener gives out only connections that have a place, for an HTTP server that accepts by itself. What a listener's Accept fails with
// is no reason for it to end, as long as the listener is open: out of descriptors it tries again.
type Listener struct {
	net.Listener
	Room *Room
	// Failed is called when Accept fails and is tried again, first for the first failure in a row.
	Failed func(err error, first bool)

	done chan struct{}
	once sync.Once
}

// NewListener makes ln a listener into a room.
func NewListener(ln net.Listener, room *Room, failed func(err error, first bool)) *Listener {
	return &Listener{Listener: ln, Room: room, Failed: failed, done: make(chan struct{})}
}

// Accept implements net.Listener: it waits for a place, and then for a connection, which is a [Conn].
func (l *Listener) Accept() (net.Conn, error) {
	const least, most = 5 * time.Millisecond, time.Second
	pause := least
	if !l.Room.Reserve(l.done) {
		return nil, net.ErrClosed
	}
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			g := &Conn{Conn: c}
			l.Room.Enter(&g.Guest, Of(c))
			return g, nil
		}
		select {
		case <-l.done:
			l.Room.Release()
			return nil, net.ErrClosed
		default:
		}
		l.Failed(err, pause == least)
		select {
		case <-l.done:
		case <-time.After(pause):
		}
		pause = min(2*pause, most)
	}
}

// Close implements net.Listener. It may be called again.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// Conn is a connection in its place until it is closed.
type Conn struct {
	net.Conn
	Guest

	closed atomic.Bool
}

// NetConn lets the descriptor be found.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.Waits(true)
	n, err := c.Conn.Read(p)
	c.Waits(false)
	return n, err
}

// Close implements net.Conn, and gives the place back. Only the first call counts.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	defer c.Leave()
	return c.Conn.Close()
}
