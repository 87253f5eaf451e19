package router

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// sentAway parses what a client is sent away with: a close frame, or the end of an event stream.
func sentAway(t *testing.T, rest string, sse bool) (delay time.Duration, ok bool) {
	t.Helper()
	var ms int64
	if sse {
		if _, err := fmt.Sscanf(rest, "retry: %d\n\n", &ms); err != nil {
			return 0, false
		}
		return time.Duration(ms) * time.Millisecond, true
	}
	if len(rest) < 2 || rest[0] != 0x80|byte(wsframe.Close) || int(rest[1]) != len(rest)-2 {
		return 0, false
	}
	code, reason, err := wsframe.ParseClose([]byte(rest[2:]))
	var v struct{ Reconnect int64 }
	if err != nil || code != codeRestart || json.Unmarshal([]byte(reason), &v) != nil {
		return 0, false
	}
	return time.Duration(v.Reconnect) * time.Millisecond, true
}

// TestEnd looks whether an End record's bytes are the client's last, whatever comes behind.
func TestEnd(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, nil, g)
		r.noGrace()
		for _, head := range []string{wsHead, sseHead} {
			c := r.open("a", head, "")
			f := g.session()
			f.write(record(leg.Data, "one") + record(leg.End, "two") + record(leg.Data, "never"))
			if got := c.rest(); got != "onetwo" {
				t.Errorf("got %q, want onetwo", got)
			}
			f.end()
			c.conn.Close()
		}
		r.closedFor(closeEnd)
		r.empty()
	})
}

// TestCrash ends a leg without an End record, at every kind of place.
func TestCrash(t *testing.T) {
	small, large := record(leg.Data, strings.Repeat("x", 100)), record(leg.Data, strings.Repeat("x", 2*leg.MaxWhole))
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, nil, g)
		f := func(name, head, sent, want string, told bool, crash func(*far)) {
			t.Helper()
			c := r.open("a", head, "")
			f := g.session()
			f.write(sent)
			c.want(want)
			crash(f)
			rest := c.rest()
			delay, ok := sentAway(t, rest, head == sseHead)
			switch {
			case !told && rest != "":
				t.Errorf("%s: got %q inside a message, want a plain close", name, rest)
			case told && (!ok || delay < backoff.Default().Min || delay > backoff.Default().SoonMost()):
				t.Errorf("%s: got %q, want to be sent away for a while", name, rest)
			}
			c.conn.Close()
		}
		leave := func(f *far) { f.conn.Close() }
		f("at once", wsHead, "", "", true, leave)
		f("behind a record", wsHead, record(leg.Data, "one"), "one", true, leave)
		f("inside a header", wsHead, record(leg.Data, "one")+small[:20], "one", true, leave)
		f("behind a header", wsHead, record(leg.Data, "one")+small[:leg.HeaderSize], "one", true, leave)
		f("inside a topic's name", wsHead, record(leg.Data, "one")+record(leg.Topic, "finals")[:35], "one", true, leave)
		f("inside a small record", wsHead, small[:leg.HeaderSize+10], "", true, leave)
		f("inside a record", wsHead, large[:leg.HeaderSize+10], strings.Repeat("x", 10), false, leave)
		f("event stream, behind a record", sseHead, record(leg.Data, "one"), "one", true, leave)
		f("event stream, inside a record", sseHead, large[:leg.HeaderSize+10], strings.Repeat("x", 10), false, leave)
		f("reset behind a record", wsHead, record(leg.Data, "one"), "one", true, (*far).reset)
		f("reset inside a record", wsHead, large[:leg.HeaderSize+10], strings.Repeat("x", 10), false, (*far).reset)
		eventually(t, "all are counted", func() bool { return r.value("closed_total", "reason=leg_lost") == 11 })
		r.empty()
	})
}

// TestRawCrash ends a raw upstream without a close frame, between two frames and inside one: by a reset, and as the system
// ends the connections of a process that was killed. One that has sent a close frame has had its last word.
func TestRawCrash(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		s := rawServer(t, "s1")
		r := start(t, portable, nil, s)
		f := func(sent string, crash func(*far), told bool) {
			t.Helper()
			c := r.open("a", wsHead, "")
			f := s.session()
			f.write(sent)
			c.want(sent)
			crash(f)
			rest := c.rest()
			delay, ok := sentAway(t, rest, false)
			if ok != told || !told && rest != "" || told && (delay < backoff.Default().Min || delay > backoff.Default().SoonMost()) {
				t.Errorf("behind %q: got %q", sent, rest)
			}
			c.conn.Close()
		}
		killed := func(f *far) { f.conn.Close() }
		bye := string(wsframe.AppendClose(nil, 1000, ""))
		for _, crash := range []func(*far){(*far).reset, killed} {
			f("", crash, true)
			f("\x81\x05hello", crash, true)
			f("\x81\x05hell", crash, false)
			f("\x81\x05hello"+bye, crash, false)
		}
		eventually(t, "all resets are counted", func() bool { return r.value("closed_total", "reason=upstream_error") == 4 })
		r.empty()
	})
}

