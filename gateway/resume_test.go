package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/stream"
)

var sseHeaders = []string{"Host: x", "Accept: text/event-stream"}

// handshakes are the handshake's headers for each format.
func handshakes() map[format][]string {
	return map[format][]string{
		formatV1:  upgradeHeaders,
		formatRaw: append(upgradeHeaders[:5:5], "Sec-WebSocket-Protocol: ringside.raw"),
		formatSSE: sseHeaders,
	}
}

// A router gets a ticket that says what the client has asked for; a client that comes directly gets none.
func TestTicketOfTheHandshake(t *testing.T) {
	r := start(t, nil)
	since := position.Position{Epoch: 7, ID: position.ID{Ms: 8, Seq: 9}}
	f := func(l *legClient, want leg.Ticket) {
		t.Helper()
		sealed, err := leg.ParseTicketText(l.ticket)
		if err != nil {
			t.Fatalf("ticket %q: %v", l.ticket, err)
		}
		got, err := r.keys.Open(sealed)
		if want.Session = got.Session; err != nil || got != want {
			t.Errorf("ticket: got %+v, %v, want %+v", got, err, want)
		}
		if _, err := otherKeys(t).Open(sealed); err == nil {
			t.Error("the ticket opens with another secret")
		}
		there := 0
		r.each(func(s *session) {
			if s.id == got.Session {
				there++
			}
		})
		if there != 1 {
			t.Errorf("sessions with the ticket's ID: got %d, want 1", there)
		}
	}
	hs := handshakes()
	const client = "192.0.2.7"
	opened := func(query string, headers []string) *legClient {
		l := r.leg(query, headers...)
		l.record() // then it has come to its loop
		return l
	}
	f(opened("finals", hs[formatV1]), leg.Ticket{Topic: "finals", Client: client, Format: 0})
	f(opened("caf%C3%A9", hs[formatRaw]), leg.Ticket{Topic: "café", Client: client, Format: 1})
	f(opened("finals", hs[formatSSE]), leg.Ticket{Topic: "finals", Client: client, Format: 2})
	f(opened("finals?since="+since.String(), hs[formatV1]), leg.Ticket{Topic: "finals", Client: client, Since: since, Resumed: true})
	f(opened("finals", append(hs[formatSSE][:2:2], "Last-Event-ID: "+since.String())),
		leg.Ticket{Topic: "finals", Client: client, Format: 2, Since: since, Resumed: true})
	f(opened(strings.Repeat("x", 255), hs[formatV1]), leg.Ticket{Topic: strings.Repeat("x", 255), Client: client})

	for _, headers := range handshakes() {
		resp := r.ask("GET /t/finals HTTP/1.1", headers...)
		resp.Body.Close()
		for name := range resp.Header {
			if strings.HasPrefix(name, leg.HeaderPrefix) {
				t.Errorf("a direct client's answer has %s", name)
			}
		}
	}
	resp := r.ask("GET /t/finals?since=now HTTP/1.1", upgradeHeaders...)
	defer resp.Body.Close()
	if resp.Header.Get(leg.HeaderTicket) != "" {
		t.Error("a refusal has a ticket")
	}
}

