package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/leg"
)

// refusals is how many handshakes were turned down for a reason.
func (r *rig) refusals(reason string) float64 {
	return testutil.ToFloat64(r.g.metrics.refused.WithLabelValues(reason))
}

// What only routers may ask for is refused to everybody else, and to a router whose ticket is none of ours.
func TestResumeAndBeatAreForRouters(t *testing.T) {
	r := start(t, nil)
	good := r.leg("finals", upgradeHeaders...)
	good.opened()
	ticket := leg.HeaderTicket + ": " + good.ticket
	f := func(status int, reason, head string) {
		t.Helper()
		before := r.refusals(reason)
		resp, l := r.exchange(head)
		defer l.c.Close()
		body, _ := io.ReadAll(io.LimitReader(l.b, max(0, resp.ContentLength)))
		var p problem
		if err := json.Unmarshal(body, &p); err != nil || resp.StatusCode != status || p.Error != reason || r.refusals(reason) != before+1 {
			t.Errorf("%.60q: got %d %q, counted %v, want %d %s", head, resp.StatusCode, body, r.refusals(reason)-before, status, reason)
		}
	}
	bare := func(method string, headers ...string) string {
		return method + " / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + leg.Upgrade + "\r\n" +
			strings.Join(append(headers, "", ""), "\r\n")
	}
	version := leg.HeaderLeg + ": " + leg.Version
	sign := func(k *leg.Keyring, method, uri, host string, when time.Time) string {
		return leg.HeaderAuth + ": " + k.Sign(leg.Request{Method: method, URI: uri, Host: host}, when)
	}
	for _, method := range []string{leg.MethodResume, leg.MethodBeat} {
		f(400, "leg_version", bare(method, ticket))
		f(400, "leg_version", bare(method, ticket, leg.HeaderLeg+": v2", sign(r.keys, method, "/", "x", time.Now())))
		f(403, "leg_auth", bare(method, ticket, version))
		f(403, "leg_auth", bare(method, ticket, version, leg.HeaderAuth+": t=1"))
		f(403, "leg_auth", bare(method, ticket, version, sign(otherKeys(t), method, "/", "x", time.Now())))
		f(403, "leg_auth", bare(method, ticket, version, sign(r.keys, "GET", "/", "x", time.Now())))
		f(403, "leg_auth", bare(method, ticket, version, sign(r.keys, method, "/t/finals", "x", time.Now())))
		f(403, "leg_auth", bare(method, ticket, version, sign(r.keys, method, "/", "x", time.Now().Add(-5*time.Minute))))
	}
	f(403, "ticket", r.ours(leg.MethodResume))
	for _, text := range []string{
		"", "!", "AAAA", strings.Repeat("A", 100), strings.Repeat("A", 3000), good.ticket[1:], good.ticket + "AAAA",
		leg.TicketText(otherKeys(t).Seal(leg.Ticket{Session: 1, Topic: "finals"})),
		leg.TicketText(r.keys.Seal(leg.Ticket{Session: 1, Topic: "finals", Format: uint8(formats)})),
	} {
		f(403, "ticket", r.ours(leg.MethodResume, leg.HeaderTicket+": "+text))
	}
	if n := r.g.Sessions(); n != 1 {
		t.Errorf("sessions after all refusals: got %d, want the 1 that was there", n)
	}
	r.publish("finals", "1")
	good.wantNumber("finals", "1")
}

