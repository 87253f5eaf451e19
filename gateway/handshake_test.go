package gateway

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/leg"
)

var upgradeHeaders = []string{"Host: x", "Connection: Upgrade", "Upgrade: websocket",
	"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}

// problem is a JSON error.
type problem struct{ Error, Message string }

// ask sends a request as it stands and returns the answer.
func (r *rig) ask(requestLine string, headers ...string) *http.Response {
	r.t.Helper()
	c, err := net.Dial("tcp", r.g.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(testcluster.Limit()))
	if _, err := io.WriteString(c, requestLine+"\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n"); err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		r.t.Fatalf("%.80s: %v", requestLine, err)
	}
	return resp
}

func (r *rig) refused(requestLine string, headers ...string) (int, problem) {
	r.t.Helper()
	resp := r.ask(requestLine, headers...)
	defer resp.Body.Close()
	var p problem
	b, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(b, &p); err != nil || p.Message == "" {
		r.t.Errorf("%.80s: got %d %q, want a JSON error", requestLine, resp.StatusCode, b)
	}
	return resp.StatusCode, p
}

func TestRefusals(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxHeader = 4 << 10 })
	established := r.dial("finals")
	established.want("welcome")
	f := func(status int, reason, requestLine string, headers ...string) {
		t.Helper()
		before := testutil.ToFloat64(r.g.metrics.refused.WithLabelValues(reason))
		code, p := r.refused(requestLine, headers...)
		if code != status || p.Error != reason {
			t.Errorf("%.80s: got %d %+v, want %d %s", requestLine, code, p, status, reason)
		}
		if got := testutil.ToFloat64(r.g.metrics.refused.WithLabelValues(reason)); got != before+1 {
			t.Errorf("%s: counted %v, want 1", reason, got-before)
		}
	}
	up := upgradeHeaders
	without := func(name string) (hs []string) {
		for _, h := range up {
			if !strings.HasPrefix(h, name+":") {
				hs = append(hs, h)
			}
		}
		return hs
	}
	f(405, "method", "POST /t/finals HTTP/1.1", "Host: x", "Content-Length: 0")
	f(400, "body", "GET /t/finals HTTP/1.1", append(up[:5:5], "Content-Length: 3", "", "abc")...)
	f(400, "topic_missing", "GET / HTTP/1.1", up...)
	f(400, "topic_empty", "GET /t/ HTTP/1.1", up...)
	f(400, "topic_too_long", "GET /t/"+strings.Repeat("x", 256)+" HTTP/1.1", up...)
	f(400, "topic_control", "GET /t/a%07b HTTP/1.1", up...)
	f(400, "topic_utf8", "GET /t/%ff HTTP/1.1", up...)
	f(400, "topic_escape", "GET /t/%zz HTTP/1.1", up...)
	f(400, "topic_conflict", "GET /t/a?topic=b HTTP/1.1", up...)
	f(400, "topic_repeated", "GET /?topic=a&topic=b HTTP/1.1", up...)
	f(400, "position", "GET /t/finals?since=now HTTP/1.1", up...)
	f(400, "position", "GET /t/finals?since=00000001-1-0&since=00000001-1-0 HTTP/1.1", up...)
	f(400, "position", "GET /t/finals HTTP/1.1", "Host: x", "Accept: text/event-stream", "Last-Event-ID: 17")
	f(426, "not_a_session", "GET /t/finals HTTP/1.1", "Host: x")
	f(400, "subprotocol", "GET /t/finals HTTP/1.1", append(up[:5:5], "Sec-WebSocket-Protocol: mqtt, soap")...)
	f(400, "websocket", "GET /t/finals HTTP/1.1", without("Sec-WebSocket-Key")...)
	f(426, "websocket", "GET /t/finals HTTP/1.1", without("Sec-WebSocket-Version")...)
	f(400, "websocket", "GET /t/finals HTTP/1.1", without("Connection")...)
	f(431, "header_too_large", "GET /t/finals HTTP/1.1", append(up[:5:5], "X-Long: "+strings.Repeat("x", 5000))...)
	f(400, "leg_version", "GET /t/finals HTTP/1.1", append(up[:5:5], leg.HeaderLeg+": v9")...)
	f(403, "leg_auth", "GET /t/finals HTTP/1.1", append(up[:5:5], leg.HeaderLeg+": "+leg.Version)...)
	if n := r.g.Sessions(); n != 1 {
		t.Errorf("sessions after all refusals: got %d, want the 1 that was there", n)
	}
	r.publish("finals", "1")
	established.want("message")
}

func TestSessionLimit(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxSessions = 2 })
	a, b := r.dial("finals"), r.dial("finals")
	a.want("welcome")
	b.want("welcome")
	resp := r.ask("GET /t/finals HTTP/1.1", upgradeHeaders...)
	defer resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the third of two: got %d %v", resp.StatusCode, resp.Header)
	}
	a.c.Close()
	testcluster.Soon(t, "a place is free", func() bool { return r.g.Sessions() == 1 })
	r.dial("finals").want("welcome")
}

// legClient is what a router's side of a leg sees.
type legClient struct {
	t      testing.TB
	b      *bufio.Reader
	c      net.Conn
	ticket string
}

