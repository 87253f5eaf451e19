package eventloop

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a non-blocking connection on a loop. Its owner embeds it by value and hands it to [Loop.Add]; it
// must not be copied or moved from then on. All methods are for the loop's goroutine only.
type Conn struct {
	loop    *Loop
	handler Handler
	port    *portableConn // nil on epoll
	fd      int32
	slot    int32
	debt    Debt
	hangup  bool
	open    bool
}

// Add takes over the non-blocking descriptor fd as c and lets h hear of it from now on. Its first events
// come after the caller has returned to the loop. When Add fails the descriptor is closed.
func (l *Loop) Add(c *Conn, fd int, h Handler) error {
	if c.open {
		panic("BUG: eventloop: a Conn was added twice")
	}
	*c = Conn{loop: l, handler: h, fd: int32(fd), open: true}
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.slot = int32(len(l.conns))
		l.conns = append(l.conns, entry{})
	}
	e := &l.conns[c.slot]
	e.conn = c
	e.gen++
	l.live++
	if err := l.poll.add(c); err != nil {
		c.Close()
		return fmt.Errorf("cannot watch descriptor %d: %w", fd, err)
	}
	return nil
}

// Handle lets h hear of c from now on, in place of who did. What has been reported stays so: h does not hear of it again.
func (c *Conn) Handle(h Handler) { c.handler = h }

// Loop is the loop that c belongs to; nil before [Loop.Add].
func (c *Conn) Loop() *Loop { return c.loop }

// FD is the descriptor, or -1 once c is closed. It stays c's.
func (c *Conn) FD() int {
	if !c.open {
		return -1
	}
	return int(c.fd)
}

// Open reports whether c was added and not yet closed.
func (c *Conn) Open() bool { return c.open }

// Close closes the descriptor and forgets c; the handler hears nothing of it. Closing twice is fine.
func (c *Conn) Close() {
	if !c.open {
		return
	}
	c.forget()
	c.loop.poll.remove(c)
}

// forget takes c out of the loop's table.
func (c *Conn) forget() {
	c.open = false
	e := &c.loop.conns[c.slot]
	e.conn = nil
	c.loop.free = append(c.loop.free, c.slot)
	c.loop.live--
}

// Release forgets c without closing its descriptor, which is the caller's then; the handler hears nothing more. What was
// read or written stays so, and what the system holds for the descriptor stays with it. On an error the descriptor is
// closed.
func (c *Conn) Release() (fd int, err error) {
	if !c.open {
		return -1, io.ErrClosedPipe
	}
	c.forget()
	fd, err = c.loop.poll.release(c)
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("cannot release a descriptor: %w", err)
	}
	return fd, nil
}

// Gone reports whether the peer has answered nothing at all for so long although it owes an acknowledgement; never where the
// system does not tell. It is for [Handler.Sweep] and looks at every eighth, and at who has owed it before. Unlike TCP_USER_TIMEOUT (RFC 5482), which
// on Linux also ends connections to peers that read too slowly to open their window for a whole segment, it is about peers that
// are gone.
func (c *Conn) Gone(now int64, after time.Duration) bool {
	if !c.open || c.debt == 0 && (now>>10+int64(c.fd))&7 != 0 {
		return false
	}
	return c.debt.look(int(c.fd), now) > after
}

// Read reads what there is into p, up to len(p) bytes. drained tells that a next call would only find
// nothing: wait for [Readable] instead. At the peer's end it returns [io.EOF]; with nothing there,
// [ErrAgain]; otherwise the system's error.
func (c *Conn) Read(p []byte) (n int, drained bool, err error) {
	if !c.open {
		return 0, true, io.ErrClosedPipe
	}
	if len(p) == 0 {
		panic("BUG: eventloop: Read into an empty buffer")
	}
	for {
		n, err = rawRead(int(c.fd), p)
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case err == unix.EAGAIN:
		c.rearmRead()
		return 0, true, ErrAgain
	case err != nil:
		return 0, true, err
	case n == 0:
		return 0, true, io.EOF
	}
	// A short read means that the socket is empty, unless the end already stands behind the bytes: its
	// edge has been reported and would not be again.
	if n < len(p) && !c.hangup && c.port == nil {
		return n, true, nil
	}
	return n, false, nil
}

// Write writes as much of p as the socket takes. n < len(p) with a nil error means that it is full; a
// [Writable] event follows when there is room again.
func (c *Conn) Write(p []byte) (n int, err error) {
	if !c.open {
		return 0, io.ErrClosedPipe
	}
	for n < len(p) {
		m, err := rawSend(int(c.fd), p[n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			c.rearmWrite()
			return n, nil
		case err != nil:
			return n, err
		default:
			n += m
		}
	}
	return n, nil
}

// CloseWrite sends the end of our side (FIN); reading goes on.
func (c *Conn) CloseWrite() error {
	if !c.open {
		return io.ErrClosedPipe
	}
	return unix.Shutdown(int(c.fd), unix.SHUT_WR)
}

func (c *Conn) rearmRead() {
	if c.port != nil {
		c.port.armRead()
	}
}

func (c *Conn) rearmWrite() {
	if c.port != nil {
		c.port.armWrite()
	}
}
