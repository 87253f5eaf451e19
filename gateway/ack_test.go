package gateway

import (
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// acked reads records up to the one that acknowledges, which must say n, and have an answer of the given type, or "" for
// none.
func (l *legClient) acked(n int, answer string) {
	l.t.Helper()
	for {
		h, body := l.record()
		if h.Acknowledged() == 0 {
			continue
		}
		got := ""
		if len(body) > 0 && body[0] == 0x81 {
			got = l.parse(body).Type
		} else if len(body) > 0 && body[0] == 0x8a {
			got = "control pong"
		}
		if h.Kind != leg.Data || h.Acknowledged() != uint64(n) || got != answer {
			l.t.Fatalf("got %+v %q, want %d acknowledged with answer %q", h, body, n, answer)
		}
		return
	}
}

// Every answer acknowledges what the client has sent up to it, and nothing behind; a part of a frame, or of a message, is
// not acknowledged; what has no answer is acknowledged all the same.
func TestAck(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		l := r.leg("finals", upgradeHeaders...)
		l.opened()
		sent := 0
		f := func(frame []byte, answer string) {
			t.Helper()
			l.send(frame)
			sent += len(frame)
			l.acked(sent, answer)
		}
		f(clientText(`{"type":"ping"}`), "pong")
		f(clientFrame(wsframe.Ping, "hey"), "control pong")
		f(clientFrame(wsframe.Pong, "unasked"), "")
		f(clientText(`{"type":"subscribe","topic":"b"}`), "") // the greeting acknowledges nothing: it has a position
		f(clientText(`{"type":"subscribe","topic":"b"}`), "subscribed")
		f(clientText(`{"type":"unsubscribe","topic":"b"}`), "unsubscribed")
		f(clientText(`{"type":"unsubscribe","topic":"b"}`), "unsubscribed")
		f(clientText(`no JSON`), "error")

		// Several in one write: each answer tells of its own only.
		ping, pong := clientText(`{"type":"ping"}`), clientFrame(wsframe.Pong, "")
		l.send(append(append(append([]byte(nil), ping...), pong...), ping...))
		l.acked(sent+len(ping), "pong")
		sent += 2*len(ping) + len(pong)
		l.acked(sent, "pong")

		// A whole frame with a part of the next: that part is not acknowledged before the rest has come.
		half := len(ping) / 2
		l.send(append(append([]byte(nil), ping...), ping[:half]...))
		sent += len(ping)
		l.acked(sent, "pong")
		for _, b := range ping[half:] {
			l.send([]byte{b})
		}
		sent += len(ping)
		l.acked(sent, "pong")

		// Fragments, with a ping among them, count when the message is whole. The answer to that ping says what it said
		// before.
		head, tail := clientFrame(wsframe.Text, `{"type":`), clientFrame(wsframe.Continuation, `"ping"}`)
		head[0] &^= 0x80
		among := clientFrame(wsframe.Ping, "")
		l.send(append(append([]byte(nil), head...), among...))
		l.acked(sent, "control pong")
		sent += len(head) + len(among)
		f(tail, "pong")
	})
}

// What is not acknowledged comes again at the next gateway: subscriptions that are there already are answered, and nothing
// comes of it.
func TestAckThatWasLost(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		stands := r.position("finals", "1")
		b := r.position("b", "1")
		r.tailed("finals", stands.String())
		r.tailed("b", r.publish("b", "2"))
		again := clientText(`{"type":"subscribe","topic":"b","since":"` + b.String() + `"}`)
		all := append(append(append([]byte(nil), again...), clientText(`{"type":"unsubscribe","topic":"gone"}`)...), again...)
		l := r.resumed(r.ticketOf("finals"), at(leg.Standing{Name: "finals", Position: stands}, leg.Standing{Name: "b", Position: r.stands("b")}), all...)
		l.acked(len(again), "subscribed")
		l.acked(len(all)-len(again), "unsubscribed")
		l.acked(len(all), "subscribed")
		r.publish("b", "3")
		l.wantNumber("b", "3") // and not 2, which the client had
		subs := 0
		r.each(func(s *session) { s.subs(func(*sub) { subs++ }) })
		if subs != 2 {
			t.Errorf("subscriptions: got %d, want 2", subs)
		}
	})
}

// An answer to a topic that is not tailed yet comes later than the acknowledgement, and then from whichever gateway.
func TestAckOfWhatIsNotAnsweredYet(t *testing.T) {
	twoGateways(t, nil, func(t *testing.T, a, b *rig) {
		stands := a.position("finals", "1")
		known := a.position("b", "1")
		a.publish("b", "2")
		subscribe := clientText(`{"type":"subscribe","topic":"b","since":"` + known.String() + `"}`)
		l := b.resumed(b.ticketOf("finals"), at(leg.Standing{Name: "finals", Position: stands}), subscribe...)
		l.wantTopic("finals", 0, stands)
		l.wantTopic("b", leg.Asked, known) // first, so that the acknowledgement does not lose it
		l.c.Close()
		b.empty()
		l = a.resumed(l.ticket, at(leg.Standing{Name: "finals", Position: stands}, leg.Standing{Name: "b", Position: known, Asked: true}))
		l.wantTopic("finals", 0, stands)
		l.wantTopic("b", leg.Asked, known)
		l.wantV1("subscribed")
		l.wantNumber("b", "2")
	})
}

// What breaks the protocol is not acknowledged; the session ends with a word.
func TestAckOfABadFrame(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		l := r.leg("finals", upgradeHeaders...)
		l.opened()
		ping := clientText(`{"type":"ping"}`)
		l.send(append(append([]byte(nil), ping...), 0xff, 0xff))
		l.acked(len(ping), "pong")
		if h, body := l.record(); h.Kind != leg.End || h.Acknowledged() != 0 || body[0] != 0x88 {
			t.Errorf("got %+v %q, want an End with a close frame", h, body)
		}
		l.c.Close()
		testcluster.Soon(t, "the session is gone", func() bool { return r.g.Sessions() == 0 })
	})
}

// A client of ringside.raw has its pings acknowledged; what that of an event stream sends is nothing.
func TestAckOfOtherFormats(t *testing.T) {
	r := start(t, nil)
	l := r.leg("finals", handshakes()[formatRaw]...)
	ping := clientFrame(wsframe.Ping, "")
	l.send(ping)
	l.acked(len(ping), "control pong")
	l = r.leg("finals", sseHeaders...)
	l.record()
	l.record()
	l.send(ping)
	r.publish("finals", "1")
	if h, _ := l.record(); h.Topic == 0 {
		t.Errorf("got %+v, want the message", h)
	}
}
