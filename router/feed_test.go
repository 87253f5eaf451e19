package router

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

const feedTicket = "feed"

// sharing starts a gateway that takes sessions and feeds.
func sharing(t testing.TB, id string) *upstreamServer {
	t.Helper()
	return newUpstream(t, id, false, func(f *far) bool {
		if f.req.Header.Get(leg.HeaderFeeds) != leg.Version {
			f.t.Errorf("the router does not say that it takes feeds: %s", f.head)
		}
		if f.req.Method == leg.MethodResume {
			f.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ringside-leg\r\nRingside-Leg: v1\r\n\r\n")
		} else {
			f.write(f.answer("Ringside-Leg: v1\r\nRingside-Ticket: " + testTicket + "\r\n"))
		}
		return true
	})
}

// isFeed reports whether a leg is a feed's.
func (f *far) isFeed() bool {
	return f.req.Header.Get(leg.HeaderTicket) == leg.TicketText([]byte(feedTicket))
}

// offer is a record that offers a feed.
func offer(topic uint32, flags leg.Flags, until time.Time) string {
	p := position.Position{}
	if !until.IsZero() {
		p.ID.Ms = uint64(until.UnixMilli())
	}
	return rec(leg.Feed, flags, topic, p, string(leg.AppendOffer(nil, leg.Offer{Key: 77, Ticket: []byte(feedTicket)})))
}

// hall is a router with sessions that are parked, and the feed that serves them.
type hall struct {
	*rig
	g       *upstreamServer
	clients []*client
	feed    *far
}

// shares makes a router that opens feeds soon.
func shares(c *Config, d *Deps) {
	quick(c, d)
	c.Loops, c.FeedMin, c.ParkAfter = 1, 2, time.Millisecond
}

// newHall parks n sessions, which all have the message at 1.
func newHall(t testing.TB, portable bool, n int, head string, flags leg.Flags, change func(*Config)) *hall {
	t.Helper()
	h := &hall{g: sharing(t, "g1")}
	h.rig = start(t, portable, func(c *Config, d *Deps) {
		shares(c, d)
		if change != nil {
			change(c)
		}
	}, h.g)
	for range n {
		c := h.open("finals", head, "")
		f := h.g.session()
		if f.isFeed() { // it is opened as soon as it may be worth it
			h.feed, f = f, h.g.session()
		}
		f.write(rec(leg.Topic, 0, 3, at(0), "finals") + message(3, 1, "one") + offer(3, flags, time.Time{}))
		c.want("one")
		h.clients = append(h.clients, c)
	}
	h.takeFeed(1)
	h.feed.write(rec(leg.Topic, 0, 9, at(1), "finals"))
	h.parked(n)
	return h
}

// takeFeed waits for the feed's leg, which goes on behind a message.
func (h *hall) takeFeed(behind int) {
	h.t.Helper()
	if h.feed == nil {
		h.feed = h.g.session()
	}
	if !h.feed.isFeed() {
		h.t.Fatalf("a session came, want the feed: %s", h.feed.head)
	}
	r := h.feed.resume()
	if !r.Begun || len(r.Topics) != 1 || r.Topics[0].Name != "finals" || r.Topics[0].Asked || r.Topics[0].Position != at(behind) {
		h.t.Fatalf("the feed goes on at %+v, want finals behind %d", r, behind)
	}
}

// parked waits until so many sessions are.
func (h *hall) parked(n int) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%d sessions are parked", n), func() bool { return h.value("sessions_parked") == float64(n) })
}

// want reads what every client should get.
func (h *hall) want(s string) {
	h.t.Helper()
	for _, c := range h.clients {
		c.want(s)
	}
}

// What is behind a record that has nothing for the clients comes with it, also where it is more than is worth one write.
func TestFeedBehindNothing(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		h := newHall(t, portable, 3, wsHead, 0, nil)
		large := strings.Repeat("x", feedWrite+1)
		h.feed.write(rec(leg.Beacon, 0, 9, at(2), "") + message(9, 3, large))
		h.want(large)
	})
}

