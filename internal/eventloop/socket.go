package eventloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Detach duplicates the descriptor under c, close-on-exec and non-blocking like the original, so that it can
// live on in a loop. Wrappers with an UnsafeConn or NetConn method are seen through. The caller closes or
// abandons c as its owner demands and must not read or write it any more; what a wrapper has buffered is
// the caller's to fetch before.
func Detach(c net.Conn) (fd int, err error) {
	sc, ok := unwrap(c).(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("cannot detach a %T: it has no descriptor", c)
	}
	return Duplicate(sc)
}

// Duplicate is a close-on-exec duplicate of the descriptor under c, which may be a listener.
func Duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("cannot duplicate a descriptor: %w", err)
	}
	var dupErr error
	err = raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, dupErr); err != nil {
		return -1, fmt.Errorf("cannot duplicate a descriptor: %w", err)
	}
	return fd, nil
}

func unwrap(c net.Conn) net.Conn {
	for {
		switch w := c.(type) {
		case interface{ UnsafeConn() net.Conn }:
			c = w.UnsafeConn()
		case interface{ NetConn() net.Conn }:
			c = w.NetConn()
		default:
			return c
		}
	}
}

// CloseFD closes a descriptor that no loop took over.
func CloseFD(fd int) { _ = unix.Close(fd) }

// SocketOptions are what we ask of a TCP socket; a zero field leaves the system's default.
type SocketOptions struct {
	KeepAlive     time.Duration // idle time before the first probe, and between probes; three unanswered end it
	SendBuffer    int           // bytes, SO_SNDBUF
	ReceiveBuffer int           // bytes, SO_RCVBUF
	Unsent        int           // bytes that may wait for the peer's window before the socket counts as full, TCP_NOTSENT_LOWAT; on Linux only
}

// SetOptions applies o to the TCP socket fd, and TCP_NODELAY. On a UNIX socket it does nothing.
func SetOptions(fd int, o SocketOptions) error {
	if sa, err := unix.Getsockname(fd); err == nil {
		if _, ok := sa.(*unix.SockaddrUnix); ok {
			return nil
		}
	}
	return setOptions(fd, o)
}

func setOptions(fd int, o SocketOptions) error {
	set := func(level, opt, v int) error {
		if v == 0 {
			return nil
		}
		return unix.SetsockoptInt(fd, level, opt, v)
	}
	err := errors.Join(
		set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		set(unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer),
		set(unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer),
	)
	if o.Unsent > 0 {
		err = errors.Join(err, setUnsent(fd, o.Unsent))
	}
	if o.KeepAlive > 0 {
		err = errors.Join(err, set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1), setKeepAlive(fd, max(1, int(o.KeepAlive.Seconds()))))
	}
	if err != nil {
		return fmt.Errorf("cannot set socket options: %w", err)
	}
	return nil
}

// ReceiveBuffer is a Control of a dialer or a listener: sockets begin with a receive buffer of so many bytes, which bounds the window
// from the first byte on; 0 leaves the system's, which grows. The sockets that a listener accepts inherit it.
func ReceiveBuffer(bytes int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		if bytes == 0 {
			return nil
		}
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes) }), err)
	}
}

// Listen listens on TCP. Where [Inherits] says so, the sockets that it accepts have the options o, all but what [SetRest] sets. ReceiveBuffer holds from
// the first byte on, also elsewhere.
func Listen(addr string, o SocketOptions) (net.Listener, error) {
	lc := net.ListenConfig{Control: ReceiveBuffer(o.ReceiveBuffer)}
	if Inherits {
		lc.KeepAlive = -1 // Go sets its own on each connection otherwise
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			return errors.Join(c.Control(func(fd uintptr) { err = setOptions(int(fd), o) }), err)
		}
	}
	return lc.Listen(context.Background(), "tcp", addr)
}

// SetRest sets those of the options that a connection does not have from its listener, which is one of [Listen] with the same. On a UNIX socket it does nothing.
func SetRest(fd int, o SocketOptions) error {
	if !Inherits {
		return SetOptions(fd, o)
	}
	if o.Unsent == 0 {
		return nil
	}
	if err := setUnsent(fd, o.Unsent); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("cannot set socket options: %w", err)
	}
	return nil
}

// keepAliveProbes is how many unanswered probes end a connection.
const keepAliveProbes = 3

// Take takes a connection out of an HTTP server's hands, whose handler then only returns: it fetches what the
// server's reader has buffered already and detaches the descriptor. early is what the client sent together
// with its handshake, nil as a rule.
func Take(c net.Conn) (fd int, early []byte, err error) {
	if early, err = Buffered(c); err != nil {
		return -1, nil, err
	}
	if fd, err = Detach(c); err != nil {
		return -1, nil, err
	}
	return fd, early, nil
}

// DescriptorLimit is how many descriptors this process may have; 1024 when the system does not say.
func DescriptorLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, 1<<20))
}

// Find is the connection of type T that c is, or is around. Wrappers are seen through as by [Detach].
func Find[T net.Conn](c net.Conn) (found T, ok bool) {
	for {
		if found, ok = c.(T); ok {
			return found, true
		}
		switch w := c.(type) {
		case interface{ UnsafeConn() net.Conn }:
			c = w.UnsafeConn()
		case interface{ NetConn() net.Conn }:
			c = w.NetConn()
		default:
			return found, false
		}
	}
}

// HasInput reports whether something that c's peer has sent, or its end, waits to be read. It does not block; wrappers are seen through
// as by [Detach].
func HasInput(c net.Conn) (has bool) {
	sc, ok := unwrap(c).(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { has = FDHasInput(int(fd)) }) // fails when it is closed
	return has
}

// FDHasInput is [HasInput] of a descriptor.
func FDHasInput(fd int) bool {
	_, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == nil
}

// Attach is the way back of [Detach]: a connection of Go's netpoller in place of a descriptor that no loop has any more. The descriptor is closed,
// also when it fails. The connection has what Go sets on its own; see [SetOptions].
func Attach(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close() // the connection has a duplicate
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("cannot make a connection of a descriptor: %w", err)
	}
	return c, nil
}

// Abort closes a descriptor that no loop took over, and lets the system forget what has come over it, and who it was.
func Abort(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	CloseFD(fd)
}
