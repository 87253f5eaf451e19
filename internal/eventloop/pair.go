package eventloop

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Pair makes two ends of a local stream: a descriptor for a loop, close-on-exec and non-blocking, and a connection for
// goroutines. buffer is what either direction may hold in the system, in bytes; 0 for its default. The caller closes both.
func Pair(buffer int) (fd int, far *net.UnixConn, err error) {
	fds, err := socketPair()
	if err != nil {
		return -1, nil, fmt.Errorf("cannot make a pair of sockets: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fds[0])
			fd = -1
		}
	}()
	if buffer > 0 {
		for _, end := range fds {
			if err = unix.SetsockoptInt(end, unix.SOL_SOCKET, unix.SO_SNDBUF, buffer); err != nil {
				CloseFD(fds[1])
				return -1, nil, fmt.Errorf("cannot bound a pair of sockets: %w", err)
			}
		}
	}
	c, err := Attach(fds[1])
	if err != nil {
		return -1, nil, fmt.Errorf("cannot use a pair of sockets: %w", err)
	}
	far, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return -1, nil, fmt.Errorf("BUG: eventloop: a pair of sockets is a %T", c)
	}
	return fds[0], far, nil
}

// PeerGone reports whether nobody holds the other end of a local stream any more. Bytes may still be there to read.
func PeerGone(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) { gone = hungUp(int(fd)) })
	return gone || err != nil
}

// PeerGone reports whether c is one end of a local stream whose other end nobody holds any more.
func (c *Conn) PeerGone() bool { return c.open && hungUp(int(c.fd)) }

func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	_, _ = unix.Poll(p, 0) // it says nothing then
	return p[0].Revents&unix.POLLHUP != 0
}

// Unanswered is for how long the peer of a TCP connection has answered nothing at all although it owes an acknowledgement,
// as in [Conn.Gone]; 0 where the system does not tell. It counts from the first call that finds it so: d is the connection's own.
func (d *Debt) Unanswered(c syscall.Conn, now time.Time) (age time.Duration) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { age = d.look(int(fd), now.UnixMilli()) }) // a closed one owes nothing
	}
	return age
}

// SetConnOptions is [SetOptions] for a connection that is no loop's.
func SetConnOptions(c syscall.Conn, o SocketOptions) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot set socket options: %w", err)
	}
	var setErr error
	err = raw.Control(func(fd uintptr) { setErr = SetOptions(int(fd), o) })
	return errors.Join(err, setErr)
}

// Buffered takes what a server's reader has buffered of a connection already, which its handler then gives up. Reads of c fail
// from then on, until it gets another deadline.
func Buffered(c net.Conn) ([]byte, error) {
	// With a deadline in the past, reads give what is in the buffer and then fail.
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, fmt.Errorf("cannot take a connection over: %w", err)
	}
	var got []byte
	var buf [512]byte
	for {
		n, err := c.Read(buf[:])
		got = append(got, buf[:n]...)
		if err != nil {
			return got, nil //nolint:nilerr // that is how it is known that nothing is left
		}
	}
}
