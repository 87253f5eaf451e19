//go:build !linux

package eventloop

import "golang.org/x/sys/unix"

// open sets the loop up; outside Linux it is always portable.
func (l *Loop) open(bool) error {
	l.poll = newPortable(l)
	return nil
}

func rawRead(fd int, p []byte) (int, error) { return unix.Read(fd, p) }

// rawSend writes; a write to a closed peer is an error and no signal, because the Go runtime ignores
// SIGPIPE on descriptors above 2.
func rawSend(fd int, p []byte) (int, error) { return unix.Write(fd, p) }
