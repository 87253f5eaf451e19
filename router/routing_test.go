package router

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/leg"
)

// TestRouting looks whether each topic's sessions come to its owner, and both directions flow.
func TestRouting(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		ups := []*upstreamServer{gateway(t, "g1"), gateway(t, "g2"), gateway(t, "g3")}
		r := start(t, portable, nil, ups...)
		for _, u := range ups {
			c := r.open(r.ownedBy(u.id), wsHead, "")
			f := u.session()
			f.write(record(leg.Data, "down"))
			c.want("down")
			c.send("up")
			f.want("up")
		}
		if got := r.r.Sessions(); got != 3 {
			t.Errorf("sessions: got %d, want 3", got)
		}
		if got := r.value("opened_total", "client=websocket", "upstream=leg"); got != 3 {
			t.Errorf("opened_total: got %v, want 3", got)
		}
	})
}

// TestFallback looks at a topic's second choice while the first one fails, each way that it can.
func TestFallback(t *testing.T) {
	f := func(name string, outcome dialOutcome, fail func(*upstreamServer)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			g1, g2 := gateway(t, "g1"), gateway(t, "g2")
			release := make(chan struct{})
			g1.setReply(func(*far) bool { <-release; return false })
			if fail != nil {
				fail(g1) // before the router can have heard of it by its heartbeat: then it would not be dialled
			}
			r := start(t, false, func(c *Config, _ *Deps) {
				c.HandshakeTimeout = patience
				if outcome == dialTimeout {
					c.HandshakeTimeout, c.DialTimeout = 4*time.Second, 200*time.Millisecond // the first gets a half of it
				}
			}, g1, g2)
			topic := r.ownedBy("g1", "g2")
			c := r.open(topic, wsHead, "")
			s := g2.session()
			s.write(record(leg.Data, "hello"))
			c.want("hello")
			close(release)
			if got := r.value("dials_total", "outcome="+outcome.String()); got != 1 {
				t.Errorf("dials_total{%v}: got %v, want 1", outcome, got)
			}
			wantEjected := 1.0
			if outcome == dialBusy {
				wantEjected = 0
			}
			if got := r.value("ejected"); got > wantEjected {
				t.Errorf("ejected: got %v, want %v", got, wantEjected)
			}
		})
	}
	f("refuses the dial", dialRefused, (*upstreamServer).stop)
	f("busy", dialBusy, func(u *upstreamServer) {
		u.setReply(replyWith("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"))
	})
	f("hangs", dialTimeout, nil)
	f("closes without an answer", dialReset, func(u *upstreamServer) { u.setReply(func(*far) bool { return false }) })
	f("talks nonsense", dialBadAnswer, func(u *upstreamServer) { u.setReply(replyWith("220 mail.example ESMTP\r\n\r\n")) })
	f("another key's accept", dialBadAnswer, func(u *upstreamServer) {
		u.setReply(replyWith("HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: xxx\r\n\r\n"))
	})
}