// TestRawEventStreamEnds ends a raw event stream at every kind of place: between two events its client is told when to come back.
func TestRawEventStreamEnds(t *testing.T) {
	s := rawServer(t, "s1")
	r := start(t, false, nil, s)
	f := func(headers, sent string, told bool) {
		t.Helper()
		for _, crash := range []func(*far){(*far).reset, func(f *far) { f.conn.Close() }} {
			s.setReply(func(f *far) bool {
				f.write(f.answer(headers))
				return true
			})
			c := r.open("a", sseHead, "")
			f := s.session()
			f.write(sent)
			c.want(sent)
			crash(f)
			rest := c.rest()
			if strings.Contains(headers, "chunked") && told {
				body, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(rest)))
				if err != nil {
					t.Errorf("behind %q: %q is no chunks: %v", sent, rest, err)
				}
				rest = string(body)
			}
			delay, ok := sentAway(t, rest, true)
			if ok != told || !told && rest != "" || told && (delay < backoff.Default().Min || delay > backoff.Default().SoonMost()) {
				t.Errorf("%q behind %q: got %q", headers, sent, rest)
			}
			c.conn.Close()
		}
	}
	const chunked = "Transfer-Encoding: chunked\r\n"
	f("", "", true)
	f("", "data: 1\n\n", true)
	f("", "data: 1\r\n\r\n", true)
	f("", "data: 1\n", false)
	f("", "data: 1\r\n", false)
	f(chunked, "", true)
	f(chunked, "9\r\ndata: 1\n\n\r\n", true)
	f(chunked, "b\r\ndata: 1\r\n\r\n\r\n", true)
	f(chunked, "9\r\ndata: 1\n\n", false)
	f(chunked, "9\r\ndata: 1\n\n\r\n9\r\n", false)
	f(chunked, "8\r\ndata: 1\n\r\n", false)
	f(chunked, "9\r\ndata: 1\n\n\r\n0\r\n\r\n", false)
	f("Content-Length: 9\r\n", "data: 1\n\n", false)
	f("Content-Encoding: gzip\r\n", "data: 1\n\n", false)
	r.empty()
}

// TestCrashAtEveryOffset ends a leg that can't be moved behind each of its bytes: the client has what came whole for it,
// and a close frame.
func TestCrashAtEveryOffset(t *testing.T) {
	type part struct {
		kind leg.Kind
		body string
	}
	var records string
	points := []string{""} // what the client has, by how much came
	client := ""
	for _, p := range []part{
		{leg.Topic, "finals"}, {leg.Data, "welcome"}, {leg.Beacon, ""}, {99, "skip"}, {leg.Data, strings.Repeat("b", 90)}, {leg.Beacon, "beat"},
	} {
		records += record(p.kind, p.body)
		for range leg.HeaderSize + len(p.body) - 1 {
			points = append(points, client)
		}
		if p.kind.ForClient() {
			client += p.body
		}
		points = append(points, client)
	}
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	for cut, want := range points {
		g.setReply(func(f *far) bool {
			f.write(f.answer(leg.HeaderLeg+": v1\r\n") + records[:cut])
			return false
		})
		c := r.open("a", wsHead, "")
		c.want(want)
		rest := c.rest()
		if _, ok := sentAway(t, rest, false); !ok {
			t.Fatalf("cut at %d: got %q behind what came, want a close frame", cut, rest)
		}
		c.conn.Close()
	}
	r.empty()
}

// TestCrashDelaysAreSpread looks whether the clients of a gateway come back one by one.
func TestCrashDelaysAreSpread(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	const n = 40
	var cs []*client
	for range n {
		cs = append(cs, r.open("a", wsHead, ""))
	}
	for range n {
		g.session()
	}
	g.stop()
	seen := map[time.Duration]bool{}
	for _, c := range cs {
		delay, ok := sentAway(t, c.rest(), false)
		if !ok {
			t.Fatal("not sent away with a delay")
		}
		seen[delay] = true
		c.conn.Close()
	}
	if len(seen) < n/2 {
		t.Errorf("%d clients have %d different delays", n, len(seen))
	}
	r.empty()
}

// TestLegProtocol breaks the leg's protocol.
func TestLegProtocol(t *testing.T) {
	bad := map[string]string{
		"kind":     string(leg.AppendHeader(nil, leg.Header{Kind: 200})),
		"size":     string(leg.AppendHeader(nil, leg.Header{Kind: leg.Data, Length: leg.MaxRecord + 1})),
		"nonsense": "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
	}
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, nil, g)
		for name, b := range bad {
			c := r.open("a", wsHead, "")
			f := g.session()
			f.write(record(leg.Data, "one") + b)
			want := "one" + string(wsframe.AppendClose(nil, codeInternal, ""))
			if got := c.rest(); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
			f.end()
			c.conn.Close()
		}
		eventually(t, "all are counted", func() bool { return r.value("closed_total", "reason=leg_protocol") == 3 })
		if got := r.value("leg_errors_total"); got != 3 {
			t.Errorf("leg_errors_total: got %v, want 3", got)
		}
		r.empty()
	})
}

