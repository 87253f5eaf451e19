package eventloop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Acceptor takes connections from a TCP listener as descriptors, which a loop can have as they are: Go's own Accept makes of each a
// connection of its netpoller first. It has a duplicate of the listener, which goes on listening until both are closed.
type Acceptor struct {
	file *os.File
	raw  syscall.RawConn
}

// NewAcceptor makes an acceptor for ln; ok is false where the system, or the kind of listener, has none.
func NewAcceptor(ln net.Listener) (a *Acceptor, ok bool, err error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, false, nil
	}
	fd, err := Duplicate(tcp)
	if err != nil {
		return nil, true, err
	}
	a = &Acceptor{file: os.NewFile(uintptr(fd), "listener")} // it is non-blocking, as its original: the netpoller waits for it
	if a.raw, err = a.file.SyscallConn(); err != nil {
		return nil, true, errors.Join(err, a.file.Close())
	}
	return a, true, nil
}

// Accept waits for a connection and returns its descriptor, close-on-exec and non-blocking, and whose it is. Its error is [net.ErrClosed] behind
// Close, and [os.ErrDeadlineExceeded] behind the deadline.
func (a *Acceptor) Accept() (fd int, peer netip.Addr, err error) {
	var from unix.Sockaddr
	var failed error
	err = a.raw.Read(func(ln uintptr) bool {
		for {
			fd, from, failed = unix.Accept4(int(ln), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if failed != unix.EINTR && failed != unix.ECONNABORTED {
				return failed != unix.EAGAIN
			}
		}
	})
	switch {
	case errors.Is(err, os.ErrClosed):
		return -1, netip.Addr{}, net.ErrClosed
	case err != nil:
		return -1, netip.Addr{}, fmt.Errorf("cannot wait for a connection: %w", err)
	case failed != nil:
		return -1, netip.Addr{}, os.NewSyscallError("accept4", failed)
	}
	switch sa := from.(type) {
	case *unix.SockaddrInet4:
		peer = netip.AddrFrom4(sa.Addr)
	case *unix.SockaddrInet6:
		peer = netip.AddrFrom16(sa.Addr).Unmap()
	}
	return fd, peer, nil
}

// SetDeadline has Accept fail from t on; never for the zero time.
func (a *Acceptor) SetDeadline(t time.Time) error { return a.file.SetReadDeadline(t) }

// Close ends Accept, and gives the duplicate back.
func (a *Acceptor) Close() error { return a.file.Close() }