func TestFeedServesItsSessions(t *testing.T) {
	for name, head := range map[string]string{"websocket": wsHead, "event stream": sseHead} {
		t.Run(name, func(t *testing.T) {
			bothLoops(t, func(t *testing.T, portable bool) {
				h := newHall(t, portable, 3, head, 0, nil)
				h.feed.write(message(9, 2, "two") + message(9, 3, "three"))
				h.want("twothree")
				h.feed.write(rec(leg.Beacon, 0, 9, at(4), "") + rec(leg.Beacon, 0, 9, at(5), "beat"))
				h.want("beat")
				large := strings.Repeat("0123456789", 10_000)
				whole := message(9, 6, large)
				h.feed.write(whole[:50_000])
				h.feed.write(whole[50_000:] + message(9, 6, "again") + message(9, 7, "seven"))
				h.want(large + "seven")

				var b [leg.MembersSize]byte
				for {
					if _, err := io.ReadFull(h.feed.r, b[:]); err != nil {
						t.Fatalf("the gateway is not told for how many sessions the feed stands: %v", err)
					}
					if leg.ParseMembers(b[:]) == (leg.Members{All: 3, Firsts: 3}) {
						break
					}
				}
				if n := h.r.Sessions(); n != 3 {
					t.Errorf("there are %d sessions, want 3", n)
				}
				// A feed that its gateway loses goes on at the next, and nobody notices.
				h.feed.write(message(9, 8, "eight")[:leg.HeaderSize+2])
				h.feed.conn.Close()
				h.feed = nil
				h.takeFeed(7)
				h.feed.write(rec(leg.Topic, 0, 1, at(7), "finals") + message(1, 8, "eight"))
				h.want("eight")
				h.clients[0].conn.Close()
				for {
					if _, err := io.ReadFull(h.feed.r, b[:]); err != nil {
						t.Fatalf("the gateway is not told that a session has ended: %v", err)
					}
					if leg.ParseMembers(b[:]) == (leg.Members{All: 2, Firsts: 2, Ended: 1}) {
						break
					}
				}
				for _, c := range h.clients {
					c.conn.Close()
				}
				h.empty()
				if n := h.value("sessions_parked") + h.value("feeds") + h.value("feed_log_bytes"); n != 0 {
					t.Errorf("without sessions %v are parked, feeds, or bytes", n)
				}
			})
		})
	}
}

// A client that speaks gets a leg, and misses nothing meanwhile; then it is parked again.
func TestParkedClientSpeaks(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		h := newHall(t, portable, 3, wsHead, 0, nil)
		h.clients[0].send("hello")
		f := h.g.session()
		if got := f.req.Header.Get(leg.HeaderTicket); got != testTicket {
			t.Fatalf("it came with the ticket %q", got)
		}
		if r := f.resume(); len(r.Topics) != 1 || r.Topics[0].Position != at(1) {
			t.Fatalf("it goes on at %+v, want behind 1", r)
		}
		f.want("hello")
		h.parked(2)
		h.feed.write(message(9, 2, "two"))
		h.clients[1].want("two")
		h.clients[2].want("two")
		f.write(rec(leg.Topic, 0, 5, at(1), "finals") + acked(5) + rec(leg.Data, 0, 0, leg.Acknowledge(0), "you too") + message(5, 2, "two"))
		h.clients[0].want("you tootwo")
		f.write(offer(5, 0, time.Time{}))
		h.parked(3)
		h.feed.write(message(9, 3, "three"))
		h.want("three")
	})
}

// Pings of libraries, and pongs for the heartbeats of raw clients, need no gateway.
func TestParkedClientPings(t *testing.T) {
	h := newHall(t, false, 2, wsHead, 0, nil)
	h.r.onEveryLoop(func(w *worker) { // as if they had been silent
		for _, s := range w.sessions {
			s.home.spoke -= minChatter
		}
	})
	mask := [4]byte{1, 2, 3, 4}
	h.clients[0].send(string(wsframe.AppendClientFrame(nil, wsframe.Ping, mask, []byte("are you there"))))
	h.clients[0].want(string(wsframe.AppendFrame(nil, wsframe.Pong, []byte("are you there"))))
	h.clients[1].send(string(wsframe.AppendClientFrame(nil, wsframe.Pong, mask, []byte("here"))))
	h.feed.write(message(9, 2, "two"))
	h.want("two")
	if n := h.value("unparked_total"); n != 0 {
		t.Errorf("%v sessions were given legs", n)
	}
	// One that does nothing else is for its gateway to judge.
	flood := string(wsframe.AppendClientFrame(nil, wsframe.Ping, mask, nil))
	h.clients[0].send(strings.Repeat(flood, 2*maxControls))
	f := h.g.session()
	f.resume()
	f.want(flood)
}

