package router

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/handover"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/leg"
)

// secured are routers whose public port speaks TLS.
type secured struct {
	t       testing.TB
	ca      *testcluster.Authority
	config  *tls.Config // of the server
	bridges *bridge.Set
}

// newSecured makes an authority and bridges that run as long as the test.
func newSecured(t testing.TB, cfg bridge.Config) *secured {
	t.Helper()
	ca := testcluster.NewAuthority(t)
	cert, err := tls.LoadX509KeyPair(ca.Issue(t, "edge.example", net.IPv4(127, 0, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{t: t, ca: ca, bridges: bridge.NewSet(cfg), config: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.bridges.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("bridges: %v", err)
		}
	})
	return s
}

// on makes a router's port speak TLS.
func (s *secured) on(_ *Config, d *Deps) {
	d.TLS, d.Bridges, d.Linger = s.config, s.bridges, time.Hour
}

// secure speaks TLS over a client's connection.
func (s *secured) secure(c *client) *tls.Conn {
	t := tls.Client(c.conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.ca.ClientConfig().RootCAs, ServerName: "127.0.0.1"})
	c.r = bufio.NewReader(t)
	return t
}

// open opens a session over TLS.
func (s *secured) open(r *rig, topic, head, extra string) (*client, *tls.Conn) {
	s.t.Helper()
	c := r.connect()
	conn := s.secure(c)
	write(s.t, conn, "GET /t/"+topic+" HTTP/1.1\r\nHost: edge.example\r\n"+head+"\r\n"+extra)
	want := http.StatusSwitchingProtocols
	if strings.HasPrefix(head, "Accept") {
		want = http.StatusOK
	}
	if resp := c.answer(); resp.StatusCode != want {
		s.t.Fatalf("got %s, want %d", resp.Status, want)
	}
	return c, conn
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// ended is how many bridges have ended for the reason, and handshakes how many had the outcome.
func (s *secured) value(name, label string) (v float64) {
	s.t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s.bridges)
	families, err := reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "ringside_bridge_"+name && matches(m, []string{label}) {
				v += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return v
}

func (s *secured) none() {
	s.t.Helper()
	eventually(s.t, "no bridge is left", func() bool { return s.bridges.Len(bridge.Client) == 0 })
}

// TestTLS carries both kinds of sessions, in both directions.
func TestTLS(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		s := newSecured(t, bridge.Config{})
		g := gateway(t, "g1")
		r := start(t, portable, s.on, g)
		c, conn := s.open(r, "finals", "X-Forwarded-Proto: ftp\r\nForwarded: for=192.0.2.1\r\n"+wsHead, "early")
		if got := conn.ConnectionState().Version; got != tls.VersionTLS13 {
			t.Errorf("version: got %x, want TLS 1.3", got)
		}
		f := g.session()
		if got := f.req.Header.Values("X-Forwarded-Proto"); len(got) != 1 || got[0] != "https" {
			t.Errorf("X-Forwarded-Proto: got %q, want https", got)
		}
		if got := f.req.Header.Get("Forwarded"); got != "for=192.0.2.1, for=127.0.0.1;proto=https" {
			t.Errorf("Forwarded: got %q", got)
		}
		f.want("early")
		f.write(record(leg.Data, "down"))
		c.want("down")
		write(t, conn, "up")
		f.want("up")
		events, _ := s.open(r, "finals", sseHead, "")
		f2 := g.session()
		f2.write(record(leg.Data, "data: x\n\n"))
		events.want("data: x\n\n")
		// Large both ways: more than a record.
		large := strings.Repeat("0123456789abcdef", 20<<10)
		go func() { _, _ = io.WriteString(conn, large) }()
		f.want(large)
		if got := s.value("connections", "side=client"); got != 2 {
			t.Errorf("connections: got %v, want 2", got)
		}
		// The client ends the orderly way, and the other just goes.
		_ = conn.CloseWrite()
		if _, err := f.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the gateway got %v, want the client's end", err)
		}
		f.write(record(leg.End, "bye"))
		if got := c.rest(); got != "bye" {
			t.Errorf("the client got %q, want bye", got)
		}
		conn.Close()
		events.conn.Close()
		f2.end()
		f2.conn.Close()
		f.conn.Close()
		r.empty()
		s.none()
	})
}

