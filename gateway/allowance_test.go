package gateway

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// ofDefaults lets clients send what they may when nobody has set anything.
func ofDefaults(c *Config) { c.ClientRate, c.ClientBurst = 0, 0 }

// ofFew lets them send so little that no test waits for more of it.
func ofFew(c *Config) { c.ClientRate, c.ClientBurst = 1, 70 }

func TestAllowance(t *testing.T) {
	cfg := &Config{ClientRate: 50, ClientBurst: 200}
	now := int64(1<<32 - 1000) // the lower half of the clock is about to begin anew
	a := cfg.newAllowance(false)
	// f spends n times for so many bytes, some ms after the last, and wants so many of them to be paid for.
	f := func(after int64, n, size, want int) {
		t.Helper()
		now += after
		got := 0
		for range n {
			if before := a; a.spend(size, now, cfg) {
				got++
			} else {
				a = before // a session is closed then; the test goes on
				a.at = uint32(now)
			}
		}
		if got != want {
			t.Errorf("after %d ms, %d of %d bytes: got %d, want %d", after, n, size, got, want)
		}
	}
	f(0, 300, 6, 200)
	f(0, 1, 6, 0)
	f(19, 1, 6, 0)
	f(1000, 60, 6, 50)
	f(3_600_000, 300, 6, 200)
	f(2000, 10, 64<<10, 5) // 17 for each
	a = cfg.newAllowance(true)
	f(0, 10_000, 6, 200+60*50)
	f(1000, 100, 6, 50)
	a = cfg.newAllowance(true)
	f(3_600_000, 10_000, 6, 200+60*50) // more than a full bucket is not filled up, and not taken away
}

// closedTooFast reads to the end of a session that was closed because its client sent too fast.
func (r *rig) closedTooFast(c *wsClient, closed uint64) {
	r.t.Helper()
	ce := c.closed()
	if ce.Code != codePolicy || !strings.Contains(ce.Text, "too many frames") {
		r.t.Errorf("got %v, want %d and why", ce, codePolicy)
	}
	c.c.Close()
	testcluster.Soon(r.t, "it is counted", func() bool { return r.g.metrics.closed[closeRate].Load() == closed })
}

// Whatever a client sends, it may send so much of it, and the others notice nothing.
func TestClientRate(t *testing.T) {
	bothLoops(t, ofFew, func(t *testing.T, r *rig) {
		good := r.dial("finals")
		good.want("welcome")
		closed := uint64(0)
		f := func(name, protocol string, frame []byte, n int) {
			t.Helper()
			c := r.dial("finals", protocol)
			_, _ = c.c.NetConn().Write(bytes.Repeat(frame, n)) // it may be closed half way
			closed++
			r.closedTooFast(c, closed)
		}
		fragment := clientFrame(wsframe.Continuation, "")
		fragment[0] &^= 0x80
		begin := clientFrame(wsframe.Text, "")
		begin[0] &^= 0x80
		f("commands", protocolV1, clientText(`{"type":"ping"}`), 100)
		f("nonsense", protocolV1, clientText("?"), 100)
		f("pings", protocolV1, clientFrame(wsframe.Ping, ""), 100)
		f("pongs", protocolRaw, clientFrame(wsframe.Pong, "x"), 100)
		f("empty fragments", protocolV1, append(begin, bytes.Repeat(fragment, 100)...), 1)
		f("large messages", protocolV1, clientText(`{"type":"ping","pad":"`+strings.Repeat("x", 60<<10)+`"}`), 6)

		// Less is served in full: all of a session's topics, and some.
		c := r.dial("t0", protocolV1)
		c.want("welcome")
		for i := range 63 {
			c.send(fmt.Sprintf(`{"type":"subscribe","topic":"t%d"}`, i+1))
		}
		for range 63 {
			c.want("subscribed")
		}
		r.publish("finals", "1")
		good.want("message")
	})
}

