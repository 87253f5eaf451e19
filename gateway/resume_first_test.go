package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// commands are what the client of the tests below had sent last: each has an answer that must wait for the first message.
var commands = string(clientText(`{"type":"ping"}`)) + string(clientFrame(wsframe.Ping, "hey")) +
	string(clientText(`{"type":"subscribe","topic":"e"}`)) + string(clientText(`{"type":"unsubscribe","topic":"c"}`))

// wantFirst reads what follows a block whose first topic is named: its next message comes before anything else for the
// client, and everything else behind it. It ends when all commands are acknowledged and others, messages of other topics,
// have come.
func (l *legClient) wantFirst(topic string, stands position.Position, data string, others ...string) (acked uint64) {
	l.t.Helper()
	num := l.wantTopic(topic, 0, stands).Topic
	h, body := l.record()
	if !h.Kind.ForClient() || h.Topic != num || !strings.Contains(body, data) {
		l.t.Fatalf("got %+v %.100q, want the first message of %s", h, body, topic)
	}
	missing := map[string]bool{"pong": true, "subscribed e": true, "unsubscribed c": true, "welcome a": true}
	for _, o := range others {
		missing["message "+o] = true
	}
	for len(missing) > 0 || acked < uint64(len(commands)) {
		h, body := l.record()
		acked = max(acked, h.Acknowledged())
		if h.Kind == leg.Topic || h.Length == 0 {
			continue
		}
		if strings.HasPrefix(body, "\x8a\x03hey") {
			continue
		}
		m := l.parse(body)
		what := strings.TrimSpace(m.Type + " " + m.Topic)
		if m.Type == "message" {
			what += " " + string(m.Data)
		}
		delete(missing, what)
	}
	return acked
}

// firstBlock is the block of a session that follows a (asked for), b, c and d, of which b is to come first.
func firstBlock(b, c, d position.Position) leg.Resume {
	r := at(leg.Standing{Name: "a", Asked: true}, leg.Standing{Name: "b", Position: b},
		leg.Standing{Name: "c", Position: c}, leg.Standing{Name: "d", Position: d})
	r.First = 1
	return r
}

// ticketOf is the ticket of a session that has begun with topic.
func (r *rig) ticketOf(topic string) string {
	return leg.TicketText(r.keys.Seal(leg.Ticket{Session: 1, Topic: topic, Client: "192.0.2.7"}))
}

// The message of which the client has a part comes before everything else, wherever the gateway has it from.
func TestResumeFirst(t *testing.T) {
	twoGateways(t, nil, func(t *testing.T, a, b *rig) {
		holders := map[string]*legClient{}
		for _, topic := range []string{"b", "c", "d"} { // they keep the logs of a
			holders[topic] = a.leg(topic, upgradeHeaders...)
			holders[topic].opened()
		}
		stands := map[string]position.Position{}
		for _, topic := range []string{"b", "c", "d"} {
			stands[topic] = a.position(topic, "1")
			a.publish(topic, "2")
			a.tailed(topic, a.publish(topic, "3"))
		}
		for _, next := range []*rig{a, b} { // a has it in memory, b reads it from the stream
			l := next.resumed(a.ticketOf("a"), firstBlock(stands["b"], stands["c"], stands["d"]), []byte(commands)...)
			l.wantFirst("b", stands["b"], `"data":2`, "b 3", "d 2", "d 3")
			l.c.Close()
		}
		if n := a.g.metrics.replayReads.Load(); n != 0 {
			t.Errorf("pages that the first gateway has read: got %d, want 0", n)
		}
		if n := b.g.metrics.replayReads.Load(); n == 0 {
			t.Error("pages that the second gateway has read: got none")
		}
		for _, h := range holders {
			h.c.Close()
		}
		a.empty()
		b.empty()
	})
}

// The gateway's tail may be behind that of the one before: then the message comes to it only now.
func TestResumeFirstIsYetToCome(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		stands := map[string]position.Position{}
		for _, topic := range []string{"b", "c", "d"} {
			stands[topic] = r.position(topic, "1")
			r.tailed(topic, stands[topic].String())
		}
		r.publish("d", "2")
		l := r.resumed(r.ticketOf("a"), firstBlock(stands["b"], stands["c"], stands["d"]), []byte(commands)...)
		live := func() (n int) { // sessions that wait for nothing but the message
			r.each(func(s *session) {
				if s.resume != nil && s.resume.first != nil && s.resume.first.state == subLive {
					n++
				}
			})
			return n
		}
		testcluster.Soon(t, "the session stands at the end of the log", func() bool { return live() == 1 })
		r.publish("b", "2")
		l.wantFirst("b", stands["b"], `"data":2`, "d 2")
	})
}

// A first message that the socket does not take at once holds up everything until it is through.
func TestResumeFirstIsLarge(t *testing.T) {
	const size = 12 << 20 // more than the sockets hold
	twoGateways(t, func(c *Config) { c.MaxControl = 1 << 20 }, func(t *testing.T, a, b *rig) {
		stands := map[string]position.Position{}
		for _, topic := range []string{"b", "c", "d"} {
			stands[topic] = a.position(topic, "1")
		}
		large := strings.Repeat("x", size)
		a.tailed("b", a.publish("b", large))
		a.publish("b", "3")
		a.publish("d", "2")
		holder := a.leg("b?since="+stands["b"].String(), upgradeHeaders...)
		holder.opened()
		for _, next := range []*rig{a, b} {
			l := next.resumed(a.ticketOf("a"), firstBlock(stands["b"], stands["c"], stands["d"]), []byte(commands)...)
			testcluster.Soon(t, "the socket is full", func() bool {
				full := 0
				next.each(func(s *session) {
					if s.full && s.resume != nil && s.resume.first.last != stands["b"] {
						full++
					}
				})
				return full == 1
			})
			more := clientFrame(wsframe.Pong, "")
			l.send(more)
			for acked := l.wantFirst("b", stands["b"], large, "b 3", "d 2"); acked < uint64(len(commands)+len(more)); {
				h, _ := l.record()
				acked = max(acked, h.Acknowledged())
			}
			l.c.Close()
		}
	})
}

// Where the message can't be had any more, the client is told so, and the rest follows: it is for the router to see that
// this does not complete what the client has.
func TestResumeFirstIsLost(t *testing.T) {
	realRedis(t, usual, func(t *testing.T, r *rig) {
		stands := r.position("b", "1")
		other := r.position("d", "1")
		r.publish("d", "2")
		r.tailed("b", stands.String())
		stands.Epoch++
		l := r.resumed(r.ticketOf("a"), firstBlock(stands, other, other), []byte(commands)...)
		l.wantFirst("b", stands, `"gap"`, "d 2")
	})
}

// The first may be the topic of the connect URL, or the only one.
func TestResumeFirstIsTheOnly(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		stands := r.position("a", "1")
		r.tailed("a", r.publish("a", "2"))
		for i, name := range []string{"a", "other"} {
			l := r.resumed(r.ticketOf(name), leg.Resume{Begun: true, Topics: []leg.Standing{{Name: "a", Position: stands}}}, clientText(`{"type":"ping"}`)...)
			l.wantTopic("a", 0, stands)
			for n := 2; n <= 2+i; n++ {
				l.wantNumber("a", fmt.Sprint(n))
			}
			l.wantV1("pong")
			r.tailed("a", r.publish("a", fmt.Sprint(3+i)))
			l.wantNumber("a", fmt.Sprint(3+i))
			l.c.Close()
		}
	})
}
