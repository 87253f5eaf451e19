package router

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/leg"
)

//nolint:gochecknoglobals // a constant
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// behindBalancer trusts the machine's own connections to begin with a PROXY header.
func behindBalancer(c *Config, _ *Deps) { c.ProxyProtocolFrom = loopback }

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxy2 is a header of version 2: command and family as they are on the wire, then the addresses and what follows them.
func proxy2(command, family byte, body string) string {
	b := append([]byte(proxySignature), 0x20|command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(body)))) + body
}

// addresses are the address block of a header of version 2, for TCP over what family src is of.
func addresses(src string) string {
	a := netip.MustParseAddr(src).AsSlice()
	return string(a) + string(make([]byte, len(a))) + "\x04\xd2\x00\x50"
}

const wsRequest = "GET /t/finals HTTP/1.1\r\nHost: edge.example\r\n" + wsHead + "\r\n"

// TestProxyProtocol looks whose address is told to the gateway when a balancer introduces its client.
func TestProxyProtocol(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, behindBalancer, g)
		f := func(name, header, want, outcome string) {
			t.Helper()
			before := r.value("proxy_headers_total", "outcome="+outcome)
			c := r.connect()
			c.send(header + wsRequest + "early")
			if resp := c.answer(); resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%s: got %s", name, resp.Status)
			}
			s := g.session()
			for _, h := range []string{leg.HeaderClient, "X-Forwarded-For"} {
				if got := s.req.Header.Get(h); got != want {
					t.Errorf("%s: %s: got %q, want %q", name, h, got, want)
				}
			}
			s.want("early")
			s.write(record(leg.Data, "down"))
			c.want("down")
			if got := r.value("proxy_headers_total", "outcome="+outcome) - before; got != 1 {
				t.Errorf("%s: proxy_headers_total{%s}: got %v more, want 1", name, outcome, got)
			}
		}
		f("v1", "PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n", "192.0.2.7", "client")
		f("v1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\n", "2001:db8::7", "client")
		f("v1, of nobody", "PROXY UNKNOWN\r\n", "127.0.0.1", "own")
		f("v2", proxy2(1, 0x11, addresses("192.0.2.7")), "192.0.2.7", "client")
		f("v2, IPv6", proxy2(1, 0x21, addresses("2001:db8::7")), "2001:db8::7", "client")
		f("v2, IPv4 in IPv6", proxy2(1, 0x21, addresses("::ffff:192.0.2.7")), "192.0.2.7", "client")
		f("v2, with an extension", proxy2(1, 0x11, addresses("192.0.2.7")+"\x04\x00\x03abc"), "192.0.2.7", "client")
		f("v2, of the balancer's own", proxy2(0, 0, ""), "127.0.0.1", "own")
		f("v2, its own, with addresses", proxy2(0, 0x11, addresses("192.0.2.7")), "127.0.0.1", "own")
		f("v2, of a UNIX socket", proxy2(1, 0x31, strings.Repeat("x", 216)), "127.0.0.1", "own")
	})
}