// TestLastWords ends a session while its client's socket is full: what waits comes first, then the last words, then the
// end.
func TestLastWords(t *testing.T) {
	s := rawServer(t, "s1")
	r := start(t, false, nil, s)
	r.noGrace()
	c := r.open("a", wsHead, "")
	f := s.session()
	sent := make(chan int, 1)
	go func() {
		n, _ := f.conn.Write(make([]byte, 64<<20))
		sent <- n
	}()
	eventually(t, "the client's socket is full", func() bool { return r.value("sessions_blocked", "to=client") == 1 })
	forwarded := 0
	r.r.onEveryLoop(func(w *worker) {
		for _, s := range w.sessions {
			forwarded = len(s.waiting.down)
			s.finish(closeDrain, []byte("last words"))
		}
	})
	forwarded += int(r.value("forwarded_bytes_total", "to=client"))
	got := c.rest()
	if !strings.HasSuffix(got, "\x00last words") || len(got) < 1<<10 || len(got) > forwarded+len("last words") {
		t.Errorf("got %d bytes, of %d that were handed on, ending in %q", len(got), forwarded, got[max(0, len(got)-20):])
	}
	<-sent
	c.conn.Close()
	r.closedFor(closeDrain)
	r.empty()
}

// TestEndBehindFullLeg ends a session whose client has gone behind bytes that the gateway does not take: nobody waits for
// it any more.
func TestEndBehindFullLeg(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, nil, g)
		r.noGrace()
		c := r.open("a", wsHead, "")
		f := g.session()
		go func() { _, _ = c.conn.Write(make([]byte, 8<<20)); _ = c.conn.CloseWrite() }()
		eventually(t, "the gateway's socket is full", func() bool { return r.value("sessions_blocked", "to=upstream") == 1 })
		f.write(record(leg.End, "bye"))
		c.want("bye")
		r.closedFor(closeEnd)
		r.empty()
	})
}

// TestAbandon undoes a session whose client is lost between the handshake and the event loop.
func TestAbandon(t *testing.T) {
	r := start(t, false, nil)
	near, far := net.Pipe()
	client, other := net.Pipe()
	defer other.Close()
	c := &httpConn{Conn: client, r: r.r, guest: &anteroom.Guest{}}
	r.r.sessions.Add(1)
	c.taken = &takeover{r: r.r, c: c, up: &upstream{conn: near, buf: new([]byte)}}
	if !r.r.conns.room.Reserve(t.Context().Done()) {
		t.Fatal("no place")
	}
	r.r.conns.add(c, func(c *httpConn) { c.Close() })
	if _, err := far.Read(make([]byte, 1)); err == nil {
		t.Error("the upstream is still open")
	}
	r.closedFor(closeSetup)
	r.empty()
}

// TestClientGone looks whether a client that leaves takes its leg along.
func TestClientGone(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := gateway(t, "g1")
		r := start(t, portable, nil, g)
		for _, head := range []string{wsHead, sseHead} {
			c := r.open("a", head, "")
			f := g.session()
			c.conn.Close()
			f.end()
			f.conn.Close()

			c = r.open("a", head, "")
			f = g.session()
			_ = c.conn.SetLinger(0)
			c.conn.Close()
			f.end()
		}
		r.closedFor(closeClient)
		r.closedFor(closeClientError)
		r.empty()
	})
}

// TestUpstreamDeaf resets a leg that still has something to say, while the client speaks.
func TestUpstreamDeaf(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	c := r.open("a", wsHead, "")
	f := g.session()
	f.write(record(leg.Data, "one") + record(leg.End, "two"))
	f.reset()
	c.send(strings.Repeat("x", 100))
	if got := c.rest(); got != "onetwo" {
		t.Errorf("got %q, want onetwo", got)
	}
	c.conn.Close()
	r.empty()
}

// TestEventStreams runs event streams through a leg and from a raw upstream.
func TestEventStreams(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g, s := gateway(t, "g1"), rawServer(t, "s1")
		r := start(t, portable, nil, g, s)
		c := r.open(r.ownedBy("g1"), sseHead, "GET /t/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
		f := g.session()
		f.write(record(leg.Data, "data: 1\n\n"))
		c.want("data: 1\n\n")
		c.send("more of that")
		f.write(record(leg.End, "retry: 1\n\n"))
		if got := c.rest(); got != "retry: 1\n\n" {
			t.Errorf("got %q, want the retry", got)
		}
		f.end() // nothing of what the client has sent

		c = r.open(r.ownedBy("s1"), sseHead, "")
		f = s.session()
		f.write("data: 2\n\n")
		c.want("data: 2\n\n")
		f.conn.Close()
		if delay, ok := sentAway(t, c.rest(), true); !ok || delay < backoff.Default().Min || delay > backoff.Default().SoonMost() {
			t.Errorf("got %v, %v, want a delay", delay, ok)
		}
		r.closedFor(closeUpstream) // though the client does not go
		if got := r.value("dropped_bytes_total"); got == 0 {
			t.Error("dropped_bytes_total: got 0, want what the client of the event stream has sent")
		}
		if got := r.value("opened_total", "client=sse"); got != 2 {
			t.Errorf("opened_total{sse}: got %v, want 2", got)
		}
	})
}