func (r *rig) leg(topicAndQuery string, headers ...string) *legClient {
	r.t.Helper()
	c, err := net.Dial("tcp", r.g.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(testcluster.Limit()))
	if _, err := io.WriteString(c, r.legHead(topicAndQuery, headers...)); err != nil {
		r.t.Fatal(err)
	}
	l := &legClient{t: r.t, b: bufio.NewReader(c), c: c}
	resp, err := http.ReadResponse(l.b, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.Header.Get(leg.HeaderLeg) != leg.Version || resp.Header.Get(leg.HeaderShard) != r.g.cfg.ID {
		r.t.Fatalf("answer to a leg: got %d %v", resp.StatusCode, resp.Header)
	}
	l.ticket = resp.Header.Get(leg.HeaderTicket)
	return l
}

// legHead is the handshake of a client as a router hands it on.
func (r *rig) legHead(topicAndQuery string, headers ...string) string {
	signed := leg.Request{Method: "GET", URI: "/t/" + topicAndQuery, Host: "x", Client: "192.0.2.7"}
	headers = append(headers, leg.HeaderLeg+": "+leg.Version, leg.HeaderClient+": "+signed.Client,
		leg.HeaderAuth+": "+r.keys.Sign(signed, time.Now()))
	return "GET " + signed.URI + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

func (l *legClient) record() (leg.Header, string) {
	l.t.Helper()
	var b [leg.HeaderSize]byte
	if _, err := io.ReadFull(l.b, b[:]); err != nil {
		l.t.Fatal(err)
	}
	h, err := leg.ParseHeader(b[:])
	if err != nil {
		l.t.Fatal(err)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(l.b, body); err != nil {
		l.t.Fatal(err)
	}
	return h, string(body)
}

func TestLeg(t *testing.T) {
	bothLoops(t, func(c *Config) { c.MoveGrace = 50 * time.Millisecond }, func(t *testing.T, r *rig) {
		l := r.leg("finals", upgradeHeaders...)
		h, name := l.record()
		if h.Kind != leg.Topic || h.Topic == 0 || name != "finals" || h.Flags != leg.Asked {
			t.Fatalf("first record: got %+v %q, want the topic", h, name)
		}
		num := h.Topic
		if h, b := l.record(); h.Kind != leg.Data || h.Topic != num || !strings.Contains(b, `"welcome"`) {
			t.Fatalf("second record: got %+v %q, want the welcome", h, b)
		}
		id := r.publish("finals", "1")
		if h, b := l.record(); h.Kind != leg.Data || h.Topic != num || h.Position.String() != id || !strings.Contains(b, `"data":1`) {
			t.Fatalf("message: got %+v %q", h, b)
		}
		// Another session of the topic shares the record, number and all.
		l2 := r.leg("finals", upgradeHeaders...)
		if h, _ := l2.record(); h.Topic != num {
			t.Errorf("the topic's number for another session: got %d, want %d", h.Topic, num)
		}
		l2.c.Close()
		drained := make(chan error, 1)
		go func() { drained <- r.g.Drain(t.Context()) }()
		if h, b := l.record(); h.Kind != leg.Move || b != "" {
			t.Errorf("last record: got %+v %q, want the wish to move", h, b)
		}
		// A router that does nothing about it sees the leg end without an End record, and has to find another gateway.
		if _, err := l.b.ReadByte(); err != io.EOF {
			t.Errorf("behind the wish to move: got %v, want EOF", err)
		}
		l.c.Close()
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
	})
}

func TestLegSSE(t *testing.T) {
	r := start(t, nil)
	l := r.leg("finals", "Host: x", "Accept: text/event-stream")
	l.record()
	if h, b := l.record(); h.Kind != leg.Data || !strings.HasPrefix(b, "retry: ") {
		t.Fatalf("got %+v %q", h, b)
	}
	id := r.publish("finals", "1")
	if h, b := l.record(); h.Position.String() != id || b != "id: "+id+"\ndata: 1\n\n" {
		t.Errorf("got %+v %q", h, b)
	}
}

func TestBadFrames(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxFrame = 1000 })
	quiet := r.dial("finals")
	quiet.want("welcome")
	f := func(name string, code int, frame string) {
		t.Helper()
		c := r.dial("finals")
		c.want("welcome")
		if _, err := c.c.NetConn().Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		if ce := c.closed(); ce.Code != code {
			t.Errorf("%s: got %v, want %d", name, ce, code)
		}
	}
	mask := "\x00\x00\x00\x00"
	f("unmasked", 1002, "\x81\x01x")
	f("reserved bit", 1002, "\xc1\x81"+mask+"x")
	f("reserved opcode", 1002, "\x83\x81"+mask+"x")
	f("fragmented ping", 1002, "\x09\x81"+mask+"x")
	f("continuation of nothing", 1002, "\x80\x81"+mask+"x")
	f("text that is not UTF-8", 1007, "\x81\x81"+mask+"\xff")
	f("binary in ringside.v1", 1003, "\x82\x81"+mask+"x")
	f("too large", 1009, "\x81\xfe\x10\x00"+mask)
	f("close with a bad code", 1002, "\x88\x82"+mask+"\x03\xed")
	if n := testutil.CollectAndCount(r.g.metrics.frames); n == 0 {
		t.Error("bad frames are not counted")
	}
	// Fragmented messages are legal.
	c := r.dial("finals")
	c.want("welcome")
	_, _ = c.c.NetConn().Write([]byte("\x01\x88" + mask + `{"type":` + "\x80\x87" + mask + `"ping"}`))
	c.want("pong")
	r.publish("finals", "1")
	quiet.want("message")
}
