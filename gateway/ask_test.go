package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// askHeaders are those of clients in each format, of a router that takes feeds.
func askHeaders() map[format][]string {
	heads := handshakes()
	for f, head := range heads {
		heads[f] = append(head[:len(head):len(head)], leg.HeaderFeeds+": "+leg.Version)
	}
	return heads
}

// feedOf opens the feed of a topic in one format, whose sessions begin with headers; at is where it stands.
func (r *rig) feedOf(topic string, headers []string, at position.Position) *legClient {
	r.t.Helper()
	l := r.leg(topic, headers...)
	for {
		h, body := l.record()
		if h.Kind != leg.Feed {
			continue
		}
		o, ok := leg.ParseOffer([]byte(body))
		if !ok {
			r.t.Fatalf("the offer is %q", body)
		}
		f := r.resumed(leg.TicketText(o.Ticket), leg.Resume{Begun: true, First: -1, Topics: []leg.Standing{{Name: topic, Position: at}}})
		f.wantTopic(topic, leg.TakesAsks, at)
		return f
	}
}

// ask asks for a session on a feed, and returns the answer.
func (l *legClient) ask(id uint32, request string) (leg.Header, leg.Grant) {
	l.t.Helper()
	l.send(leg.AppendAsk(nil, id, []byte(request)))
	h, body := l.record()
	for h.Kind == leg.Beacon { // a heartbeat
		h, body = l.record()
	}
	g, ok := leg.ParseGrant([]byte(body))
	if h.Kind != leg.Granted || !ok || g.ID != id {
		l.t.Fatalf("got %+v %q, want the answer to ask %d", h, body, id)
	}
	return h, g
}

// TestAskedSession begins sessions on a feed, in each format, new ones and such as come back. Each goes on elsewhere by the ticket that it was given.
func TestAskedSession(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		holder := r.dial("finals") // keeps the log
		holder.want("welcome")
		first, second := r.position("finals", "1"), r.position("finals", "2")
		holder.wantNumbers(1, 2)
		for f, headers := range askHeaders() {
			feed := r.feedOf("finals", headers, second)
			for query, at := range map[string]position.Position{"": second, "?since=" + first.String(): first} {
				h, g := feed.ask(7, r.legHead("finals"+query, headers...))
				if !g.Begins || h.Position != at || h.Flags != 0 {
					t.Fatalf("%v %s: got %+v %+v, want a session at %v", f, query, h, g, at)
				}
				head := string(g.Head)
				if strings.Contains(head, "Ringside-") || !strings.HasSuffix(head, "\r\n\r\n") || strings.HasPrefix(head, "HTTP/1.1 200") != (f == formatSSE) {
					t.Errorf("%v: the client's head is %q", f, head)
				}
				session := ""
				switch f {
				case formatV1:
					m := feed.parse(string(g.First))
					if session = m.Session; m.Type != "welcome" || m.Position != at.String() || m.Topic != "finals" {
						t.Errorf("the client is told %+v", m)
					}
				case formatSSE:
					if !strings.Contains(string(g.First), "id: "+at.String()+"\n") {
						t.Errorf("the client is told %q", g.First)
					}
				}
				ticket, err := r.keys.Open(g.Ticket)
				if err != nil || ticket.Topic != "finals" || format(ticket.Format) != f || ticket.Client != "192.0.2.7" || session != "" && session != fmt.Sprintf("%016x", ticket.Session) {
					t.Errorf("%v: the ticket is %+v, %v; the session %s", f, ticket, err, session)
				}
				l := r.resumed(leg.TicketText(g.Ticket), leg.Resume{Begun: true, First: -1, Topics: []leg.Standing{{Name: "finals", Position: at}}})
				l.wantTopic("finals", 0, at)
				if at == first {
					if h, _ := l.record(); h.Kind != leg.Data || h.Position != second {
						t.Errorf("%v: got %+v, want the second message", f, h)
					}
				}
			}
			feed.c.Close()
		}
		if n := r.g.metrics.granted.Load(); n != 6 {
			t.Errorf("%d asks were granted, want 6", n)
		}
	})
}

// TestAskedForALeg sends sessions to legs that a feed can't begin, or is not the right one for.
func TestAskedForALeg(t *testing.T) {
	r := start(t, nil)
	before := r.position("finals", "0")
	before.ID.Ms -= 1000
	holder := r.dial("finals")
	holder.want("welcome")
	stands := r.position("finals", "1")
	holder.want("message")
	r.dial("other").want("welcome")
	heads := askHeaders()
	feed := r.feedOf("finals", heads[formatV1], stands)
	ahead, foreign := stands, stands
	ahead.ID.Ms += 1000
	foreign.Epoch++
	id := uint32(0)
	f := func(name, request string, begins bool) {
		t.Helper()
		id++
		if _, g := feed.ask(id, request); g.Begins != begins {
			t.Errorf("%s: begins %v, want %v", name, g.Begins, begins)
		}
	}
	f("plain", r.legHead("finals", heads[formatV1]...), true)
	f("another topic", r.legHead("other", heads[formatV1]...), false)
	f("another format", r.legHead("finals", heads[formatSSE]...), false)
	f("who asks for viewers", r.legHead("finals?viewers=1", heads[formatV1]...), false)
	f("a position ahead", r.legHead("finals?since="+ahead.String(), heads[formatV1]...), false)
	f("a position of another epoch", r.legHead("finals?since="+foreign.String(), heads[formatV1]...), false)
	f("a position before the log", r.legHead("finals?since="+before.String(), heads[formatV1]...), false)
	f("no position", r.legHead("finals?since=x", heads[formatV1]...), false)
	f("of a router that takes no feeds", r.legHead("finals", handshakes()[formatV1]...), false)
	f("not signed", strings.ReplaceAll(r.legHead("finals", heads[formatV1]...), leg.HeaderAuth, "X-Auth"), false)
	f("no handshake", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false)
	f("no request", "x", false)
	r.g.draining.Store(true)
	f("while it drains", r.legHead("finals", heads[formatV1]...), false)
	r.g.draining.Store(false)
	f("plain, behind all that", r.legHead("finals", heads[formatV1]...), true)
	if n := r.g.Sessions(); n != 4 { // two that were dialled, the one that had the offer, and the feed
		t.Errorf("there are %d sessions, want 4", n)
	}
	feed.send(leg.AppendMembers(nil, leg.Members{All: 1<<32 - 1, Ended: leg.MaxAsk + 1}))
	feed.gone()
}