func otherKeys(t *testing.T) *leg.Keyring {
	t.Helper()
	k, err := leg.NewKeyring("another secret")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A session goes on behind the record that its client had last: no message is missing, none comes twice, and nobody is
// greeted anew. The bytes are those that the first gateway would have sent.
func TestResumeHasExactlyTheMissing(t *testing.T) {
	twoGateways(t, nil, func(t *testing.T, a, b *rig) {
		for fm, headers := range handshakes() {
			for _, next := range []*rig{b, a} {
				name := fmt.Sprintf("%v by %s", fm, next.g.cfg.ID)
				topic := strings.ReplaceAll(name, " ", "-")
				undisturbed := a.leg(topic, headers...)
				l := a.leg(topic, headers...)
				for _, l := range []*legClient{l, undisturbed} {
					l.record()
					l.record()
				}
				for i := range 10 {
					a.publish(topic, fmt.Sprintf("early %d", i))
				}
				var stands position.Position
				for i := range 4 {
					h, got := l.record()
					if _, want := undisturbed.record(); got != want {
						t.Fatalf("%s: message %d: got %q, want %q", name, i, got, want)
					}
					stands = h.Position
				}
				l.c.Close()
				for i := range 5 {
					a.publish(topic, fmt.Sprintf("late %d", i))
				}
				before := next.g.metrics.goneOn[fm].Load()
				l = next.resumed(l.ticket, at(leg.Standing{Name: topic, Position: stands}))
				num := l.wantTopic(topic, 0, stands).Topic
				for i := range 11 {
					wantH, want := undisturbed.record()
					h, got := l.record()
					if h.Kind != leg.Data || h.Topic != num || h.Position != wantH.Position || got != want {
						t.Fatalf("%s: message %d: got %+v %q, want %+v %q", name, i, h, got, wantH, want)
					}
					if i == 9 { // nothing is left to come but this
						a.publish(topic, "last")
					}
				}
				ticket, _ := leg.ParseTicketText(l.ticket)
				want, err := a.keys.Open(ticket)
				if err != nil {
					t.Fatal(err)
				}
				same := false
				next.each(func(s *session) { same = same || s.id == want.Session })
				if !same {
					t.Errorf("%s: the session has another ID", name)
				}
				if n := next.g.metrics.goneOn[fm].Load(); n != before+1 {
					t.Errorf("%s: counted as gone on: got %d, want 1", name, n-before)
				}
				l.c.Close()
				undisturbed.c.Close()
			}
		}
		if n := b.g.metrics.opened[formatV1].Load(); n != 0 {
			t.Errorf("sessions that the second gateway has begun: got %d, want 0", n)
		}
		a.empty()
		b.empty()
	})
}

// Where no gateway has come to tell of a topic, the session begins as its client has asked.
func TestResumeOfWhatHasNotBegun(t *testing.T) {
	twoGateways(t, nil, func(t *testing.T, a, b *rig) {
		first, second := a.position("finals", "1"), a.position("finals", "2")
		a.tailed("finals", second.String())
		notBegun := leg.Resume{First: -1}
		for _, next := range []*rig{b, a} {
			l := a.leg("finals", upgradeHeaders...)
			_, session := l.opened()
			l = next.resumed(l.ticket, notBegun)
			topic, _ := l.record()
			if topic.Kind != leg.Topic || topic.Flags != leg.Asked {
				t.Fatalf("%s: got %+v, want the topic", next.g.cfg.ID, topic)
			}
			h, w := l.wantV1("welcome")
			if w.Session != session || w.Topic != "finals" || h.Topic != topic.Topic || h.Position != second || w.Position != second.String() {
				t.Errorf("%s: welcome: got %+v %+v, want session %s at %v", next.g.cfg.ID, h, w, session, second)
			}

			l = a.leg("finals?since="+first.String(), upgradeHeaders...)
			l = next.resumed(l.ticket, notBegun)
			l.wantTopic("finals", leg.Asked, first)
			if h, _ := l.wantV1("welcome"); h.Position != first {
				t.Errorf("%s: welcome: got %+v, want it at %v", next.g.cfg.ID, h, first)
			}
			l.wantNumber("finals", "2")

			l = a.leg("finals?since="+first.String(), sseHeaders...)
			l = next.resumed(l.ticket, notBegun)
			l.wantTopic("finals", leg.Asked, first)
			if h, b := l.record(); !strings.HasPrefix(b, "retry: ") || h.Position != first {
				t.Errorf("%s: SSE: got %+v %q", next.g.cfg.ID, h, b)
			}
			if h, b := l.record(); h.Position != second || b != "id: "+second.String()+"\ndata: 2\n\n" {
				t.Errorf("%s: SSE: got %+v %q", next.g.cfg.ID, h, b)
			}
		}
	})
}

// Whoever has asked for a topic and had no answer gets it now: the welcome for the topic of the connect URL, "subscribed"
// for another. Whoever had it does not get it again.
func TestResumeGreetsWhoWaitsForIt(t *testing.T) {
	twoGateways(t, nil, func(t *testing.T, a, b *rig) {
		since := a.position("b", "1")
		a.publish("b", "2")
		known := a.position("c", "3")
		l := a.leg("a", upgradeHeaders...)
		_, session := l.opened()
		ticket := l.ticket
		l = b.resumed(ticket, at(leg.Standing{Name: "c", Position: known}, leg.Standing{Name: "b", Asked: true, Position: since},
			leg.Standing{Name: "d", Asked: true}, leg.Standing{Name: "a", Asked: true}))
		greeted := map[string]string{}
		told := map[string]leg.Header{}
		for len(greeted) < 3 || len(told) < 4 {
			h, body := l.record()
			if h.Kind == leg.Topic {
				told[body] = h
				continue
			}
			m := l.parse(body)
			if m.Topic == "b" && m.Type == "message" {
				if string(m.Data) != "2" || greeted["b"] == "" {
					t.Errorf("of b: got %+v", m)
				}
				continue
			}
			greeted[m.Topic] = m.Type
			if m.Session != "" && m.Session != session {
				t.Errorf("session: got %s, want %s", m.Session, session)
			}
		}
		if got := fmt.Sprint(greeted); got != "map[a:welcome b:subscribed d:subscribed]" {
			t.Errorf("greeted: got %s", got)
		}
		for name, flags := range map[string]leg.Flags{"a": leg.Asked, "b": leg.Asked, "c": 0, "d": leg.Asked} {
			if told[name].Flags != flags {
				t.Errorf("%s: got flags %d, want %d", name, told[name].Flags, flags)
			}
		}
		l.c.Close()

		// The topic of the connect URL, once left, stays so, and has no welcome when it is asked for anew.
		l = b.resumed(ticket, at(leg.Standing{Name: "c", Position: known}))
		l.wantTopic("c", 0, known)
		a.publish("a", "unheard")
		last := a.publish("c", "4")
		b.tailed("c", last)
		l.wantNumber("c", "4")
		l.send(clientText(`{"type":"subscribe","topic":"a"}`))
		l.record()
		if _, m := l.wantV1("subscribed"); m.Topic != "a" {
			t.Errorf("got %+v", m)
		}
	})
}

// An empty session is one, too.
func TestResumeWithoutTopics(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		l := r.leg("a", upgradeHeaders...)
		ping := clientText(`{"type":"ping"}`)
		l = r.resumed(l.ticket, at(), ping...)
		if h, _ := l.wantV1("pong"); h.Acknowledged() != uint64(len(ping)) {
			t.Errorf("acknowledged: got %d, want %d", h.Acknowledged(), len(ping))
		}
	})
}

