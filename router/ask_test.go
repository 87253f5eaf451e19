package router

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/leg"
)

// askedHall is a hall whose gateway can be asked on the feed.
func askedHall(t *testing.T, head string, change func(*Config)) *hall {
	t.Helper()
	h := newHall(t, false, 2, head, 0, change)
	h.feed.write(rec(leg.Topic, leg.TakesAsks, 9, at(1), "finals"))
	eventually(t, "the router has heard of it", func() (heard bool) {
		h.r.onEveryLoop(func(w *worker) { heard = len(w.asking) == 1 })
		return heard
	})
	return h
}

// ask is a session that the router asks for on the feed.
type ask struct {
	id      uint32
	request string
}

// FeedMembers implements leg.Listener.
func (a *ask) FeedMembers(leg.Members) {}

// FeedAsked implements leg.Listener.
func (a *ask) FeedAsked(id uint32, request []byte) { *a = ask{id, string(request)} }

// FeedLeft implements leg.Listener.
func (a *ask) FeedLeft(_, _ []byte) {}

// asked reads the router's words on the feed up to the next ask.
func (h *hall) asked() (a ask) {
	h.t.Helper()
	var w leg.Words
	for buf := make([]byte, 1); a.request == ""; {
		if _, err := io.ReadFull(h.feed.r, buf); err != nil {
			h.t.Fatalf("the router asks for nothing: %v", err)
		}
		if err := w.Take(buf, &a); err != nil {
			h.t.Fatal(err)
		}
	}
	return a
}

const grantHead = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"

// grant is the record that begins an asked session behind the message n.
func grant(a ask, head string, n int) string {
	return rec(leg.Granted, 0, 0, at(n), string(leg.AppendGrant(nil, leg.Grant{
		ID: a.id, Begins: true, Ticket: []byte("granted"), Head: []byte(head), First: []byte("welcome"),
	})))
}

// join sends a handshake, and returns what the router asks its feed's gateway.
func (h *hall) join(head string) (*client, ask) {
	h.t.Helper()
	c := h.connect()
	c.send("GET /t/finals HTTP/1.1\r\nHost: edge.example\r\n" + head + "\r\n")
	return c, h.asked()
}

// TestAskedOnFeed begins a session on its topic's feed. It is served like those that were parked there, and comes on a leg when it speaks.
func TestAskedOnFeed(t *testing.T) {
	for name, head := range map[string]string{"websocket": wsHead, "event stream": sseHead} {
		t.Run(name, func(t *testing.T) {
			h := askedHall(t, head, nil)
			answer := grantHead
			if head == sseHead {
				answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
			}
			c, a := h.join(head + "X-Mine: 1\r\n")
			for _, want := range []string{"GET /t/finals HTTP/1.1\r\n", "X-Mine: 1\r\n", leg.HeaderAuth + ": ", leg.HeaderClient + ": 127.0.0.1\r\n"} {
				if !strings.Contains(a.request, want) {
					t.Errorf("%q is missing in %q", want, a.request)
				}
			}
			h.feed.write(grant(a, answer, 1) + message(9, 2, "two"))
			c.want(answer + "welcome" + "two")
			h.want("two")
			h.parked(3)
			if n := h.value("greeted_total", "outcome=feed"); n != 1 {
				t.Errorf("%v sessions have begun on the feed, want 1", n)
			}
			if head == wsHead {
				c.send("hello")
				f := h.g.session()
				if got := f.req.Header.Get(leg.HeaderTicket); got != leg.TicketText([]byte("granted")) {
					t.Errorf("it came with the ticket %q", got)
				}
				if r := f.resume(); !r.Begun || len(r.Topics) != 1 || r.Topics[0].Position != at(2) {
					t.Errorf("it goes on at %+v, want behind 2", r)
				}
				f.want("hello")
				c.conn.Close()
				f.end()
				f.conn.Close()
			}
			c.conn.Close()
			for _, c := range h.clients {
				c.conn.Close()
			}
			h.empty()
			if n := h.value("sessions_parked") + h.value("feeds") + h.value("feed_log_bytes"); n != 0 {
				t.Errorf("without sessions %v are parked, feeds, or bytes", n)
			}
		})
	}
}

