package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// transport carries gossip: UDP and TCP on one port. memberlist's own takes 64 KiB of new memory for each packet that it receives, which was
// most of what a quiet node allocated; this one takes what the packet needs.
type transport struct {
	log     *zap.Logger
	udp     *net.UDPConn
	tcp     *net.TCPListener
	port    int // of both
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	close   func() error // once
	wg      sync.WaitGroup
}

const (
	maxPacket = 64 << 10 // bytes: no UDP packet is larger
	// receiveBuffer is what is asked of the system for packets that wait: a large cluster tells a change all at once.
	receiveBuffer = 2 << 20
	// portTries is how often a port that the system chose for TCP may turn out to be taken for UDP.
	portTries = 10
)

// newTransport listens. A port of 0 lets the system choose one.
func newTransport(bind netip.AddrPort, log *zap.Logger) (t *transport, err error) {
	for range portTries {
		t, err = bindTransport(bind, log)
		if err == nil || bind.Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return t, err
}

func bindTransport(bind netip.AddrPort, log *zap.Logger) (*transport, error) {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(bind))
	if err != nil {
		return nil, err
	}
	port := tcp.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of a TCP listener
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(bind.Addr(), uint16(port))))
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	for size := receiveBuffer; size >= maxPacket && udp.SetReadBuffer(size) != nil; size /= 2 { // else it stays as it is
	}
	t := &transport{log: log, udp: udp, tcp: tcp, port: port, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{})}
	t.close = sync.OnceValue(func() error {
		close(t.done)
		err := errors.Join(tcp.Close(), udp.Close())
		t.wg.Wait()
		return err
	})
	t.wg.Go(t.receive)
	t.wg.Go(t.accept)
	return t, nil
}

// receive hands packets on, one after the other.
func (t *transport) receive() {
	buf := make([]byte, maxPacket)
	for p := (pause{t: t}); ; {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		now := time.Now()
		switch {
		case err != nil:
			if !p.after("cannot receive a packet of gossip", err) {
				return
			}
			continue
		case n == 0: // a message has a byte at least
			continue
		}
		p.over()
		packet := &memberlist.Packet{Buf: bytes.Clone(buf[:n]), Timestamp: now,
			From: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))}
		select {
		case t.packets <- packet:
		case <-t.done:
			return
		}
	}
}

// accept hands connections on.
func (t *transport) accept() {
	for p := (pause{t: t}); ; {
		c, err := t.tcp.Accept()
		if err != nil {
			if !p.after("cannot accept a connection for gossip", err) {
				return
			}
			continue
		}
		p.over()
		select {
		case t.streams <- c:
		case <-t.done:
			_ = c.Close() // nothing has been said on it
			return
		}
	}
}

// pause is how long to wait when the system refuses: longer each time.
type pause struct {
	t    *transport
	last time.Duration
}

// over notes that it works again.
func (p *pause) over() { p.last = 0 }

// after waits behind an error. It returns false when the transport is closed.
func (p *pause) after(what string, err error) bool {
	const least, most = 5 * time.Millisecond, time.Second
	if p.last == 0 && !errors.Is(err, net.ErrClosed) {
		p.t.log.Warn(what, zap.Error(err))
	}
	p.last = max(least, min(2*p.last, most))
	select {
	case <-p.t.done:
		return false
	case <-time.After(p.last):
		return true
	}
}

// FinalAdvertiseAddr implements memberlist.Transport. The address is a number: see Config.addresses.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("the address to advertise: %w", err)
	}
	return net.IP(addr.AsSlice()), port, nil
}

// WriteTo implements memberlist.Transport. The address is a number: names are resolved before they are joined.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return (&net.Dialer{Timeout: timeout}).Dial("tcp", addr)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements memberlist.Transport. It may be called more than once.
func (t *transport) Shutdown() error { return t.close() }