// TestBadProxyHeader closes connections of balancers that introduce nobody; a neighbour's session stays.
func TestBadProxyHeader(t *testing.T) {
	g := gateway(t, "g1")
	within := func(d time.Duration) *rig {
		return start(t, false, func(c *Config, deps *Deps) { behindBalancer(c, deps); c.HandshakeTimeout = d }, g)
	}
	r, hasty := within(patience), within(300*time.Millisecond)
	neighbour := r.connect()
	neighbour.send("PROXY TCP4 192.0.2.8 198.51.100.1 1234 80\r\n" + wsRequest)
	neighbour.answer()
	far := g.session()
	total := map[string]float64{}
	f := func(outcome, sent string, end bool) {
		t.Helper()
		r := r
		if outcome == "timeout" {
			r = hasty // of all others: on a busy machine they are too late as well
		}
		c := r.connect()
		_, _ = io.WriteString(c.conn, sent) // it may be closed half way
		if end {
			_ = c.conn.CloseWrite()
		}
		if b, err := io.ReadAll(c.conn); err != nil && !isReset(err) || len(b) > 0 {
			t.Errorf("%q: got %q, %v, want a closed connection", sent, b, err)
		}
		total[outcome]++
		eventually(t, "it is counted as "+outcome, func() bool { return r.value("proxy_headers_total", "outcome="+outcome) == total[outcome] })
	}
	f("missing", wsRequest, false)
	f("missing", "PRINT\r\n"+wsRequest, false)
	f("malformed", "PROXY\r\n", false)
	f("malformed", "PROXY TCP4 192.0.2.7\r\n"+wsRequest, false)
	f("malformed", "PROXY TCP4 nobody 198.51.100.1 1234 80\r\n"+wsRequest, false)
	f("malformed", "PROXY TCP4 "+strings.Repeat("1", 200)+"\r\n", false)
	f("malformed", "PROXY "+strings.Repeat("x", 1<<20), false)
	f("malformed", proxy2(1, 0x11, "short"), false)
	f("malformed", proxy2(7, 0x11, addresses("192.0.2.7")), false)
	f("malformed", proxy2(1, 0x13, addresses("192.0.2.7")), false)
	f("malformed", proxy2(1, 0x11, addresses("192.0.2.7")+strings.Repeat("x", 60000)), false)
	f("timeout", "", false)
	f("timeout", "PRO", false)
	f("timeout", proxy2(1, 0x11, addresses("192.0.2.7"))[:20], false)
	f("aborted", "", true)
	f("aborted", proxy2(1, 0x11, addresses("192.0.2.7"))[:20], true)
	eventually(t, "their places are free", func() bool { return r.value("http_connections")+hasty.value("http_connections") == 0 })
	if got := r.r.Sessions(); got != 1 {
		t.Errorf("sessions: got %d, want the neighbour's", got)
	}
	far.write(record(leg.Data, "still here"))
	neighbour.want("still here")
}

// TestSilentBalancers must not keep others from being accepted.
func TestSilentBalancers(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, behindBalancer, g)
	for range 20 {
		r.connect()
	}
	eventually(t, "they hang", func() bool { return r.value("http_connections") == 20 })
	c := r.connect()
	c.send(proxy2(1, 0x11, addresses("192.0.2.7")) + wsRequest)
	c.answer()
	if got := g.session().req.Header.Get(leg.HeaderClient); got != "192.0.2.7" {
		t.Errorf("got %q", got)
	}
	r.stop() // also while they hang
}

// TestForgedProxyHeader is a bad request when it does not come from a balancer.
func TestForgedProxyHeader(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) {
		c.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	}, g)
	for _, header := range []string{"PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n", proxy2(1, 0x11, addresses("192.0.2.7"))} {
		c := r.connect()
		c.send(header + wsRequest)
		if resp := c.answer(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: got %s, want 400", header, resp.Status)
		}
	}
	if got := r.value("refused_total", "reason="+reasonHTTP); got != 2 {
		t.Errorf("refused_total: got %v, want 2", got)
	}
	if got := r.value("proxy_headers_total"); got != 0 {
		t.Errorf("proxy_headers_total: got %v, want 0", got)
	}
}

// TestIntroducedSessionIsHandedOver goes on in another router, with the connection that a balancer has opened.
func TestIntroducedSessionIsHandedOver(t *testing.T) {
	g := movable(t, "g1")
	old, next := start(t, false, behindBalancer, g), start(t, false, behindBalancer, g)
	c := old.connect()
	c.send(proxy2(1, 0x11, addresses("192.0.2.7")) + wsRequest)
	c.answer()
	f := g.session()
	if err := old.r.HandOver(t.Context(), give(t, next)); err != nil {
		t.Fatal(err)
	}
	c.send("hello")
	f.want("hello")
	if got := next.r.Sessions(); got != 1 {
		t.Errorf("the successor has %d sessions", got)
	}
}

// TestForwardedClient looks whose address counts behind HTTP proxies, and what is passed on.
func TestForwardedClient(t *testing.T) {
	g := gateway(t, "g1")
	f := func(trusted, header, client string) {
		t.Helper()
		r := start(t, false, func(c *Config, _ *Deps) {
			for p := range strings.FieldsSeq(trusted) {
				c.TrustedProxies = append(c.TrustedProxies, netip.MustParsePrefix(p))
			}
		}, g)
		head, chain := wsHead, "127.0.0.1"
		if header != "" {
			head, chain = "X-Forwarded-For: "+header+"\r\n"+wsHead, header+", 127.0.0.1"
		}
		r.open("a", head, "")
		h := g.session().req.Header
		if got := h.Get(leg.HeaderClient); got != client {
			t.Errorf("trusting %q, %q: the client is %q, want %q", trusted, header, got, client)
		}
		if got := h.Get("X-Forwarded-For"); got != chain {
			t.Errorf("trusting %q, %q: passed on %q, want %q", trusted, header, got, chain)
		}
		r.stop()
	}
	f("", "192.0.2.7", "127.0.0.1")
	f("10.0.0.0/8", "192.0.2.7", "127.0.0.1")
	f("127.0.0.0/8", "", "127.0.0.1")
	f("127.0.0.0/8", "192.0.2.7", "192.0.2.7")
	f("127.0.0.0/8", "198.51.100.66, 192.0.2.7", "192.0.2.7")
	f("127.0.0.0/8 10.0.0.0/8", "198.51.100.66, 192.0.2.7, 10.0.0.1", "192.0.2.7")
	f("127.0.0.0/8 10.0.0.0/8", "unknown, 10.0.0.1", "10.0.0.1")
	f("127.0.0.0/8 ::/0", "[2001:db8::7]:443", "2001:db8::7")
}

