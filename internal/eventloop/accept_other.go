//go:build !linux

package eventloop

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Acceptor is for Linux only.
type Acceptor struct{}

// NewAcceptor has none to give.
func NewAcceptor(net.Listener) (a *Acceptor, ok bool, err error) { return nil, false, nil }

// Accept is never called.
func (*Acceptor) Accept() (fd int, peer netip.Addr, err error) {
	return -1, netip.Addr{}, errors.ErrUnsupported
}

// SetDeadline is never called.
func (*Acceptor) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// Close is never called.
func (*Acceptor) Close() error { return errors.ErrUnsupported }
