package router

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/ring"
)

// shortListener is out of descriptors for a while.
type shortListener struct {
	net.Listener
	left atomic.Int32
}

func (l *shortListener) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// TestOutOfDescriptors must not end the router.
func TestOutOfDescriptors(t *testing.T) {
	empty := ring.New(nil)
	r, err := New(Config{Listen: "127.0.0.1:0"}, Deps{Ring: func() *ring.Ring { return empty }, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ln := &shortListener{Listener: r.ln}
	ln.left.Store(3)
	r.ln = ln
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(mustRequest(t, "http://"+r.Addr()+"/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := r.metrics.acceptErrors.Load(); resp.StatusCode != 404 || got != 3 {
		t.Errorf("got %s after %d errors, want 404 after 3", resp.Status, got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// TestPlaces bounds the connections that are no session yet: the next wait until there is a place.
func TestPlaces(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	r.stop()
	r2, err := New(Config{Listen: "127.0.0.1:0", HTTPConns: 2}, r.r.deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r2.Run(ctx) }()
	rg := &rig{t: t, r: r2}
	a, b := rg.connect(), rg.connect()
	a.send("GET")
	b.send("GET")
	eventually(t, "both places are taken", func() bool { return r2.conns.room.Len() == 2 })
	c := rg.connect()
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n") // waits in the backlog
	a.conn.Close()
	if resp := c.answer(); resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %s, want 404", resp.Status)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestConfig refuses what can't work, and says what it is.
func TestConfig(t *testing.T) {
	f := func(c Config, want string) {
		t.Helper()
		r, err := New(c, Deps{Ring: func() *ring.Ring { return nil }, Log: zap.NewNop()})
		if err == nil {
			r.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", c, err, want)
		}
	}
	f(Config{}, "listen address")
	f(Config{Listen: "nowhere"}, "listen address")
	f(Config{Listen: "127.0.0.1:0", DialTimeout: -1}, "dial time-out")
	f(Config{Listen: "127.0.0.1:0", MaxSessions: 1 << 30}, "descriptor limit")
	f(Config{Listen: "192.0.2.1:1"}, "cannot listen")
	for _, limit := range []int{64, 1024, 20000, 1 << 20} {
		if n := 2*sessionsFor(limit, 2, httpConnsFor(limit)) + httpConnsFor(limit); n > max(limit, 18) {
			t.Errorf("with %d descriptors: sessions and connections need %d", limit, n)
		}
	}
}

// TestClose frees a router that is never run.
func TestClose(t *testing.T) {
	r, err := New(Config{Listen: "127.0.0.1:0"}, Deps{Ring: func() *ring.Ring { return nil }, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := net.Dial("tcp", r.Addr()); err == nil {
		t.Error("it still listens")
	}
}

// TestAwaitRing has clients at the door of a router that knows no gateway yet: they wait, and are refused nothing.
func TestAwaitRing(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.RingWait = time.Hour })
	c := r.connect()
	c.send("GET /t/finals HTTP/1.1\r\nHost: edge.example\r\n" + wsHead + "\r\n")
	_ = c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := c.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v before its time", b, err)
	}
	select {
	case <-r.r.Accepting():
		t.Fatal("it says that it takes clients")
	default:
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	r.setRing(g)
	if resp := c.answer(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("got %s", resp.Status)
	}
	<-r.r.Accepting()
	r.open("finals", wsHead, "")
}

// TestAwaitRingEnds has a router that gets no gateway: its clients are told so in the end, and its ending is not held up.
func TestAwaitRingEnds(t *testing.T) {
	r := start(t, false, func(c *Config, _ *Deps) { c.RingWait = 20 * time.Millisecond })
	c := r.connect()
	c.send("GET /t/finals HTTP/1.1\r\nHost: edge.example\r\n" + wsHead + "\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s", resp.Status)
	}
	never := start(t, false, func(c *Config, _ *Deps) { c.RingWait = time.Hour })
	never.stop()
	drained := start(t, false, func(c *Config, _ *Deps) { c.RingWait = time.Hour })
	if err := drained.r.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}
