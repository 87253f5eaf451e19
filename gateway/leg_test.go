package gateway

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// twoGateways runs a test with two gateways on one real Redis, on both kinds of event loop. The second owns no slot and so
// has never tailed any.
func twoGateways(t *testing.T, change func(*Config), f func(t *testing.T, a, b *rig)) {
	for name, portable := range map[string]bool{"native": false, "portable": true} {
		t.Run(name, func(t *testing.T) {
			redis := testcluster.NewRedis(t, false).Addr
			start := func(id string, state ring.State) *rig {
				return startOn(t, redis, state, func(c *Config) {
					c.ID, c.Portable = id, portable
					if change != nil {
						change(c)
					}
				})
			}
			f(t, start("g1", ring.StateJoining), start("g2", ring.StateDraining))
		})
	}
}

// exchange sends the head of a request of a router's and returns the answer, and the connection.
func (r *rig) exchange(head string) (*http.Response, *legClient) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.g.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(testcluster.Limit()))
	l := &legClient{t: r.t, b: bufio.NewReader(c), c: c}
	l.send([]byte(head))
	resp, err := http.ReadResponse(l.b, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, l
}

// ours is the head of a request of a router's own.
func (r *rig) ours(method string, headers ...string) string {
	signed := leg.Request{Method: method, URI: leg.Target, Host: "x"}
	headers = append(headers, "Host: x", "Connection: Upgrade", "Upgrade: "+leg.Upgrade, leg.HeaderLeg+": "+leg.Version,
		leg.HeaderAuth+": "+r.keys.Sign(signed, time.Now()))
	return method + " " + leg.Target + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

// upgrade sends such a request, which must succeed.
func (r *rig) upgrade(method string, headers ...string) *legClient {
	r.t.Helper()
	resp, l := r.exchange(r.ours(method, headers...))
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get(leg.HeaderShard) != r.g.cfg.ID {
		r.t.Fatalf("%s: got %d %v", method, resp.StatusCode, resp.Header)
	}
	return l
}

// resumed goes on with a session: the block, and in the same write what the client has sent behind it.
func (r *rig) resumed(ticket string, block leg.Resume, client ...byte) *legClient {
	r.t.Helper()
	l := r.upgrade(leg.MethodResume, leg.HeaderTicket+": "+ticket)
	l.ticket = ticket
	l.send(append(leg.AppendResume(nil, block), client...))
	return l
}

// at is a resume block of a session that follows topics from where it stands.
func at(topics ...leg.Standing) leg.Resume { return leg.Resume{Begun: true, First: -1, Topics: topics} }

func (l *legClient) send(b []byte) {
	l.t.Helper()
	if _, err := l.c.Write(b); err != nil {
		l.t.Fatal(err)
	}
}

// header reads a record and returns its header, or the leg's end.
func (l *legClient) header() (leg.Header, error) {
	var b [leg.HeaderSize]byte
	if _, err := io.ReadFull(l.b, b[:]); err != nil {
		return leg.Header{}, err
	}
	h, err := leg.ParseHeader(b[:])
	if err == nil {
		_, err = l.b.Discard(int(h.Length))
	}
	return h, err
}

// wantTopic reads the record that tells of a topic.
func (l *legClient) wantTopic(name string, flags leg.Flags, at position.Position) leg.Header {
	l.t.Helper()
	h, got := l.record()
	if h.Kind != leg.Topic || got != name || h.Flags != flags || h.Position != at {
		l.t.Fatalf("got %+v %.100q, want topic %s at %v with flags %d", h, got, name, at, flags)
	}
	return h
}

// wantV1 reads a record of a session of ringside.v1 and returns its header and message.
func (l *legClient) wantV1(kind string) (leg.Header, message) {
	l.t.Helper()
	h, body := l.record()
	m := l.parse(body)
	if m.Type != kind {
		l.t.Fatalf("got %+v %.100q, want a message of type %s", h, body, kind)
	}
	return h, m
}

// wantNumber reads a message whose data is n.
func (l *legClient) wantNumber(topic, n string) leg.Header {
	l.t.Helper()
	h, m := l.wantV1("message")
	if m.Topic != topic || string(m.Data) != n || h.Position.String() != m.ID {
		l.t.Fatalf("got %+v, want %s of %s", m, n, topic)
	}
	return h
}

// opened reads what a session of ringside.v1 begins with.
func (l *legClient) opened() (topic leg.Header, session string) {
	l.t.Helper()
	topic, _ = l.record()
	_, m := l.wantV1("welcome")
	return topic, m.Session
}

// gone reads to the leg's end, which must not be said.
func (l *legClient) gone() {
	l.t.Helper()
	for {
		var b [leg.HeaderSize]byte
		if _, err := io.ReadFull(l.b, b[:]); err != nil {
			return
		}
		h, err := leg.ParseHeader(b[:])
		if err != nil || h.Kind == leg.End {
			l.t.Fatalf("got %+v, %v, want an end without a word", h, err)
		}
		if _, err := l.b.Discard(int(h.Length)); err != nil {
			return
		}
	}
}

// parse reads a record's bytes, one text frame.
func (l *legClient) parse(frame string) (m message) {
	l.t.Helper()
	_, payload := serverFrame(l.t, []byte(frame))
	if err := json.Unmarshal(payload, &m); err != nil {
		l.t.Fatalf("%.100q: %v", frame, err)
	}
	return m
}

// serverFrame takes the first frame, which must be whole, off what a client has got.
func serverFrame(t testing.TB, b []byte) (size int, payload []byte) {
	t.Helper()
	if len(b) >= 10 || len(b) >= 2 && b[1] < 126 || len(b) >= 4 && b[1] == 126 {
		head, n := 2, uint64(b[1])
		switch n {
		case 126:
			head, n = 4, uint64(binary.BigEndian.Uint16(b[2:]))
		case 127:
			head, n = 10, binary.BigEndian.Uint64(b[2:])
		}
		if whole := uint64(head) + n; whole <= uint64(len(b)) {
			return int(whole), b[head:whole]
		}
	}
	t.Fatalf("no whole frame: %.100q", b)
	return 0, nil
}

// clientText is a client's text frame.
func clientText(s string) []byte { return clientFrame(wsframe.Text, s) }

func clientFrame(op wsframe.Opcode, s string) []byte {
	return wsframe.AppendClientFrame(nil, op, [4]byte{1, 2, 3, 4}, []byte(s))
}

// position is that of an entry that was just published.
func (r *rig) position(topic, payload string) position.Position {
	r.t.Helper()
	p, err := position.Parse(r.publish(topic, payload))
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// each calls f for every session, on its loop.
func (r *rig) each(f func(*session)) {
	for _, w := range r.g.workers {
		done := make(chan struct{})
		w.loop.Post(eventloop.NoteFunc(func() {
			defer close(done)
			for _, s := range w.sessions {
				f(s)
			}
		}))
		<-done
	}
}

// empty waits until no session is left.
func (r *rig) empty() {
	r.t.Helper()
	testcluster.Soon(r.t, "no session is left", func() bool { return r.g.Sessions() == 0 })
}