// Clients that stay within what is allowed by default are never closed: one that comes back with all topics, and one that its router
// brings from another gateway with all that it has sent meanwhile.
func TestClientRateSparesWhoComesBack(t *testing.T) {
	bothLoops(t, ofDefaults, func(t *testing.T, r *rig) {
		l := r.leg("finals", upgradeHeaders...)
		l.opened()
		var standing []leg.Standing
		for i := range 64 {
			standing = append(standing, leg.Standing{Name: fmt.Sprintf("t%d", i), Asked: i > 0})
		}
		ping := clientFrame(wsframe.Ping, "")
		const kept = 2000 // as many as a client may send in 40 s
		l = r.resumed(l.ticket, at(standing...), bytes.Repeat(ping, kept)...)
		for pongs := 0; pongs < kept; {
			h, body := l.record()
			if h.Kind == leg.End {
				t.Fatalf("the session was ended: %q", body)
			}
			if h.Kind == leg.Data && strings.HasPrefix(body, "\x8a") {
				pongs++
			}
		}
		// From then on it may send as much as any other.
		go func() { _, _ = l.c.Write(bytes.Repeat(ping, 100_000)) }()
		for {
			if h, body := l.record(); h.Kind == leg.End {
				if !strings.Contains(body, "too many frames") {
					t.Errorf("got %q, want why", body)
				}
				break
			}
		}
	})
}

