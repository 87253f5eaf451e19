package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
var patience = testcluster.Limit()

// rig is a router that runs, and the gateways that a test gives it.
type rig struct {
	t    testing.TB
	r    *Router
	keys *leg.Keyring
	ring atomic.Pointer[ring.Ring]
	stop func()
}

// start runs a router in front of the given upstreams; change may set its configuration.
func start(t testing.TB, portable bool, change func(*Config, *Deps), ups ...*upstreamServer) *rig {
	t.Helper()
	r := &rig{t: t, keys: testKeys(t)}
	r.setRing(ups...)
	cfg := Config{Listen: "127.0.0.1:0", Portable: portable, Loops: 2}
	deps := Deps{ID: "r1", Ring: r.ring.Load, Keys: r.keys, Log: zap.NewNop()}
	if len(ups) == 0 {
		cfg.RingWait = time.Nanosecond
	}
	if change != nil {
		change(&cfg, &deps)
	}
	var err error
	if r.r, err = New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.r.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

func testKeys(t testing.TB) *leg.Keyring {
	t.Helper()
	k, err := leg.NewKeyring("a secret of the tests")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// setRing makes the upstreams the ring's members.
func (r *rig) setRing(ups ...*upstreamServer) {
	var ms []ring.Member
	for _, u := range ups {
		ms = append(ms, ring.Member{
			ID: u.id, Role: ring.RoleGateway, State: ring.StateActive, Addr: u.addr(), Weight: 1, Static: u.static,
		})
	}
	r.ring.Store(ring.New(ms))
}

// bothLoops runs a test on the platform's event loop and on the portable one.
func bothLoops(t *testing.T, f func(t *testing.T, portable bool)) {
	t.Run("native", func(t *testing.T) { f(t, false) })
	t.Run("portable", func(t *testing.T) { f(t, true) })
}

// ownedBy is a topic whose preference list begins with these shards.
func (r *rig) ownedBy(ids ...string) string {
	r.t.Helper()
	for i := range 100000 {
		name := fmt.Sprintf("topic-%d", i)
		prefs := r.ring.Load().Preference(topic.Slot(name))
		ok := len(prefs) >= len(ids)
		for k := 0; ok && k < len(ids); k++ {
			ok = prefs[k].ID == ids[k]
		}
		if ok {
			return name
		}
	}
	r.t.Fatalf("no topic prefers %v", ids)
	return ""
}

const testKey = "dGhlIHNhbXBsZSBub25jZQ=="

// wsHead is what makes a request a WebSocket handshake.
const wsHead = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + testKey + "\r\n"

const sseHead = "Accept: text/event-stream\r\n"

// client is a client's connection, from the first byte of its request on.
type client struct {
	t    testing.TB
	conn *net.TCPConn
	r    *bufio.Reader
	resp *http.Response
}

// connect opens a connection and sends nothing yet.
func (r *rig) connect() *client {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{t: r.t, conn: conn.(*net.TCPConn), r: bufio.NewReader(conn)} //nolint:forcetypeassert // dialled as TCP
}

// open sends a handshake for a topic, and behind it extra, and returns when the session stands.
func (r *rig) open(topic, head, extra string) *client {
	r.t.Helper()
	c := r.connect()
	c.send("GET /t/" + topic + " HTTP/1.1\r\nHost: edge.example\r\n" + head + "\r\n" + extra)
	want := http.StatusSwitchingProtocols
	if head == sseHead {
		want = http.StatusOK
	}
	if resp := c.answer(); resp.StatusCode != want {
		b, _ := io.ReadAll(resp.Body)
		r.t.Fatalf("answer: got %s %s, want %d", resp.Status, b, want)
	}
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("client write: %v", err)
	}
}

// answer reads the head of the answer.
func (c *client) answer() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: http.MethodGet})
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	c.resp = resp
	return resp
}

// want reads exactly what it should.
func (c *client) want(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		c.t.Fatalf("client got %q, %v, want %q", got[:n], err, want)
	}
}

// rest reads up to the end.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("client got %q, then %v, want the end", b, err)
	}
	return string(b)
}

// noGrace lets the sweep close no session that ends: it is closed by what the test is about, or not at all.
func (r *rig) noGrace() { r.r.onEveryLoop(func(w *worker) { w.grace = 1 << 30 }) }

// value is the value of a metric, or the sum over the series that have the given label.
func (r *rig) value(name string, label ...string) (v float64) {
	r.t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(r.r)
	families, err := reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != "ringside_router_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if matches(m, label) {
				found = true
				v += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	if !found && len(label) == 0 {
		r.t.Fatalf("there is no metric %s", name)
	}
	return v
}

func matches(m *dto.Metric, labels []string) bool {
	for _, want := range labels {
		ok := false
		for _, l := range m.GetLabel() {
			ok = ok || l.GetName()+"="+l.GetValue() == want
		}
		if !ok {
			return false
		}
	}
	return true
}

// closedFor waits until a session has been closed for the reason.
func (r *rig) closedFor(reason closeReason) {
	r.t.Helper()
	eventually(r.t, "a session closed for "+reason.String(), func() bool { return r.value("closed_total", "reason="+reason.String()) > 0 })
}

// empty waits until no session is left, and looks whether everything was given back.
func (r *rig) empty() {
	r.t.Helper()
	eventually(r.t, "no session is left", func() bool { return r.r.Sessions() == 0 })
	for _, gauge := range []string{"sessions_blocked", "waiting_bytes"} {
		if v := r.value(gauge); v != 0 {
			r.t.Errorf("%s without sessions: got %v, want 0", gauge, v)
		}
	}
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	testcluster.Soon(t, what, ok)
}

// isReset reports whether a connection ended by a reset.
func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset") }