// A router that says nothing sensible behind its request loses the leg, and nobody notices but the counter.
func TestResumeBlockThatIsNone(t *testing.T) {
	bothLoops(t, func(c *Config) { c.MaxTopics = 3; c.HandshakeTimeout = time.Hour }, func(t *testing.T, r *rig) {
		good := r.leg("finals", upgradeHeaders...)
		good.opened()
		topics := func(n int) (list []leg.Standing) {
			for i := range n {
				list = append(list, leg.Standing{Name: fmt.Sprint("t", i)})
			}
			return list
		}
		first := func(r leg.Resume, n int) leg.Resume { r.First = n; return r }
		whole := leg.AppendResume(nil, at(topics(2)...))
		patched := func(i int, v byte) []byte {
			b := append([]byte(nil), whole...)
			b[i] = v
			return b
		}
		var want uint64
		end := func(name string, sent []byte, tooLate bool) {
			t.Helper()
			want++
			l := r.upgrade(leg.MethodResume, leg.HeaderTicket+": "+good.ticket)
			l.send(sent)
			if tooLate {
				testcluster.Soon(t, name+": the session is here, and its time over", func() (here bool) {
					r.each(func(s *session) {
						if s.resume != nil {
							s.since, here = s.since-2*time.Hour.Milliseconds(), true
						}
					})
					return here
				})
			}
			l.gone()
			testcluster.Soon(t, name+": the session is closed", func() bool { return r.g.Sessions() == 1 })
			if n := r.g.metrics.closed[closeResume].Load(); n != want {
				t.Errorf("%s: closed by resume: got %d, want %d", name, n, want)
			}
		}
		f := func(name string, sent []byte) { t.Helper(); end(name, sent, false) }
		f("garbage", []byte("GET / HTTP/1.1\r\n\r\n"))
		f("no length", []byte{0, 0, 0, 0})
		f("another version", patched(4, 9))
		f("a topic that is cut off", patched(14, 200))
		f("more bytes than topics", patched(13, 1))
		f("fewer bytes than topics", patched(13, 3))
		f("a first that is none", leg.AppendResume(nil, first(at(topics(2)...), 2)))
		f("more topics than are allowed", leg.AppendResume(nil, at(topics(4)...)))
		end("nothing at all", nil, true)
		end("a part", whole[:len(whole)-1], true)
		end("a part of its length", whole[:3], true)

		l := r.upgrade(leg.MethodResume, leg.HeaderTicket+": "+good.ticket)
		l.send(whole[:10])
		l.c.Close()
		testcluster.Soon(t, "a router that left is forgotten", func() bool { return r.g.Sessions() == 1 })

		r.publish("finals", "1")
		good.wantNumber("finals", "1")
	})
}

// A block that has a first topic, though no gateway has told of any, is contradictory, and no reason to panic.
func TestResumeFirstOfWhatHasNotBegun(t *testing.T) {
	r := start(t, nil)
	good := r.leg("finals", upgradeHeaders...)
	good.opened()
	for first := range 2 {
		l := r.resumed(good.ticket, leg.Resume{First: first, Topics: []leg.Standing{{Name: "a"}, {Name: "b"}}})
		if h, name := l.record(); h.Kind != leg.Topic || name != "finals" {
			t.Errorf("first %d: got %+v %q, want the ticket's topic", first, h, name)
		}
		l.wantV1("welcome")
	}
	r.publish("finals", "1")
	good.wantNumber("finals", "1")
}

// The block may come in any pieces, and the client's bytes with it.
func TestResumeBlockInPieces(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		l := r.leg("finals", upgradeHeaders...)
		l.opened()
		stands := r.position("finals", "1")
		r.publish("finals", "2")
		ping := clientText(`{"type":"ping"}`)
		block := leg.AppendResume(nil, at(leg.Standing{Name: "finals", Position: stands}))
		resp, l := r.exchange(r.ours(leg.MethodResume, leg.HeaderTicket+": "+l.ticket))
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got %d", resp.StatusCode)
		}
		for _, b := range append(block, ping...) {
			l.send([]byte{b})
		}
		l.wantTopic("finals", 0, stands)
		acked := uint64(0)
		for range 2 {
			h, body := l.record()
			if m := l.parse(body); m.Type == "pong" {
				acked = h.Acknowledged()
			} else if string(m.Data) != "2" {
				t.Errorf("got %+v", m)
			}
		}
		if acked != uint64(len(ping)) {
			t.Errorf("acknowledged: got %d, want %d: the block is not the client's", acked, len(ping))
		}
	})
}