// TestAskedInVain has sessions come on legs that the feed's gateway does not give: because it says so, is lost, or says nothing, or nothing that is understood.
func TestAskedInVain(t *testing.T) {
	for name, f := range map[string]func(h *hall, a ask){
		"it has to": func(h *hall, a ask) {
			h.feed.write(rec(leg.Granted, 0, 0, at(1), string(leg.AppendGrant(nil, leg.Grant{ID: a.id}))))
		},
		"lost":         func(h *hall, _ ask) { h.feed.conn.Close() },
		"ended":        func(h *hall, _ ask) { h.feed.write(rec(leg.End, 0, 0, at(1), "")) },
		"silent":       func(*hall, ask) {},
		"malformed":    func(h *hall, _ ask) { h.feed.write(rec(leg.Granted, 0, 0, at(1), "xxxxxxxxxxxxxxx")) },
		"of none":      func(h *hall, a ask) { h.feed.write(grant(ask{id: a.id + 1}, grantHead, 1)) },
		"taken by End": func(h *hall, a ask) { h.feed.write(rec(leg.Topic, leg.Off, 9, at(1), "")) },
	} {
		t.Run(name, func(t *testing.T) {
			h := askedHall(t, wsHead, func(c *Config) { c.DialTimeout = 200 * time.Millisecond })
			c, a := h.join(wsHead)
			f(h, a)
			for { // the others may come too
				s := h.g.session()
				if s.req.Method == leg.MethodResume {
					continue
				}
				s.write(rec(leg.Topic, 0, 3, at(0), "finals") + message(3, 1, "leg"))
				break
			}
			if resp := c.answer(); resp.StatusCode != 101 {
				t.Fatalf("got %s", resp.Status)
			}
			c.want("leg")
			if name == "silent" { // too late
				h.feed.write(grant(a, grantHead, 1) + message(9, 2, "two"))
				h.want("two")
				if n := h.r.Sessions(); n != 3 {
					t.Errorf("there are %d sessions, want 3", n)
				}
			}
		})
	}
}

// TestAskedBehind has a client come back with a position that the feed does not reach back to, though its gateway does: it goes on on a leg.
func TestAskedBehind(t *testing.T) {
	h := askedHall(t, wsHead, func(c *Config) { c.FeedEntries = 2 })
	for i := 2; i < 6; i++ {
		h.feed.write(message(9, i, fmt.Sprint(i)))
		h.want(fmt.Sprint(i))
	}
	c, a := h.join(wsHead)
	h.feed.write(grant(a, grantHead, 2))
	c.want(grantHead + "welcome")
	f := h.g.session()
	if r := f.resume(); r.Topics[0].Position != at(2) {
		t.Errorf("it goes on at %+v, want behind 2", r)
	}
	f.write(rec(leg.Topic, 0, 5, at(2), "finals") + message(5, 3, "three"))
	c.want("three")

	c, a = h.join(wsHead)
	h.feed.write(grant(a, grantHead, 4))
	c.want(grantHead + "welcome" + "5")
	h.parked(3)
}

// TestAskedAndGone has clients go while the feed's gateway is asked, and the router end.
func TestAskedAndGone(t *testing.T) {
	h := askedHall(t, wsHead, nil)
	c, a := h.join(wsHead)
	_ = c.conn.SetLinger(0)
	c.conn.Close()
	h.feed.write(grant(a, grantHead, 1))
	eventually(t, "it is gone", func() bool { return h.r.Sessions() == 2 })
	h.join(wsHead)
	h.stop()
	if n := h.r.Sessions(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

// TestAskedTooOften has a gateway grant nothing: the feed is not asked any more for a while, and what comes gets a leg at once.
func TestAskedTooOften(t *testing.T) {
	h := askedHall(t, wsHead, nil)
	open := func() *client {
		c := h.connect()
		c.send("GET /t/finals HTTP/1.1\r\nHost: edge.example\r\n" + wsHead + "\r\n")
		return c
	}
	for range mostVain {
		c := open()
		h.feed.write(rec(leg.Granted, 0, 0, at(1), string(leg.AppendGrant(nil, leg.Grant{ID: h.asked().id}))))
		h.g.session()
		c.answer()
	}
	c := open()
	h.g.session()
	c.answer()
	h.r.onEveryLoop(func(w *worker) {
		for _, f := range w.feeds {
			f.rest = w.now()
		}
	})
	open()
	h.asked()
}