func TestClientOf(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	f := func(peer, header, want string) {
		t.Helper()
		if got := clientOf(netip.MustParseAddr(peer), []byte(header), trusted); got.String() != want {
			t.Errorf("%s, %q: got %v, want %s", peer, header, got, want)
		}
	}
	f("192.0.2.1", "192.0.2.7", "192.0.2.1")
	f("10.0.0.1", "", "10.0.0.1")
	f("10.0.0.1", "192.0.2.7", "192.0.2.7")
	f("10.0.0.1", "192.0.2.7,10.0.0.2,fd00::1", "192.0.2.7")
	f("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3")
	f("10.0.0.1", " 192.0.2.7\t, 10.0.0.2 ", "192.0.2.7")
	f("10.0.0.1", "192.0.2.7,,10.0.0.2", "10.0.0.2")
	f("10.0.0.1", "192.0.2.7,", "10.0.0.1")
	f("10.0.0.1", ",", "10.0.0.1")
	f("10.0.0.1", "192.0.2.7, unknown", "10.0.0.1")
	f("10.0.0.1", "192.0.2.7, _hidden, 10.0.0.2", "10.0.0.2")
	f("10.0.0.1", "192.0.2.7:4711", "192.0.2.7")
	f("10.0.0.1", "[2001:db8::7]", "2001:db8::7")
	f("10.0.0.1", "[2001:db8::7]:443", "2001:db8::7")
	f("10.0.0.1", "[192.0.2.7]", "10.0.0.1")
	f("10.0.0.1", "::ffff:192.0.2.7", "192.0.2.7")
	f("10.0.0.1", "::ffff:10.0.0.2", "10.0.0.2")
	f("10.0.0.1", "fe80::1%eth0", "fe80::1")
	f("10.0.0.1", "fe80::1%"+strings.Repeat("e", maxHop), "10.0.0.1")
	f("10.0.0.1", "[", "10.0.0.1")
}

func TestAddrOf(t *testing.T) {
	f := func(a net.Addr, want string) {
		t.Helper()
		if got := addrOf(a); got.String() != want {
			t.Errorf("%v: got %v, want %s", a, got, want)
		}
	}
	f(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)}, "192.0.2.7")
	f(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::1")
	f(&net.TCPAddr{}, "0.0.0.0")
	f(&net.UnixAddr{Name: "/run/x"}, "0.0.0.0")
}

// FuzzClientOf holds that nobody but a trusted proxy can name the client, and that whatever is found is one plain address.
func FuzzClientOf(f *testing.F) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, s := range []string{"192.0.2.7", "a, 10.0.0.1", "[fd00::1]:1,10.0.0.1", "::ffff:10.1.1.1,fe80::1%x", ",,", "\"10.0.0.1\""} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, header []byte, fromProxy bool) {
		peer := netip.MustParseAddr("192.0.2.1")
		if fromProxy {
			peer = netip.MustParseAddr("10.0.0.1")
		}
		got := clientOf(peer, header, trusted)
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%q: %v is no plain address", header, got)
		}
		if !fromProxy && got != peer {
			t.Fatalf("%q: %v was believed", header, got)
		}
		// What a client puts in front changes nothing once somebody is known who is not trusted.
		forged := append([]byte("203.0.113.66, "), header...)
		if again := clientOf(peer, forged, trusted); !containsAddr(trusted, got) && len(bytes.TrimSpace(header)) > 0 && again != got {
			t.Fatalf("%q: %v became %v", header, got, again)
		}
	})
}