// The stream has begun a new epoch between two gateways: the client is told of the gap, as often as it takes until it has
// got word of it.
func TestResumeInAnotherEpoch(t *testing.T) {
	twoGateways(t, nil, func(t *testing.T, a, b *rig) {
		for fm, headers := range handshakes() {
			topic := fm.String()
			was := a.position(topic, "1")
			l := a.leg(topic, headers...)
			l.record()
			l.c.Close()
			key := stream.Key(b.g.slotOf(topic))
			a.redisDo("DEL", key, strings.TrimSuffix(key, "stream")+"epoch")
			var h leg.Header
			for range 2 { // the first time it is cut before it has read of the gap, and so comes again as it was
				l = b.resumed(l.ticket, at(leg.Standing{Name: topic, Position: was}))
				l.wantTopic(topic, 0, was)
				var body string
				h, body = l.record()
				if h.Kind != leg.Beacon || h.Position.Epoch == was.Epoch || (body == "") != (fm == formatRaw) {
					t.Fatalf("%v: got %+v %q, want a gap", fm, h, body)
				}
				if fm == formatV1 {
					if m := l.parse(body); m.Type != "gap" || m.Reason != "epoch" || m.After != was.String() || m.Position != h.Position.String() {
						t.Errorf("got %+v", m)
					}
				}
				l.c.Close()
			}
			l = b.resumed(l.ticket, at(leg.Standing{Name: topic, Position: h.Position}))
			l.wantTopic(topic, 0, h.Position)
			next := a.position(topic, "2")
			if h, body := l.record(); h.Kind != leg.Data || h.Position != next {
				t.Errorf("%v: behind the gap: got %+v %q, want the message at %v", fm, h, body, next)
			}
		}
	})
}

