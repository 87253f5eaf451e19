package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/leg"
)

// flood connects n times from as many addresses, and says the same on each.
func (r *rig) flood(n int, say string) (conns []net.Conn) {
	r.t.Helper()
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, byte(i>>8), byte(i)|1)}, Timeout: patience}
		c, err := d.Dial("tcp", r.r.Addr())
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, say); err != nil {
			continue // it had to make room already
		}
		conns = append(conns, c)
	}
	return conns
}

// beginning is what a client says that goes on to nothing.
type beginning struct {
	say  string
	tls  bool   // to a router that speaks TLS
	from string // what stands before the request of an honest client, of a balancer
}

// beginnings are what comes before a request, and does not end.
func beginnings() map[string]beginning {
	const balancer = "PROXY TCP4 192.0.2.8 198.51.100.1 1234 80\r\n"
	return map[string]beginning{
		"silent":                   {},
		"half a request":           {say: "GET /t/a HTTP/1.1\r\nHost: x\r\nX: "},
		"a preflight, and no more": {say: "OPTIONS /t/a HTTP/1.1\r\nHost: x\r\nOrigin: https://shop.example\r\nAccess-Control-Request-Method: GET\r\n\r\n"},
		"silent, where TLS is":     {tls: true},
		"half a ClientHello":       {say: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", tls: true},
		"silent, as a balancer":    {from: balancer},
		"half a PROXY header":      {say: "PRO", from: balancer}, // more of version 1 without its end is refused at once,
		"half a binary one":        {say: proxy2(1, 0x11, addresses("192.0.2.7"))[:20], from: balancer},
		"a PROXY header, no more":  {say: "PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n", from: balancer},
		"PROXY header, half a TLS": {say: "PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n\x16\x03", tls: true, from: balancer},
	}
}

// TestBeginningsWithoutEnd floods a router with connections that never come to a request, several times more than there are places and each
// from an address of its own: others get in, no session notices, and those who made room are counted.
func TestBeginningsWithoutEnd(t *testing.T) {
	const places = 8
	for name, b := range beginnings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, g := newSecured(t, bridge.Config{}), gateway(t, "g1")
			r := start(t, false, func(c *Config, d *Deps) {
				if b.tls {
					s.on(c, d)
				}
				if b.from != "" {
					c.ProxyProtocolFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
				c.HTTPConns, c.HandshakeTimeout = places, 2500*time.Millisecond
			}, g)
			enter := func(topic string) io.ReadWriter {
				c := r.connect()
				c.send(b.from)
				if b.tls {
					conn := s.secure(c)
					write(t, conn, "GET /t/"+topic+" HTTP/1.1\r\nHost: edge.example\r\n"+wsHead+"\r\n")
				} else {
					c.send("GET /t/" + topic + " HTTP/1.1\r\nHost: edge.example\r\n" + wsHead + "\r\n")
				}
				if resp := c.answer(); resp.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("got %s", resp.Status)
				}
				return struct {
					io.Reader
					io.Writer
				}{c.r, c.conn}
			}
			neighbour := enter("a")
			far := g.session()
			r.flood(4*places, b.say)
			eventually(t, "some made room", func() bool { return r.value("http_connections_closed_total", "reason=crowded") >= places })
			enter("b")
			far.write(record(leg.Data, "still here"))
			got := make([]byte, len("still here"))
			if _, err := io.ReadFull(neighbour, got); err != nil || string(got) != "still here" {
				t.Errorf("the neighbour got %q, %v", got, err)
			}
			if n := r.value("http_connections"); n > places {
				t.Errorf("%v connections, want %d at most", n, places)
			}
		})
	}
}

// TestConnectionsOfAnAddress are bounded, by the address that a balancer names where there is one; those of proxies, behind which many
// are, are not, nor those of addresses that are not limited.
func TestConnectionsOfAnAddress(t *testing.T) {
	const bound = 3
	f := func(name string, say func(i int) string, want int, change func(*Config, *Deps)) {
		t.Helper()
		r := start(t, false, func(c *Config, d *Deps) {
			c.HTTPConns, c.Admission.PerIPConns, c.HandshakeTimeout = 100, bound, time.Hour
			change(c, d)
		}, gateway(t, "g1"))
		for i := range 10 {
			c, err := net.Dial("tcp", r.r.Addr())
			if err != nil && !isReset(err) {
				t.Fatal(err)
			}
			if err == nil {
				t.Cleanup(func() { c.Close() })
				_, _ = io.WriteString(c, say(i)) // it may be closed already
			}
		}
		eventually(t, fmt.Sprintf("%s: %d stay", name, want), func() bool {
			return int(r.value("http_connections")) == want && int(r.value("http_connections_closed_total", "reason=per_ip")) == 10-want
		})
		r.stop()
	}
	one := func(int) string { return "GET " }
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	f("one address", one, bound, func(*Config, *Deps) {})
	f("not limited", one, 10, func(c *Config, _ *Deps) { c.Admission.PerIPAllow = loopback })
	f("no bound", one, 10, func(c *Config, _ *Deps) { c.Admission.PerIPConns = 0 })
	f("proxies", one, 10, func(c *Config, _ *Deps) { c.TrustedProxies = loopback })
	f("half of the places at most", one, 2, func(c *Config, _ *Deps) { c.HTTPConns, c.Admission.PerIPConns = 5, 1000 })
	balancer := func(c *Config, _ *Deps) { c.ProxyProtocolFrom = loopback }
	f("a balancer that says nothing", func(int) string { return "" }, 10, balancer)
	f("one address behind a balancer", func(int) string { return "PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\nGET " }, bound, balancer)
	f("several", func(i int) string { return fmt.Sprintf("PROXY TCP4 192.0.2.%d 198.51.100.1 1234 80\r\nGET ", i) }, 10, balancer)
}