// TestTLSBehindBalancer has the balancer's word before TLS.
func TestTLSBehindBalancer(t *testing.T) {
	s := newSecured(t, bridge.Config{})
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, d *Deps) { behindBalancer(c, d); s.on(c, d) }, g)
	for _, header := range []string{"PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\n", proxy2(1, 0x11, addresses("192.0.2.7"))} {
		c := r.connect()
		c.send(header)
		conn := s.secure(c)
		write(t, conn, wsRequest)
		c.answer()
		f := g.session()
		if got := f.req.Header.Get(leg.HeaderClient); got != "192.0.2.7" {
			t.Errorf("the client: got %q", got)
		}
		f.write(record(leg.Data, "down"))
		c.want("down")
	}
}

// TestBadTLSClients concern nobody else.
func TestBadTLSClients(t *testing.T) {
	s := newSecured(t, bridge.Config{})
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, d *Deps) { s.on(c, d); c.HandshakeTimeout = patience }, g)
	hasty := start(t, false, func(c *Config, d *Deps) { s.on(c, d); c.HandshakeTimeout = 500 * time.Millisecond }, g)
	neighbour, _ := s.open(r, "a", wsHead, "")
	far := g.session()
	f := func(outcome string, do func(c *client)) {
		t.Helper()
		r := r
		if outcome == "timeout" {
			r = hasty // of all others: on a busy machine they are too late as well
		}
		before := s.value("handshakes_total", "outcome="+outcome)
		do(r.connect())
		eventually(t, "it is counted as "+outcome, func() bool { return s.value("handshakes_total", "outcome="+outcome) == before+1 })
	}
	f("not_tls", func(c *client) {
		c.send(wsRequest)
		if resp := c.answer(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP: got %s, want 400", resp.Status)
		}
		if b, err := io.ReadAll(c.resp.Body); err != nil || !strings.Contains(string(b), "not_tls") {
			t.Errorf("plain HTTP: got %q, %v", b, err)
		}
	})
	f("timeout", func(*client) {})
	f("timeout", func(c *client) { c.send("\x16\x03\x01") })
	f("aborted", func(c *client) { c.conn.Close() })
	f("aborted", func(c *client) { c.send("\x16\x03\x01\x02\x00"); c.conn.Close() })
	f("mismatch", func(c *client) {
		old := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true} //nolint:gosec // it is the test
		if err := tls.Client(c.conn, old).Handshake(); err == nil {
			t.Error("TLS 1.1 was accepted")
		}
	})
	f("mismatch", func(c *client) {
		if err := tls.Client(c.conn, &tls.Config{NextProtos: []string{"h2"}, InsecureSkipVerify: true}).Handshake(); err == nil { //nolint:gosec // it is the test
			t.Error("h2 was accepted")
		}
	})
	f("rejected", func(c *client) {
		if err := tls.Client(c.conn, &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}).Handshake(); err == nil {
			t.Error("a certificate of nobody was believed")
		}
	})
	eventually(t, "their places are free", func() bool { return r.value("http_connections")+hasty.value("http_connections") == 0 })
	far.write(record(leg.Data, "still here"))
	neighbour.want("still here")
}

// TestTLSRefusal is told over TLS, and closed.
func TestTLSRefusal(t *testing.T) {
	s := newSecured(t, bridge.Config{})
	r := start(t, false, s.on)
	c := r.connect()
	write(t, s.secure(c), "GET /t/a HTTP/1.1\r\nHost: x\r\n"+wsHead+"\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s, want 503", resp.Status)
	}
	if _, err := io.ReadAll(c.resp.Body); err != nil {
		t.Errorf("the body: %v", err)
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end, with a close_notify", err)
	}
	eventually(t, "its place is free", func() bool { return r.value("http_connections") == 0 })
}

// TestTLSBackPressure has a client that reads nothing for a while: what it was sent stays where it is, and nothing is lost.
func TestTLSBackPressure(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		s := newSecured(t, bridge.Config{})
		g := rawServer(t, "g1")
		r := start(t, portable, s.on, g)
		c, conn := s.open(r, "a", wsHead, "")
		f := g.session()
		const size = 48 << 20 // more than all buffers on the way
		sent := make(chan error, 1)
		go func() {
			chunk := make([]byte, 1<<20)
			for n := 0; n < size; n += len(chunk) {
				for i := range chunk {
					chunk[i] = byte((n + i) % 251)
				}
				if _, err := f.conn.Write(chunk); err != nil {
					sent <- err
					return
				}
			}
			sent <- f.conn.CloseWrite()
		}()
		eventually(t, "the session is blocked", func() bool { return r.value("sessions_blocked", "to=client") == 1 })
		select {
		case err := <-sent:
			t.Fatalf("the upstream could send everything: %v", err)
		default:
		}
		if v := r.value("waiting_bytes"); v > readBuffer {
			t.Errorf("waiting: got %v bytes, want at most a read", v)
		}
		buf := make([]byte, 64<<10)
		n := 0
		for n < size {
			m, err := c.r.Read(buf)
			for i, b := range buf[:m] {
				if b != byte((n+i)%(1<<20)%251) && b != byte((n+i)%251) {
					t.Fatalf("byte %d is wrong", n+i)
				}
			}
			if n += m; err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		conn.Close()
		f.end()
		r.empty()
		s.none()
	})
}

