package router

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// proxyOutcome says how a connection began that had to begin with a header of the PROXY protocol.
type proxyOutcome uint8

const (
	proxyClient    proxyOutcome = iota // it names the client
	proxyOwn                           // it names nobody (LOCAL, UNKNOWN): the balancer speaks for itself
	proxyMissing                       // something else came
	proxyMalformed                     // it is not understood, or too large
	proxyTimeout                       // it did not come in time
	proxyAborted                       // the connection ended before: a balancer that looks whether somebody listens, as a rule
	proxyOutcomes
)

func (o proxyOutcome) String() string {
	return [proxyOutcomes]string{"client", "own", "missing", "malformed", "timeout", "aborted"}[o]
}

//nolint:gochecknoglobals // a constant
var descProxy = prometheus.NewDesc("ringside_router_proxy_headers_total",
	"Connections from balancers that speak the PROXY protocol, by how they began; all but client and own were closed.",
	[]string{"outcome"}, nil)

// proxyBuffer is what is read of a connection at once while its PROXY header is looked for, in bytes: a whole one with
// the extensions that balancers add. The library refuses headers above 4 KiB.
const proxyBuffer = 512

// complainEvery is how often the log says that a balancer's connections are refused.
const complainEvery = time.Minute

// addrOf is the address of a socket's peer; 0.0.0.0 where there is none.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return plain(tcp.AddrPort().Addr())
	}
	return netip.IPv4Unspecified()
}

// plain is an address in the one form that is compared and shown: IPv4 as such, and no zone.
func plain(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.IsValid() {
		return a
	}
	return netip.IPv4Unspecified()
}

func containsAddr(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// introduce finds out who is at the other end of c, before the first byte of a request. From a balancer that speaks the PROXY
// protocol it waits for the header. It reports whether the connection is served.
func (r *Router) introduce(c *httpConn, deadline time.Time) bool {
	c.peer = addrOf(c.RemoteAddr())
	if !containsAddr(r.cfg.ProxyProtocolFrom, c.peer) {
		return true
	}
	outcome, err := c.readProxyHeader(deadline)
	r.metrics.proxied[outcome].Add(1)
	if outcome <= proxyOwn {
		return true
	}
	now, last := time.Now(), r.complained.Load()
	if outcome != proxyAborted && now.UnixNano()-last > int64(complainEvery) && r.complained.CompareAndSwap(last, now.UnixNano()) {
		r.log.Warn("refused a connection of a balancer: it must begin with a PROXY protocol header",
			zap.Stringer("from", c.peer), zap.Stringer("reason", outcome), zap.NamedError("cause", err))
	}
	return false
}

// readProxyHeader takes the header off the connection and sets the peer that it names. What came behind it is kept for
// Read.
func (c *httpConn) readProxyHeader(deadline time.Time) (proxyOutcome, error) {
	_ = c.Conn.SetReadDeadline(deadline) // a closed connection is found by the read
	b := bufio.NewReaderSize(c.Conn, proxyBuffer)
	c.guest.Waits(true)
	h, err := proxyproto.Read(b)
	c.guest.Waits(false)
	if err == nil {
		err = c.Conn.SetReadDeadline(time.Time{})
	}
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		return proxyTimeout, err
	case errors.Is(err, proxyproto.ErrNoProxyProtocol) && b.Buffered() > 0:
		return proxyMissing, err
	case errors.Is(err, proxyproto.ErrNoProxyProtocol), isBroken(err):
		return proxyAborted, err
	default:
		return proxyMalformed, err
	}
	c.guest.GotOn()
	if n := b.Buffered(); n > 0 {
		c.ahead = make([]byte, n)
		_, _ = io.ReadFull(b, c.ahead) // they are there
	}
	if src, ok := h.SourceAddr.(*net.TCPAddr); ok && !h.Command.IsLocal() {
		c.peer = addrOf(src)
		return proxyClient, nil
	}
	return proxyOwn, nil // also for datagrams and UNIX sockets: there is no address to go by
}

// isBroken reports whether a read failed for the connection's sake.
func isBroken(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op)
}

// maxHop bounds an element of X-Forwarded-For in bytes: the longest address with a zone and a port is shorter.
const maxHop = 96

// clientOf is the client's address: that of the connection, or, when that is a trusted proxy's, the right-most one in
// X-Forwarded-For that is not. Something that is no address ends the walk: who wrote it is the client then.
func clientOf(peer netip.Addr, forwardedFor []byte, trusted []netip.Prefix) netip.Addr {
	for len(forwardedFor) > 0 && containsAddr(trusted, peer) {
		i := bytes.LastIndexByte(forwardedFor, ',')
		a, ok := parseHop(bytes.Trim(forwardedFor[i+1:], " \t"))
		if !ok {
			break
		}
		peer = a
		forwardedFor = forwardedFor[:max(i, 0)]
	}
	return peer
}

// parseHop reads an element of X-Forwarded-For: an address, also with a port or in brackets, as some proxies write it.
func parseHop(e []byte) (netip.Addr, bool) {
	if len(e) == 0 || len(e) > maxHop {
		return netip.Addr{}, false
	}
	s := string(e)
	if a, err := netip.ParseAddr(s); err == nil {
		return plain(a), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return plain(ap.Addr()), true
	}
	if s[0] == '[' && s[len(s)-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil && a.Is6() {
			return plain(a), true
		}
	}
	return netip.Addr{}, false
}
