package router

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// TestSessionLimit turns down what is above the bound, and takes it when there is room again.
func TestSessionLimit(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.MaxSessions = 2 }, g)
	first := r.open("a", wsHead, "")
	f := g.session()
	r.open("a", wsHead, "")
	c := r.connect()
	c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s with Retry-After %q, want 503 with one", resp.Status, resp.Header.Get("Retry-After"))
	}
	if got := r.value("refused_total", "reason=full"); got != 1 {
		t.Errorf("refused_total{full}: got %v, want 1", got)
	}
	f.write(record(leg.End, ""))
	first.rest()
	first.conn.Close()
	eventually(t, "there is room again", func() bool { return r.r.Sessions() == 1 })
	r.open("a", wsHead, "")
}

// TestShutdown tells the clients when the router ends without a drain.
func TestShutdown(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, nil, g)
		c := r.open("a", wsHead, "")
		f := g.session()
		r.stop()
		if _, ok := sentAway(t, c.rest(), false); !ok {
			t.Error("the client was not told")
		}
		f.end()
		if got := r.r.Sessions(); got != 0 {
			t.Errorf("sessions: got %d, want 0", got)
		}
		if got := r.value("closed_total", "reason=shutdown"); got != 1 {
			t.Errorf("closed_total{shutdown}: got %v, want 1", got)
		}
	})
}

// TestDrain sends the sessions away over the window, in the middle of a message only at its end.
func TestDrain(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g, s := gateway(t, "g1"), rawServer(t, "s1")
		const window = time.Second
		r := start(t, portable, func(c *Config, _ *Deps) { c.DrainWindow = window }, g, s)
		leave := func(c *client, sse bool) {
			delay, ok := sentAway(t, c.rest(), sse)
			if !ok || delay < backoff.Default().Min || delay > backoff.Default().Min+window {
				t.Errorf("not sent away with a delay within the window: %v", delay)
			}
			c.conn.Close()
		}
		var cs []*client
		for range 10 {
			cs = append(cs, r.open(r.ownedBy("g1"), wsHead, ""))
			g.session()
		}
		sse := r.open(r.ownedBy("g1"), sseHead, "")
		raw := r.open(r.ownedBy("s1"), wsHead, "")
		rawFar := s.session()
		rawFar.write(string(wsframe.AppendFrame(nil, wsframe.Text, []byte("hello"))))
		raw.want("\x81\x05hello")
		inside := r.open(r.ownedBy("s1"), wsHead, "")
		insideFar := s.session()
		insideFar.write("\x81\x05he")
		inside.want("\x81\x05he")

		done := make(chan error, 1)
		go func() { done <- r.r.Drain(context.Background()) }()
		eventually(t, "the drain is told", func() bool { return r.r.Ready() != nil && r.value("draining") == 1 })
		for _, c := range cs {
			leave(c, false)
		}
		leave(sse, true)
		leave(raw, false)
		if got := inside.rest(); got != "" {
			t.Errorf("inside a message came %q", got)
		}
		inside.conn.Close()
		if err := <-done; err != nil {
			t.Errorf("Drain: %v", err)
		}
		if got := r.value("closed_total", "reason=drain"); got != 13 {
			t.Errorf("closed_total{drain}: got %v, want 13", got)
		}
		r.empty()
	})
}

// TestDrainAtMessageEnd sends a session away when the message that it is in has come to its end.
func TestDrainAtMessageEnd(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.DrainWindow = time.Hour }, g)
	c := r.open("a", wsHead, "")
	f := g.session()
	large := strings.Repeat("large", leg.MaxWhole/4) // a smaller one is never half way
	rec := record(leg.Data, large)
	f.write(rec[:leg.HeaderSize+2])
	c.want(large[:2])
	r.r.onEveryLoop(func(w *worker) {
		for _, s := range w.sessions {
			s.leave()
		}
	})
	f.write(rec[leg.HeaderSize+2:])
	c.want(large[2:])
	rest := c.rest()
	if _, ok := sentAway(t, rest, false); !ok {
		t.Errorf("got %q, want a close", rest)
	}
	c.conn.Close()
	r.empty()
}

// TestDrainWithoutBoundary sends sessions away at their turn that can't be told when to come back: a raw event stream of a
// given length, and a client whose raw upstream has ended already.
func TestDrainWithoutBoundary(t *testing.T) {
	s := rawServer(t, "s1")
	r := start(t, false, func(c *Config, _ *Deps) { c.DrainWindow = time.Hour }, s)
	s.setReply(func(f *far) bool {
		if f.req.Header.Get("Upgrade") != "" {
			return replyRaw(f)
		}
		f.write(f.answer("Content-Length: 100000\r\n"))
		return true
	})
	sse := r.open("a", sseHead, "")
	s.session()
	ws := r.open("a", wsHead, "")
	f, bye := s.session(), string(wsframe.AppendClose(nil, 1000, ""))
	f.write(bye)
	_ = f.conn.CloseWrite()
	if got := ws.rest(); got != bye {
		t.Errorf("got %q, want the upstream's last words", got)
	}
	r.r.onEveryLoop(func(w *worker) {
		for _, s := range w.sessions {
			s.leave()
		}
	})
	if got := sse.rest(); got != "" {
		t.Errorf("got %q, want the end", got)
	}
	sse.conn.Close()
	ws.conn.Close()
	eventually(t, "both are counted", func() bool { return r.value("closed_total", "reason=drain") == 2 })
	r.empty()
}

// TestDrainPace looks at how many sessions go in one tick of a drain.
func TestDrainPace(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.Loops = 1 }, g)
	const n, ticks = 25, 10
	for range n {
		r.open("a", wsHead, "")
	}
	left := func() (left int) {
		r.r.onEveryLoop(func(w *worker) {
			for _, s := range w.sessions {
				if !s.has(ending) {
					left++
				}
			}
		})
		return left
	}
	eventually(t, "all have arrived", func() bool { return left() == n })
	for i := range ticks {
		r.r.onEveryLoop(func(w *worker) { w.drainSome(ticks - i) })
		want := n - n*(i+1)/ticks
		if got := left(); got < want-1 || got > want+1 {
			t.Errorf("after tick %d of %d: %d sessions are left, want %d", i+1, ticks, got, want)
		}
	}
	if got := left(); got != 0 {
		t.Errorf("after the last tick: %d sessions are left", got)
	}
}

// TestDrainEnds when its context does.
func TestDrainEnds(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.DrainWindow = time.Hour }, g)
	r.open("a", wsHead, "")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.r.Drain(ctx) }()
	eventually(t, "the listener is closed", func() bool { return r.r.Ready() != nil })
	cancel()
	if err := <-done; err == nil {
		t.Error("Drain with a session left: got nil")
	}
}

// TestDrainRefusesHandshakes on connections that were open before.
func TestDrainRefusesHandshakes(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	c := r.connect()
	c.send("GET /t/a HT")
	eventually(t, "the connection is taken", func() bool { return r.value("http_connections") == 1 })
	if err := r.r.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", r.r.Addr()); err == nil {
		conn.Close()
		t.Error("a router that drains still listens")
	}
	c.send("TP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s, want 503", resp.Status)
	}
	if got := r.value("refused_total", "reason=draining"); got != 1 {
		t.Errorf("refused_total{draining}: got %v, want 1", got)
	}
}