// A client that falls off the feed's log goes on at a gateway, whose log reaches back further.
func TestParkedClientFallsBehind(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		h := newHall(t, portable, 2, wsHead, 0, func(c *Config) { c.FeedEntries, c.Unsent = 4, 4096 })
		slow, body := h.clients[0], strings.Repeat("x", 100_000)
		n := 2
		var f *far
		for f == nil {
			if n > 2000 {
				t.Fatal("the client never fell behind")
			}
			h.feed.write(message(9, n, body))
			h.clients[1].want(body)
			n++
			select {
			case f = <-h.g.sessions:
			default:
			}
		}
		r := f.resume()
		from := int(r.Topics[0].Position.ID.Ms)
		if from < 1 || from >= n {
			t.Fatalf("it goes on behind %d, of %d", from, n-1)
		}
		f.write(rec(leg.Topic, 0, 5, at(from), "finals") + message(5, from+1, "end"))
		for i := 2; i <= from; i++ {
			slow.want(body)
		}
		slow.want("end")
		if n := h.value("unparked_total", "reason=behind"); n != 1 {
			t.Errorf("%v sessions were given a leg because they were behind, want 1", n)
		}
	})
}

func TestStrictFeedDropsWhoDoesNotKeepUp(t *testing.T) {
	h := newHall(t, false, 2, wsHead, leg.Strict, func(c *Config) { c.Unsent = 4096 })
	body := strings.Repeat("x", 100_000)
	var f *far
	n := 2
	for ; f == nil && n < 300; n++ { // the log would reach back to all of them
		h.feed.write(message(9, n, body))
		h.clients[1].want(body)
		select {
		case f = <-h.g.sessions:
		default:
		}
	}
	if f == nil {
		t.Fatal("a client that does not read is served from a strict feed")
	}
	f.resume()
}

// When a feed ends, for whatever reason, its sessions get legs.
func TestFeedEnds(t *testing.T) {
	for name, last := range map[string]string{
		"on purpose": rec(leg.End, 0, 0, position.Position{}, "bye"), "against the protocol": strings.Repeat("x", 100),
		"the topic is off": rec(leg.Topic, leg.Off, 9, at(1), ""),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t, false, 3, wsHead, 0, nil)
			h.feed.write(message(9, 2, "two"))
			h.want("two")
			h.feed.write(last)
			for range 3 {
				f := h.g.session()
				if r := f.resume(); r.Topics[0].Position != at(2) {
					t.Errorf("one goes on at %+v, want behind 2", r)
				}
				f.write(rec(leg.Topic, 0, 5, at(2), "finals") + message(5, 3, "three"))
			}
			h.want("three")
		})
	}
}

// A session whose token ends is back at a gateway before that.
func TestParkedUntil(t *testing.T) {
	g := sharing(t, "g1")
	r := start(t, false, shares, g)
	far := make([]*far, 2)
	for i := range far {
		c := r.open("finals", wsHead, "")
		far[i] = g.session()
		until := time.Now().Add(7 * time.Second)
		if i == 1 {
			until = time.Time{}
		}
		far[i].write(rec(leg.Topic, 0, 3, at(0), "finals") + message(3, 1, "one") + offer(3, 0, until))
		c.want("one")
	}
	feed := g.session()
	feed.resume()
	feed.write(rec(leg.Topic, 0, 9, at(1), "finals"))
	f := g.session()
	if f.isFeed() {
		t.Fatal("the feed came again")
	}
	f.resume()
	if n := r.value("unparked_total", "reason=expiry"); n != 1 {
		t.Errorf("%v sessions came because of their tokens, want 1", n)
	}
}

// Parked sessions go to a successor as what they are.
func TestHandOverParked(t *testing.T) {
	for name, off := range map[string]bool{"to one that shares": false, "to one that does not": true} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t, false, 3, wsHead, 0, nil)
			h.feed.write(message(9, 2, "two"))
			h.want("two")
			next := start(t, false, func(c *Config, d *Deps) {
				shares(c, d)
				c.NoFeeds = off
			}, h.g)
			if off {
				h.g.setReply(replyMovable)
			}
			if err := h.r.HandOver(t.Context(), give(t, next)); err != nil {
				t.Fatal(err)
			}
			h.empty()
			h.stop()
			if off {
				for range 3 {
					f := h.g.session()
					if r := f.resume(); r.Topics[0].Position != at(2) {
						t.Errorf("one goes on at %+v, want behind 2", r)
					}
					f.write(rec(leg.Topic, 0, 5, at(2), "finals") + message(5, 3, "three"))
				}
				h.want("three")
				return
			}
			h.feed = nil
			h.takeFeed(2)
			h.feed.write(rec(leg.Topic, 0, 1, at(2), "finals") + message(1, 3, "three"))
			h.want("three")
			h.rig = next
			h.parked(3)
			if n := next.value("sessions_homeless"); n != 0 {
				t.Errorf("%v sessions are without a gateway", n)
			}
		})
	}
}
