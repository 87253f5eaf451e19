package eventloop

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Connect begins a TCP connection and does not wait for it: hand the descriptor to [Loop.Add], and ask [Conn.Connected] at its first
// event. from is the address to come from; the zero Addr leaves that to the system.
func Connect(to netip.AddrPort, from netip.Addr) (fd int, err error) {
	return ConnectWith(to, from, SocketOptions{})
}

// ConnectWith is [Connect] with socket options, which hold from the first byte on.
func ConnectWith(to netip.AddrPort, from netip.Addr, o SocketOptions) (fd int, err error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	if fd, err = newSocket(family); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err = begin(fd, to, from, o); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func begin(fd int, to netip.AddrPort, from netip.Addr, o SocketOptions) error {
	if err := setOptions(fd, o); err != nil {
		return err
	}
	if from.IsValid() {
		if from.Is4() != to.Addr().Is4() {
			return fmt.Errorf("cannot reach %v from %v", to, from)
		}
		portLate(fd)
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// Connected is what became of a connection that [Connect] began, once c has had an event: nil when it stands.
func (c *Conn) Connected() error {
	if !c.open {
		return os.ErrClosed
	}
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// RaiseDescriptorLimit lets this process have as many descriptors as it may, and returns how many that is.
func RaiseDescriptorLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil && r.Cur < r.Max {
		r.Cur = r.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &r) // what is left is told
	}
	return DescriptorLimit()
}

// SendNow writes p to a connection that [Connect] has begun, before a loop has it. It does not wait: n is 0 where the connection does not stand yet.
func SendNow(fd int, p []byte) (n int, err error) {
	n, err = rawSend(fd, p)
	if err == unix.EAGAIN || err == unix.EINTR || err == unix.ENOTCONN {
		return 0, nil
	}
	if err != nil {
		return 0, os.NewSyscallError("send", err)
	}
	return n, nil
}
