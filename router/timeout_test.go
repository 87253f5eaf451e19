package router

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// TestIdle ends a session in which nothing moves, and not one in which something does.
func TestIdle(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, func(c *Config, _ *Deps) { c.IdleTimeout = time.Hour }, g)
		idle, busy := r.open("a", wsHead, ""), r.open("b", wsHead, "")
		idleFar, busyFar := g.session(), g.session()
		if strings.Contains(busyFar.head, "/t/a") {
			idleFar, busyFar = busyFar, idleFar
		}
		pass := func(d time.Duration) { // as if nothing had moved for so long
			r.r.onEveryLoop(func(w *worker) {
				for _, s := range w.sessions {
					s.moved -= ticksOf(d.Milliseconds())
				}
			})
		}
		pass(40 * time.Minute)
		busyFar.write(record(leg.Beacon, "") + record(leg.Data, "busy"))
		busy.want("busy")
		pass(40 * time.Minute)
		if _, ok := sentAway(t, idle.rest(), false); !ok {
			t.Error("the idle client was not sent away")
		}
		idle.conn.Close()
		idleFar.end()
		r.closedFor(closeIdle)
		busyFar.write(record(leg.Data, "here"))
		busy.want("here")
		if n := r.value("closed_total", "reason="+closeIdle.String()); n != 1 {
			t.Errorf("closed as idle: got %v, want 1", n)
		}
	})
}

// TestWriteTimeout ends a session whose client takes nothing, and one whose upstream does.
func TestWriteTimeout(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, func(c *Config, _ *Deps) { c.WriteTimeout = 300 * time.Millisecond }, g)
		stalled := r.open("a", wsHead, "")
		f := g.session()
		sent := make(chan struct{})
		go func() { // until the router closes
			defer close(sent)
			body := record(leg.Data, strings.Repeat("x", 1<<20))
			for {
				if _, err := f.conn.Write([]byte(body)); err != nil {
					return
				}
			}
		}()
		r.closedFor(closeWriteTimeout)
		<-sent
		stalled.conn.Close()

		talker := r.open("a", wsHead, "")
		f = g.session()
		sent = make(chan struct{})
		go func() {
			defer close(sent)
			for {
				if _, err := talker.conn.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}()
		if _, ok := sentAway(t, talker.rest(), false); !ok {
			t.Error("the client of a stalled gateway was not sent away")
		}
		talker.conn.Close()
		<-sent
		f.conn.Close()
		r.closedFor(closeUpstreamTimeout)
		r.empty()
	})
}

// TestSlowClient lets a client live that takes a little now and then.
func TestSlowClient(t *testing.T) {
	s := rawServer(t, "s1")
	r := start(t, false, func(c *Config, _ *Deps) { c.Loops, c.WriteTimeout = 1, time.Hour }, s)
	c := r.open("a", wsHead, "")
	f := s.session()
	sent := make(chan struct{})
	go func() { defer close(sent); _, _ = f.conn.Write(make([]byte, 64<<20)) }()
	eventually(t, "the client's socket is full", func() bool { return r.value("sessions_blocked", "to=client") == 1 })
	const before = 1 << 14 // most of an hour
	since := func(change ticks) (age ticks) {
		r.r.onEveryLoop(func(w *worker) {
			for _, s := range w.sessions {
				if s.waitsDown() {
					s.waiting.downSince -= change
					age = w.now() - s.waiting.downSince
				}
			}
		})
		return age
	}
	if since(before) < before {
		t.Fatal("the session does not wait")
	}
	if _, err := io.CopyN(io.Discard, c.r, 8<<20); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what it took counts", func() bool { return since(0) < before })
	c.conn.Close()
	<-sent
}

// TestGrace closes on a client that was told of the end and does not go.
func TestGrace(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	c := r.open("a", wsHead, "")
	g.session().write(record(leg.End, "bye"))
	if got := c.rest(); got != "bye" {
		t.Errorf("got %q, want bye", got)
	}
	c.send("I stay") // is dropped
	r.closedFor(closeEnd)
	r.empty()
}

// TestUnacked has a client that sends more than is kept of it, of which its gateway can do nothing. Another gateway could not
// either: it is not moved, but told.
func TestUnacked(t *testing.T) {
	g := movable(t, "g1")
	const bound = 4 << 10
	r := start(t, false, func(c *Config, _ *Deps) { c.MaxUnacked = bound; c.WriteTimeout = 200 * time.Millisecond }, g)
	eventually(t, "its gateway has a heartbeat", func() bool { return r.value("gateways", "pulse=up") == 1 })
	c := r.open("a", wsHead, "")
	f := g.session()
	c.send(strings.Repeat("x", bound))
	f.want(strings.Repeat("x", bound))
	if got, want := c.rest(), string(wsframe.AppendClose(nil, codeTooBig, "")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f.end()
	c.conn.Close()
	r.closedFor(closeUnacked)
	r.empty()
	if n := len(g.sessions); n != 0 {
		t.Errorf("it was moved %d times", n)
	}
}