// What was trimmed before the next gateway could read it is a gap as well.
func TestResumeAcrossATrim(t *testing.T) {
	twoGateways(t, nil, func(t *testing.T, a, b *rig) {
		first := a.position("finals", "1")
		for i := 2; i <= 10; i++ {
			a.publish("finals", fmt.Sprint(i))
		}
		l := a.leg("finals", upgradeHeaders...)
		l.opened()
		l.c.Close()
		a.redisDo("XTRIM", stream.Key(b.g.slotOf("finals")), "MAXLEN", "3")
		l = b.resumed(l.ticket, at(leg.Standing{Name: "finals", Position: first}))
		l.wantTopic("finals", 0, first)
		h, m := l.wantV1("gap")
		if h.Kind != leg.Beacon || m.Reason != "trimmed" || m.After != first.String() || m.Position != h.Position.String() {
			t.Errorf("got %+v %+v", h, m)
		}
		for _, n := range []string{"8", "9", "10"} {
			l.wantNumber("finals", n)
		}
	})
}

// A session that goes on, and then does not read, is told what it has missed.
func TestResumeOfASlowSession(t *testing.T) {
	bothLoops(t, func(c *Config) { c.LogEntries = 20 }, func(t *testing.T, r *rig) {
		stands := r.position("finals", "1")
		r.tailed("finals", stands.String())
		l := r.leg("finals", upgradeHeaders...)
		l = r.resumed(l.ticket, at(leg.Standing{Name: "finals", Position: stands}))
		topic := l.wantTopic("finals", 0, stands)
		for r.full() == 0 {
			r.flood("finals", 10, 100<<10)
		}
		r.flood("finals", 100, 10)
		gaps, last := 0, stands
		for last != r.stands("finals") {
			h, body := l.record()
			if h.Topic != topic.Topic {
				t.Fatalf("got %+v", h)
			}
			m := l.parse(body)
			switch m.Type {
			case "gap":
				gaps++
				if m.Reason != "slow" || m.After != last.String() || h.Kind != leg.Beacon {
					t.Fatalf("gap: got %+v, want one after %v", m, last)
				}
			case "message":
				if last != stands && last.ID.Ms+1 != h.Position.ID.Ms {
					t.Fatalf("message %v after %v", h.Position, last)
				}
			}
			last = h.Position
		}
		if gaps == 0 {
			t.Error("the session was not told of a gap")
		}
	})
}

// full is how many sessions' sockets take nothing at present.
func (r *rig) full() (n uint64) {
	for _, w := range r.g.workers {
		n += w.counts.full.Load()
	}
	return n
}

// stands is where the tail of a topic's slot stands.
func (r *rig) stands(topic string) position.Position {
	s := r.g.slots[r.g.slotOf(topic)]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// While it drains, or is full, a gateway takes nobody else's sessions; the router has others to ask.
func TestResumeIsRefused(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxSessions = 1 })
	l := r.leg("finals", upgradeHeaders...)
	l.opened()
	f := func(reason string) {
		t.Helper()
		resp, refused := r.exchange(r.ours(leg.MethodResume, leg.HeaderTicket+": "+l.ticket))
		refused.c.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || r.refusals(reason) != 1 {
			t.Errorf("%s: got %d %v, counted %v", reason, resp.StatusCode, resp.Header, r.refusals(reason))
		}
	}
	f("full")
	r.publish("finals", "1")
	l.wantNumber("finals", "1")
	l.c.Close()
	r.empty()
	if err := r.g.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	f("draining")
	r.empty()
}