// TestNoShard looks at what a client is told when nobody can serve it.
func TestNoShard(t *testing.T) {
	g1, g2 := gateway(t, "g1"), gateway(t, "g2")
	r := start(t, false, nil)
	ask := func() {
		t.Helper()
		c := r.connect()
		c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
		resp := c.answer()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("got %d with Retry-After %q, want 503 with one", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	if r.r.Ready() == nil {
		t.Error("ready without a gateway")
	}
	ask()
	r.setRing(g1, g2)
	if err := r.r.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	g1.stop()
	g2.stop()
	ask()
	ask() // both are ejected, and tried all the same
	if got := r.value("refused_total", "reason=no_shard"); got != 3 {
		t.Errorf("refused_total{no_shard}: got %v, want 3", got)
	}
	if got := r.value("dials_total", "outcome=refused"); got != 4 {
		t.Errorf("dials_total{refused}: got %v, want 4", got)
	}
	r.empty()
}

// TestEjections looks at the table of gateways that are tried last.
func TestEjections(t *testing.T) {
	g1, g2, g3 := gateway(t, "g1"), gateway(t, "g2"), gateway(t, "g3")
	r := start(t, false, nil, g1, g2, g3)
	prefs := r.ring.Load().Preference(0)
	now := time.Now()
	var e ejections
	order := func(at time.Time) (ids string) {
		for _, m := range e.last(prefs, at) {
			ids += m.ID
		}
		return ids
	}
	f := func(what string, at time.Time, want string) {
		t.Helper()
		if got := order(at); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	a, b, c := prefs[0], prefs[1], prefs[2]
	f("at first", now, a.ID+b.ID+c.ID)
	if !e.add(a.Addr, now) || e.add(a.Addr, now) {
		t.Error("add does not tell what is new")
	}
	f("with the owner ejected", now, b.ID+c.ID+a.ID)
	e.add(c.Addr, now)
	f("with two", now, b.ID+a.ID+c.ID)
	f("later", now.Add(ejectTime), a.ID+b.ID+c.ID)
	for i := range 2 * maxEjected {
		e.add(time.Duration(i).String(), now)
	}
	if got := e.len(now); got != maxEjected {
		t.Errorf("a flood of addresses: got %d, want %d", got, maxEjected)
	}
	if got := e.len(now.Add(ejectTime)); got != 0 {
		t.Errorf("after their time: got %d, want 0", got)
	}
}

// TestOtherAnswers looks whether what is neither a session nor a 503 reaches the client, without what is ours.
func TestOtherAnswers(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	f := func(name, head, reply string, status int, body string) {
		t.Helper()
		g.setReply(replyWith(reply))
		c := r.connect()
		c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + head + "\r\n")
		resp := c.answer()
		if got := c.rest(); resp.StatusCode != status || body != "" && got != body {
			t.Errorf("%s: got %d %q, want %d %q", name, resp.StatusCode, got, status, body)
		}
		for h := range resp.Header {
			if isOurs(httphead.Field{Name: []byte(h)}) {
				t.Errorf("%s: %s reached the client", name, h)
			}
		}
		if resp.StatusCode == 403 && (resp.Header.Get("X-Why") != "no" || len(resp.Cookies()) != 2) {
			t.Errorf("%s: headers did not reach the client: %v", name, resp.Header)
		}
	}
	const closes = "HTTP/1.1 403 Forbidden\r\nX-Why: no\r\nRingside-Shard: g1\r\nRINGSIDE-X: y\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
	f("by length", wsHead, closes+"Content-Length: 5\r\n\r\nnever", 403, "never")
	f("chunked", wsHead, closes+"Transfer-Encoding: chunked\r\n\r\n5\r\nnever\r\n0\r\n\r\n", 403, "never")
	f("to the end", wsHead, closes+"\r\nnever", 403, "never")
	f("a plain answer to an upgrade", wsHead, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere", 200, "here")
	f("no event stream", sseHead, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nhere", 200, "here")
	f("behind an interim one", wsHead, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 403 Forbidden\r\nX-Why: no\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n", 403, "")
	f("endless", wsHead, "HTTP/1.1 404 Not Found\r\nContent-Length: 10000000\r\n\r\n", 502, "")
	r.empty()
}

// TestHandshakeBudget looks whether the whole of a handshake is bounded when all gateways hang.
func TestHandshakeBudget(t *testing.T) {
	ups := []*upstreamServer{gateway(t, "g1"), gateway(t, "g2"), gateway(t, "g3")}
	release := make(chan struct{})
	for _, u := range ups {
		u.setReply(func(*far) bool { <-release; return false })
	}
	r := start(t, false, func(c *Config, _ *Deps) {
		c.HandshakeTimeout, c.DialTimeout = 3*time.Second, 50*time.Millisecond
	}, ups...)
	c := r.connect()
	c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s, want 503", resp.Status)
	}
	if got := r.value("dials_total", "outcome=timeout"); got != 3 {
		t.Errorf("dials_total{timeout}: got %v, want each of 3 gateways to have had its chance", got)
	}
	close(release)
	r.empty()
}

// TestStopDuringHandshake ends a router that waits for a gateway.
func TestStopDuringHandshake(t *testing.T) {
	g := gateway(t, "g1")
	asked, release := make(chan struct{}), make(chan struct{})
	g.setReply(func(*far) bool { close(asked); <-release; return false })
	r := start(t, false, func(c *Config, _ *Deps) { c.HandshakeTimeout = time.Hour }, g)
	c := r.connect()
	c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
	<-asked
	r.stop() // must not wait for the hour
	close(release)
	if got := r.r.Sessions(); got != 0 {
		t.Errorf("sessions: got %d, want 0", got)
	}
}

// TestDrainWithoutSessions is over at once and stays so.
func TestDrainWithoutSessions(t *testing.T) {
	r := start(t, false, nil, gateway(t, "g1"))
	if err := r.r.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r.r.Ready() == nil {
		t.Error("ready after a drain")
	}
}