// The client of an event stream has nothing to say.
func TestClientRateOfEventStreams(t *testing.T) {
	bothLoops(t, ofFew, func(t *testing.T, r *rig) {
		_, l := r.exchange("GET /t/finals HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
		go func() { _, _ = l.c.Write(make([]byte, 4<<20)) }()
		b, _ := io.ReadAll(l.b)
		if i := bytes.LastIndex(b, []byte("retry: ")); i < 0 || !bytes.HasSuffix(b, []byte("\n\n")) {
			t.Errorf("got %q, want an end with a delay", b)
		}
		l.c.Close()
		testcluster.Soon(t, "it is counted", func() bool { return r.g.metrics.closed[closeRate].Load() == 1 })
	})
}

// What each frame costs is counted without an allocation.
func TestAllowanceAllocatesNothing(t *testing.T) {
	cfg := &Config{ClientRate: 100_000, ClientBurst: 1_000_000}
	a, now := cfg.newAllowance(false), int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now++
		if !a.spend(100, now, cfg) {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// topicFull has a session refused because its topic would be one too many.
func (r *rig) topicFull(topic string) {
	r.t.Helper()
	before := r.refusals("topics_full")
	status, p := r.refused("GET /t/"+topic+" HTTP/1.1", upgradeHeaders...)
	if status != 503 || p.Error != "topics_full" || p.Message == "" || r.refusals("topics_full") != before+1 {
		r.t.Errorf("%s: got %d %+v, want 503 topics_full, counted", topic, status, p)
	}
}

// All sessions together may have so many topics. Those that have sessions here already are always taken, and so are sessions that come from
// another gateway.
func TestTopicsOfANode(t *testing.T) {
	bothLoops(t, func(c *Config) { c.MaxNodeTopics = 2; c.LogLinger = time.Hour }, func(t *testing.T, r *rig) {
		ticket := leg.TicketText(r.keys.Seal(leg.Ticket{Session: 1, Topic: "d"}))
		a, b := r.dial("a"), r.dial("b")
		a.want("welcome")
		b.want("welcome")
		r.topicFull("c")
		resp := r.ask("GET /t/c HTTP/1.1", upgradeHeaders...)
		resp.Body.Close()
		if resp.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After: the client is not told when to come back")
		}
		r.dial("a").want("welcome")
		a.send(`{"type":"subscribe","topic":"b"}`)
		a.want("subscribed")
		a.send(`{"type":"subscribe","topic":"c"}`)
		if m := a.want("error"); m.Reason != "topics_full" || m.Topic != "c" || m.Message == "" {
			t.Errorf("got %+v, want topics_full", m)
		}

		moved := r.resumed(ticket, leg.Resume{First: -1})
		moved.opened()
		r.publish("d", "1")
		moved.wantNumber("d", "1")
		moved.c.Close()
		testcluster.Soon(t, "it is gone", func() bool { return r.g.Sessions() == 3 })

		// What only lingers makes room: the log of d, which nobody follows any more.
		if n := r.g.topicCount.Load(); n != 3 {
			t.Fatalf("topics: got %d, want 3", n)
		}
		a.send(`{"type":"unsubscribe","topic":"b"}`)
		a.want("unsubscribed")
		b.c.Close()
		testcluster.Soon(t, "it is gone", func() bool { return r.g.Sessions() == 2 })
		testcluster.Soon(t, "there is room", func() bool {
			resp := r.ask("GET /t/c HTTP/1.1", upgradeHeaders...)
			resp.Body.Close()
			return resp.StatusCode == 101
		})
		r.publish("a", "still here")
		a.want("message")
	})
}

// Compression is never spoken: an offer is not taken, and a frame that is compressed all the same ends the session.
func TestCompressionIsDeclined(t *testing.T) {
	r := start(t, nil)
	resp := r.ask("GET /t/finals HTTP/1.1", append(upgradeHeaders[:len(upgradeHeaders):len(upgradeHeaders)],
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame")...)
	resp.Body.Close()
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); resp.StatusCode != 101 || got != "" {
		t.Errorf("got %d with extensions %q, want a session without", resp.StatusCode, got)
	}
	d := websocket.Dialer{EnableCompression: true}
	c, resp, err := d.Dial("ws://"+r.g.Addr()+"/t/finals", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	t.Cleanup(func() { c.Close() })
	ws := &wsClient{t, c}
	ws.want("welcome")
	r.publish("finals", `"`+strings.Repeat("x", 10<<10)+`"`)
	ws.want("message") // as it is: this client would say that a reserved bit is set
	bomb := clientFrame(wsframe.Text, "\xca\x41\x05\x00")
	bomb[0] |= 0x40
	if _, err := c.NetConn().Write(bomb); err != nil {
		t.Fatal(err)
	}
	if ce := ws.closed(); ce.Code != websocket.CloseProtocolError {
		t.Errorf("got %v, want 1002", ce)
	}
}

// All logs together hold so many bytes, and the encodings that are made afterwards of what they hold: one that grows beyond gives up its
// oldest entries.
func TestAllLogsTogether(t *testing.T) {
	const most, size = 1 << 20, 20 << 10
	r := start(t, func(c *Config) { c.LogTotalBytes, c.LogBytes = most, most })
	for _, topic := range []string{"a", "b", "c", "d"} {
		r.dial(topic).want("welcome")
		r.flood(topic, 40, size)
	}
	testcluster.Soon(t, "the logs have settled", func() bool {
		r.flood("d", 1, size)                       // what was encoded since is counted now
		return r.g.logBytes.Load() <= 2*most+8*size // of each there are as many bytes again in ringside.v1; four whole logs would be 3.2 MB, twice
	})
	if r.g.metrics.logSqueezed.Load() == 0 {
		t.Error("log_squeezed_total: got 0")
	}
}

// Of the commands that others have to be asked about only so many wait, and the client is told of the others.
func TestCommandsThatWait(t *testing.T) {
	r := start(t, nil, func(d *Deps) { d.Access = guarded(t, &clock{}, nil) })
	c := r.dial("private?token=" + token(t, "ann", time.Hour, "*"))
	c.want("welcome")
	const sent = 50
	renewal := clientText(`{"type":"auth","token":"` + token(t, "ann", 2*time.Hour, "*") + `"}`)
	if _, err := c.c.NetConn().Write(bytes.Repeat(renewal, sent)); err != nil {
		t.Fatal(err)
	}
	taken, busy := 0, 0
	for range sent {
		switch m := c.next(); {
		case m.Type == "authenticated":
			taken++
		case m.Type == "error" && m.Reason == "busy":
			busy++
		default:
			t.Fatalf("got %+v", m)
		}
	}
	if taken < maxCalls || busy == 0 {
		t.Errorf("of %d commands %d were carried out and %d refused, want at least %d and some", sent, taken, busy, maxCalls)
	}
}

// What a topic costs that a client has named: what the limit of all topics bounds.
func TestTopicCost(t *testing.T) {
	const n, most = 20_000, 4 << 10
	r := start(t, nil)
	measured := make(chan uint64)
	r.g.workers[0].loop.Post(eventloop.NoteFunc(func() {
		w := r.g.workers[0]
		before := heap()
		for i := range n {
			s := &sub{session: &session{worker: w}}
			w.feed(fmt.Sprintf("a topic of a usual length, number %d", i)).add(s)
		}
		measured <- (heap() - before) / n
	}))
	if got := <-measured; got > most {
		t.Errorf("a topic with a subscription has %d bytes, want at most %d", got, most)
	} else {
		t.Logf("a topic with a subscription, and a session for it, has %d bytes", got)
	}
}

// heap is what is in use, garbage left out.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
