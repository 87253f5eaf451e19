package gossip

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/ring"
)

func TestNewRefuses(t *testing.T) {
	f := func(what, want string, change func(*Config)) {
		t.Helper()
		cfg := Config{Bind: "127.0.0.1:0", Self: gatewayMember("g1")}
		change(&cfg)
		n, err := New(cfg, zap.NewNop())
		if err == nil {
			_ = n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", what, err, want)
		}
	}
	f("long metadata", "holds", func(c *Config) {
		c.Self.ID, c.Self.Zone, c.Self.Addr = strings.Repeat("i", 200), strings.Repeat("z", 200), strings.Repeat("a", 200)
	})
	f("a long zone", "longer than 255", func(c *Config) { c.Self.Zone = strings.Repeat("z", 300) })
	f("no ID", "ID", func(c *Config) { c.Self.ID = "" })
	f("no role", "role", func(c *Config) { c.Self.Role = 0 })
	f("no state", "state", func(c *Config) { c.Self.State = 0 })
	f("an ID over two lines", "printed", func(c *Config) { c.Self.ID = "g\n1" })
	f("a zone that is no text", "printed", func(c *Config) { c.Self.Zone = "\xff" })
	f("a heavy one", "weight", func(c *Config) { c.Self.Weight = maxWeight + 1 })
	f("a static shard with its ID", "static", func(c *Config) { c.Static = []ring.Member{gatewayMember("g1")} })
	f("a long cluster name", "possible", func(c *Config) { c.Cluster = strings.Repeat("c", 256) })
	f("accepted secrets without one of its own", "without", func(c *Config) { c.Accept = []string{"x"} })
	f("a seed without a port", "host:port", func(c *Config) { c.Join = []string{"10.0.0.1"} })
	f("no port", "host:port", func(c *Config) { c.Bind = "127.0.0.1" })
	f("a bad port", "port", func(c *Config) { c.Bind = "127.0.0.1:http" })
	f("a bad advertise address", "host:port", func(c *Config) { c.Advertise = "x" })
	f("an advertise address that is none", "reach", func(c *Config) { c.Advertise = "0.0.0.0:1" })
	taken := start(t, gatewayMember("g2"), nil, nil)
	f("a port that is taken", "cannot start gossip", func(c *Config) { c.Bind = taken.Addr() })
}

func TestAddresses(t *testing.T) {
	f := func(bind, advertise, wantBind, wantAdvertise string) {
		t.Helper()
		var mc memberlist.Config
		if err := (Config{Bind: bind, Advertise: advertise}).addresses(&mc); err != nil {
			t.Errorf("%s as %q: %v", bind, advertise, err)
			return
		}
		join := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
		if got := join(mc.BindAddr, mc.BindPort); got != wantBind {
			t.Errorf("%s as %q: listens on %s, want %s", bind, advertise, got, wantBind)
		}
		if got := join(mc.AdvertiseAddr, mc.AdvertisePort); wantAdvertise != "" && got != wantAdvertise {
			t.Errorf("%s as %q: advertises %s, want %s", bind, advertise, got, wantAdvertise)
		}
	}
	f("127.0.0.1:7946", "", "127.0.0.1:7946", "127.0.0.1:7946")
	f("[::1]:7946", "", "[::1]:7946", "[::1]:7946")
	f("localhost:7946", "", "127.0.0.1:7946", "127.0.0.1:7946") // and not all interfaces
	f("0.0.0.0:7946", "10.0.0.7:7000", "0.0.0.0:7946", "10.0.0.7:7000")
	f("0.0.0.0:7946", "10.0.0.7:0", "0.0.0.0:7946", "10.0.0.7:7946")
	f("[::]:7946", "[fd00::7]:7946", "[::]:7946", "[fd00::7]:7946")
	f(":7946", "localhost:7946", "0.0.0.0:7946", "127.0.0.1:7946")
	if err := (Config{Bind: "no-such-host.invalid:1"}).addresses(&memberlist.Config{}); err == nil {
		t.Error("a name that nobody knows: got no error")
	}
}

func TestWildcard(t *testing.T) {
	ifs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, bind := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		n, err := New(Config{Bind: bind, Self: gatewayMember("g1")}, zap.NewNop())
		if _, ok := reachable(ifs); !ok {
			if err == nil || !strings.Contains(err.Error(), "advertise") {
				t.Errorf("%s on a machine without an address: got %v", bind, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", bind, err)
			continue
		}
		host, port, _ := net.SplitHostPort(n.Addr())
		if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() || port == "0" {
			t.Errorf("%s: advertises %s", bind, n.Addr())
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReachable(t *testing.T) {
	f := func(want string, addrs ...string) {
		t.Helper()
		var list []net.Addr
		for _, a := range addrs {
			ip, n, err := net.ParseCIDR(a)
			if err != nil {
				t.Fatal(err)
			}
			n.IP = ip
			list = append(list, n)
		}
		got := ""
		if ip, ok := reachable(list); ok {
			got = ip.String()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", addrs, got, want)
		}
	}
	f("10.0.0.7", "127.0.0.1/8", "fd00::1/64", "203.0.113.1/24", "10.0.0.7/8", "192.168.0.1/16")
	f("203.0.113.1", "::1/128", "fe80::1/64", "203.0.113.1/24", "2001:db8::1/64")
	f("2001:db8::1", "fe80::1/64", "2001:db8::1/64")
	f("", "127.0.0.1/8", "169.254.1.1/16", "fe80::1/64")
}

func TestNodeName(t *testing.T) {
	f := func(id string) {
		t.Helper()
		m := gatewayMember(id)
		a, b := nodeName(m, 1), nodeName(m, 2)
		if a == b || len(a) > maxNodeName || !printable(a) {
			t.Errorf("%.20q…: got %q and %q", id, a, b)
		}
	}
	f("g1")
	f(strings.Repeat("x", 255))
	f("x" + strings.Repeat("é", 127))
	f(strings.Repeat("𝄞", 63))
}

func TestJoinReason(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := joinReason(errors.New("1 error occurred:\n\t* failed to join 10.0.0.1:7946: " + text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	f("dial tcp 10.0.0.1:7946: connect: connection refused", joinRefused)
	f("dial tcp 10.0.0.1:7946: i/o timeout", joinTimeout)
	f("dial tcp 10.0.0.1:7946: connect: no route to host", joinTimeout)
	f("dial tcp 10.0.0.1:7946: connect: network is unreachable", joinTimeout)
	f("EOF", joinClosed)
	f("read tcp 10.0.0.1:7946: connection reset by peer", joinClosed)
	f("No installed keys could decrypt the message", joinSecret)
	f("Remote state is encrypted and encryption is not configured", joinSecret)
	f("something new", joinOther)
}
