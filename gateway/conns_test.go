package gateway

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// secure has the gateway speak TLS, and returns how a client speaks it.
func secure(t *testing.T) (on func(*Deps), client *tls.Config) {
	t.Helper()
	ca := testcluster.NewAuthority(t)
	cert, err := tls.LoadX509KeyPair(ca.Issue(t, "g1", net.IPv4(127, 0, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	set := bridge.NewSet(bridge.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- set.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func(d *Deps) {
		d.Bridges, d.TLS = set, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
	}, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.ClientConfig().RootCAs, ServerName: "127.0.0.1"}
}

// TestPlaces floods a gateway with connections that never come to a request, more than there are places: others get in, no session
// notices, and each place is free again in the end, with and without TLS.
func TestPlaces(t *testing.T) {
	const places = 4
	for name, say := range map[string]string{
		"silent": "", "half a request": "GET /t/finals HTTP/1.1\r\nHost: x\r\nX: ", "TLS, silent": "", "TLS, half a ClientHello": "\x16\x03\x01\x02\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			change := func(c *Config) { c.HTTPConns, c.HandshakeTimeout = places, 2500*time.Millisecond }
			dialer, scheme := websocket.Dialer{}, "ws"
			var r *rig
			if strings.HasPrefix(name, "TLS") {
				on, client := secure(t)
				dialer.TLSClientConfig, scheme = client, "wss"
				r = start(t, change, on)
			} else {
				r = start(t, change)
			}
			enter := func() *wsClient {
				c, resp, err := dialer.Dial(scheme+"://"+r.g.Addr()+"/t/finals", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				t.Cleanup(func() { c.Close() })
				ws := &wsClient{t, c}
				ws.want("welcome")
				return ws
			}
			neighbour := enter()
			var flood []net.Conn
			for range 4 * places {
				c, err := net.Dial("tcp", r.g.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_, _ = io.WriteString(c, say) // it may have had to make room already
				flood = append(flood, c)
			}
			testcluster.Soon(t, "some made room", func() bool { return r.g.room.Out(anteroom.Crowded) >= places })
			enter().c.Close()
			r.publish("finals", "here")
			neighbour.want("message")
			if n := r.g.room.Len(); n > places {
				t.Errorf("%d connections, want %d at most", n, places)
			}
			for _, c := range flood {
				c.Close()
			}
			testcluster.Soon(t, "all places are free", func() bool { return r.g.room.Len() == 0 })
			neighbour.send(`{"type":"ping"}`)
			neighbour.want("pong")
		})
	}
}

// TestTimeIsOver answers who does not finish a request in time, and counts it.
func TestTimeIsOver(t *testing.T) {
	r := start(t, func(c *Config) { c.HandshakeTimeout = 200 * time.Millisecond })
	for _, say := range []string{"", "GET /t/finals HTTP/1.1\r\n"} {
		before := testutil.ToFloat64(r.g.metrics.refused.WithLabelValues("slow_request"))
		c, err := net.Dial("tcp", r.g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(testcluster.Limit()))
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if want := "HTTP/1.1 408 " + http.StatusText(http.StatusRequestTimeout); !strings.HasPrefix(string(b), want) {
			t.Errorf("%q: got %q, %v, want %q", say, b, err, want)
		}
		if got := testutil.ToFloat64(r.g.metrics.refused.WithLabelValues("slow_request")); got != before+1 {
			t.Errorf("%q: counted %v, want %v", say, got, before+1)
		}
	}
	if got := r.g.room.Out(anteroom.Crowded); got != 0 {
		t.Errorf("%d had to make room, want none", got)
	}
}
