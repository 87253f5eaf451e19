//go:build !linux

package eventloop

import (
	"time"

	"golang.org/x/sys/unix"
)

// setKeepAlive keeps the system's intervals: SO_KEEPALIVE alone is portable.
func setKeepAlive(int, int) error { return nil }

// setUnsent leaves the system's.
func setUnsent(int, int) error { return nil }

// unanswered is known on Linux only; elsewhere the write time-outs of sessions have to do.
func unanswered(int) (owes bool, silent time.Duration) { return false, 0 }

func portLate(int) {}

// Inherits says whether a connection has the options of the listener that has accepted it.
const Inherits = false

// newSocket is a TCP socket, close-on-exec and non-blocking.
func newSocket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
