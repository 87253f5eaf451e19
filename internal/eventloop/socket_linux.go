package eventloop

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func setKeepAlive(fd, seconds int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes),
	)
}

func setUnsent(fd, bytes int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
}

// unanswered asks for TCP_INFO. It is called for every session again and again, and x/sys takes new memory for each answer.
func unanswered(fd int) (owes bool, silent time.Duration) {
	var info unix.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0) // does not block
	if errno != 0 || info.Unacked == 0 && info.Probes == 0 { // nothing is on its way, nor is a shut window probed
		return false, 0
	}
	return true, time.Duration(info.Last_ack_recv) * time.Millisecond
}

// portLate lets the system choose the port of a bound socket when it connects: then only the pair of addresses must be unique, and an address
// has all of its ports for every peer.
func portLate(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) }

// Inherits says whether a connection has the options of the listener that has accepted it.
const Inherits = true

// newSocket is a TCP socket, close-on-exec and non-blocking.
func newSocket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}