// TestTLSClientTakesNothing closes it, as one without TLS.
func TestTLSClientTakesNothing(t *testing.T) {
	s := newSecured(t, bridge.Config{WriteTimeout: 200 * time.Millisecond})
	g := rawServer(t, "g1")
	r := start(t, false, s.on, g)
	s.open(r, "a", wsHead, "")
	f := g.session()
	go func() {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := f.conn.Write(chunk); err != nil {
				return
			}
		}
	}()
	eventually(t, "the bridge gives up", func() bool { return s.value("ended_total", "reason=stalled") == 1 })
	r.empty()
	s.none()
}

// TestTLSClientResets ends the session.
func TestTLSClientResets(t *testing.T) {
	s := newSecured(t, bridge.Config{})
	g := gateway(t, "g1")
	r := start(t, false, s.on, g)
	c, _ := s.open(r, "a", wsHead, "")
	f := g.session()
	_ = c.conn.SetLinger(0)
	c.conn.Close()
	if _, err := f.r.ReadByte(); err == nil {
		t.Error("the gateway's leg goes on")
	}
	f.end()
	r.empty()
	s.none()
	if got := s.value("ended_total", "reason=peer"); got != 1 {
		t.Errorf("ended_total{peer}: got %v, want 1", got)
	}
}

// TestTLSHandOver gives sessions to another router; the bridges of the first one carry on. When their time is over the
// successor sends the clients away.
func TestTLSHandOver(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		s := newSecured(t, bridge.Config{})
		g := movable(t, "g1")
		old := start(t, portable, func(c *Config, d *Deps) { quick(c, d); s.on(c, d); d.Linger = 3 * time.Second }, g)
		c, conn := s.open(old, "a", wsHead, "")
		f := g.session()
		f.write(rec(leg.Topic, 0, 3, at(0), "a") + message(3, 1, "one"))
		c.want("one")
		next := start(t, portable, func(c *Config, d *Deps) { quick(c, d); s.on(c, d); c.DrainWindow = time.Second }, g)
		third := start(t, portable, func(c *Config, d *Deps) { quick(c, d); s.on(c, d); c.DrainWindow = time.Second }, g)
		if err := old.r.HandOver(t.Context(), give(t, next)); err != nil {
			t.Fatal(err)
		}
		old.empty()
		old.stop()
		next.r.onEveryLoop(func(*worker) {}) // its loop has taken the session in
		if got := next.value("sessions_carried"); got != 1 {
			t.Errorf("sessions_carried: got %v, want 1", got)
		}
		f.write(message(3, 2, "two"))
		c.want("two")
		write(t, conn, "hello")
		f.want("hello")
		f.write(acked(len("hello")))
		if err := next.r.HandOver(t.Context(), give(t, third)); err != nil { // once more
			t.Fatal(err)
		}
		next.empty()
		if got := next.value("sessions_carried"); got != 0 {
			t.Errorf("sessions_carried of who has given it on: got %v, want 0", got)
		}
		if rest := c.rest(); !strings.Contains(rest, `{"reconnect":`) { // 1012
			t.Errorf("the client got %q, want word to come back", rest)
		}
		conn.Close()
		third.closedFor(closeDrain)
		third.empty()
		s.none()
	})
}

// TestTLSHandOverFails gives sessions to somebody who does not take them: they stay, and nobody else carries them.
func TestTLSHandOverFails(t *testing.T) {
	s := newSecured(t, bridge.Config{})
	g := movable(t, "g1")
	r := start(t, false, func(c *Config, d *Deps) { quick(c, d); s.on(c, d) }, g)
	c, conn := s.open(r, "a", wsHead, "")
	f := g.session()
	f.write(rec(leg.Topic, 0, 3, at(0), "a") + message(3, 1, "one"))
	c.want("one")
	no := errors.New("no")
	if err := r.r.HandOver(t.Context(), func(context.Context, []handover.Item) error { return no }); !errors.Is(err, no) {
		t.Fatalf("got %v, want what went wrong", err)
	}
	f.write(message(3, 2, "two"))
	c.want("two")
	write(t, conn, "hello")
	f.want("hello")
	if got := r.value("sessions_carried"); got != 0 {
		t.Errorf("sessions_carried: got %v, want 0", got)
	}
}
