package admin

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// startFew runs an admin port that takes few connections.
func startFew(t *testing.T, connections int) *port {
	t.Helper()
	return startWith(t, Config{Listen: "127.0.0.1:0", Self: "g1", MaxPayload: testPayload, Connections: connections}, true, nil)
}

// client is a connection of its own to an admin port.
func (p *port) client(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(testcluster.Limit())); err != nil {
		t.Fatal(err)
	}
	return c
}

// When all connections have a request, further ones are told so, but for who looks whether the node lives; more are closed. Once there
// is a place everything is as before.
func TestConnections(t *testing.T) {
	const most = 8
	p := startFew(t, most)
	entered, release := make(chan struct{}), make(chan struct{})
	p.publisher.hold(entered, release)
	var wg sync.WaitGroup
	for range most {
		wg.Go(func() {
			if a := p.do(t, "POST", "/publish/x", "x"); a.status != 200 {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	for range most {
		<-entered
	}
	a := p.do(t, "POST", "/drain", "")
	if a.status != 503 || a.reason() != "connections" || a.header.Get("Retry-After") == "" || p.drainer.drains.Load() != 0 {
		t.Errorf("got %d %s, drained %d times, want 503 connections", a.status, a.body, p.drainer.drains.Load())
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := p.do(t, "GET", path, ""); a.status != 200 {
			t.Errorf("%s: got %d %s, want 200", path, a.status, a.body)
		}
	}
	testcluster.Soon(t, "those that were told are gone", func() bool { return p.crowd.len() == most })
	for range spare { // they say nothing, and have places for being told
		p.client(t)
	}
	testcluster.Soon(t, "they are there", func() bool { return p.crowd.len() == most+spare })
	if n, err := p.client(t).Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("got %d bytes, %v, want a closed connection", n, err)
	}
	close(release)
	wg.Wait()
	testcluster.Soon(t, "there are places", func() bool { return p.crowd.len() <= spare })
	p.publisher.hold(nil, nil)
	metrics := p.do(t, "GET", "/metrics", "").body
	for _, want := range []string{
		fmt.Sprintf("ringside_admin_connections_limit %d\n", most), `ringside_admin_connections_closed_total{which="new"} 1`,
		`ringside_admin_refusals_total{reason="connections"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// Who holds on to connections without asking for anything makes room for who does.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	c := newCrowd(2)
	now := time.Unix(1e9, 0)
	c.now = func() time.Time { return now }
	conn := func() net.Conn {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close(); far.Close() })
		return near
	}
	closed := func(conn net.Conn) bool { return conn.SetDeadline(time.Time{}) != nil }
	guests := map[net.Conn]*guest{}
	told := func(conn net.Conn) bool {
		guests[conn], _ = c.enter(context.Background(), conn).Value(guestKey{}).(*guest)
		return guests[conn].spare
	}
	a, b, d, e, f := conn(), conn(), conn(), conn(), conn()
	if told(a) || told(b) {
		t.Fatal("there were places")
	}
	c.serves(guests[a], 1)
	now = now.Add(idleAtLeast)
	if told(d) || !closed(b) || closed(a) || c.evicted.Load() != 1 {
		t.Errorf("the one that waits for a second did not make room")
	}
	c.state(b, http.StateClosed)
	if !told(e) || closed(d) {
		t.Error("one that has just come made room")
	}
	c.serves(guests[a], -1)
	now = now.Add(idleAtLeast)
	c.serves(guests[d], 1)
	c.serves(guests[d], 1) // of HTTP/2
	c.serves(guests[d], -1)
	now = now.Add(idleAtLeast)
	if told(f) || !closed(a) || closed(d) || c.evicted.Load() != 2 {
		t.Error("not the one that waits for longest made room")
	}
	for _, conn := range []net.Conn{a, b, d, e, f} {
		c.state(conn, http.StateClosed)
	}
	if c.len() != 0 || c.spares != 0 {
		t.Errorf("got %d connections, %d of them spare, want none", c.len(), c.spares)
	}
}

// Of what is dear only so much goes on at once.
func TestRequestsAtOnce(t *testing.T) {
	for _, rt := range (&Server{deps: Deps{Metrics: http.NotFoundHandler()}}).routes() {
		if rt.needs == needsNothing || rt.needs == needsPublish || rt.needs == needsBroadcast { // cheap, or bounded by their payloads
			continue
		}
		if rt.most == 0 {
			t.Errorf("%s has no bound", rt.path)
			continue
		}
		p := placesFor([]route{rt})
		entered, release := make(chan struct{}), make(chan struct{})
		rt.serve = func(http.ResponseWriter, *http.Request) error {
			entered <- struct{}{}
			<-release
			return nil
		}
		var wg sync.WaitGroup
		for range rt.most {
			wg.Go(func() {
				if err := p.serve(rt, nil, nil); err != nil {
					t.Errorf("%s: %v", rt.path, err)
				}
			})
		}
		for range rt.most {
			<-entered
		}
		if no, ok := p.serve(rt, nil, nil).(*refusal); !ok || no.status != 503 || no.reason != "busy" || no.after == "" { //nolint:errorlint // it is returned bare
			t.Errorf("%s: got %v, want 503 busy", rt.path, no)
		}
		close(release)
		wg.Wait()
		rt.serve = func(http.ResponseWriter, *http.Request) error { return nil }
		if err := p.serve(rt, nil, nil); err != nil {
			t.Errorf("%s: there are places again, and got %v", rt.path, err)
		}
	}
}

// What is large, slow, or asks for too much is refused before it costs anything.
func TestHostileRequests(t *testing.T) {
	p := startFew(t, 32)
	f := func(text, want string) {
		t.Helper()
		c := p.client(t)
		_, _ = io.WriteString(c, text) // it may be refused half way
		b := make([]byte, len(want))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
			t.Errorf("%.60q: got %q, %v, want %s", text, b, err, want)
		}
	}
	const host = " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	f("GET /ring?x="+strings.Repeat("x", 2*maxHeader)+host+"\r\n", "HTTP/1.1 431")
	f("GET /ring"+host+"X-Large: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n", "HTTP/1.1 431")
	f("POST /publish/x"+host+"Content-Length: 99999999999\r\n\r\n", "HTTP/1.1 413")
	f("POST /publish/x"+host+"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 415")
	f("POST /publish/x"+host+"Content-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 415")
	f("POST /publish"+host+"Content-Encoding: identity, gzip\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 415")
	f("POST /publish/x"+host+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501")
	f("GET /debug/pprof/profile?seconds=301"+host+"\r\n", "HTTP/1.1 400")
	f("GET /debug/pprof/trace?seconds=1e99"+host+"\r\n", "HTTP/1.1 400")
	f("GET /debug/pprof/trace?seconds=nan"+host+"\r\n", "HTTP/1.1 400")
	p.publisher.mu.Lock()
	defer p.publisher.mu.Unlock()
	if len(p.publisher.got) > 0 {
		t.Errorf("%d of them were published", len(p.publisher.got))
	}
}

// A request whose head does not come is given up, and its connection free, when its time is over.
func TestSlowRequest(t *testing.T) {
	p := startFew(t, 8)
	c := p.client(t)
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || strings.Contains(string(b), "200 OK") {
		t.Errorf("got %q, %v, want the end of the connection", b, err)
	}
	testcluster.Soon(t, "its place is free", func() bool { return p.crowd.len() == 0 })
}

// Connections that don't come to the end of their requests keep nobody out.
func TestSlowRequestsMakeRoom(t *testing.T) {
	const most = 8
	p := startFew(t, most)
	for range most + spare {
		if _, err := io.WriteString(p.client(t), "GET /ring HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
	}
	testcluster.Soon(t, "somebody gets in", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.Addr()+"/ring", nil)
		if err != nil {
			t.Fatal(err)
		}
		tr := &http.Transport{DisableKeepAlives: true}
		resp, err := tr.RoundTrip(req)
		if err != nil { // it was one too many
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == 200
	})
	if p.crowd.evicted.Load() == 0 {
		t.Error("nobody has made room")
	}
}
