package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestV1(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		c := r.dial("finals", "ringside.v1")
		if got := c.c.Subprotocol(); got != "ringside.v1" {
			t.Errorf("subprotocol: got %q", got)
		}
		w := c.want("welcome")
		if w.Topic != "finals" || len(w.Session) != 16 || w.Position == "" {
			t.Errorf("welcome: got %+v", w)
		}
		f := func(payload, data, encoding string) {
			t.Helper()
			id := r.publish("finals", payload)
			_, raw := c.raw()
			want := fmt.Sprintf(`{"type":"message","topic":"finals","id":"%s",%s"data":%s}`, id, encoding, data)
			if raw != want {
				t.Errorf("got  %s\nwant %s", raw, want)
			}
		}
		f(`{"score":"2:1"}`, `{"score":"2:1"}`, "")
		f(`plain "text"`, `"plain \"text\""`, "")
		f("\xff\x00", `"/wA="`, `"encoding":"base64",`)
		f("\"\xff\"", `"Iv8i"`, `"encoding":"base64",`) // JSON but for its bytes
		f(`17`, `17`, "")
		f(``, `""`, "")
		f(strings.Repeat("x", 70000), `"`+strings.Repeat("x", 70000)+`"`, "")
	})
}

func TestRaw(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		c := r.dial("finals", "nobody.speaks.this", "ringside.raw")
		testcluster.Soon(t, "the session is there", func() bool { return r.g.metrics.opened[formatRaw].Load() == 1 })
		f := func(payload string, op int) {
			t.Helper()
			r.publish("finals", payload)
			gotOp, got := c.raw()
			if got != payload || gotOp != op {
				t.Errorf("got %d %q, want %d %q", gotOp, got, op, payload)
			}
		}
		f("2:1", websocket.TextMessage)
		f("\xff\xfe", websocket.BinaryMessage)
		f("", websocket.TextMessage)
		c.send("hello")
		if ce := c.closed(); ce.Code != 1003 {
			t.Errorf("a message to ringside.raw: got %v, want 1003", ce)
		}
	})
}

func TestSSE(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		resp := r.sse("finals", "")
		if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
			t.Fatalf("got %d %s", resp.StatusCode, ct)
		}
		b := bufio.NewReader(resp.Body)
		f := func(want ...string) {
			t.Helper()
			for _, w := range append(want, "") {
				got, err := b.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if got = strings.TrimSuffix(got, "\n"); got != w && (w != "*" || got == "") {
					t.Errorf("line: got %q, want %q", got, w)
				}
			}
		}
		f("*", "*") // retry, and the id
		f("event: welcome", "*")
		id := r.publish("finals", "one\ntwo\r\nthree\rfour")
		f("id: "+id, "data: one", "data: two", "data: three", "data: four")
		id = r.publish("finals", "\xff")
		f("id: "+id, "event: binary", "data: /w==")
		last := r.publish("finals", "last")
		f("id: "+last, "data: last")

		r.publish("finals", "missed")
		again := bufio.NewReader(r.sse("finals", last).Body)
		var lines []string
		for range 9 {
			l, err := again.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, strings.TrimSpace(l))
		}
		if lines[1] != "id: "+last || lines[3] != "event: welcome" || lines[7] != "data: missed" {
			t.Errorf("resumed: got %q", lines)
		}
	})
}

func TestSeveralTopics(t *testing.T) {
	bothLoops(t, func(c *Config) { c.MaxTopics = 3 }, func(t *testing.T, r *rig) {
		c := r.dial("a")
		c.want("welcome")
		c.send(`{"type":"subscribe","topic":"b"}`)
		if m := c.want("subscribed"); m.Topic != "b" || m.Position == "" {
			t.Errorf("got %+v", m)
		}
		c.send(`{"type":"subscribe","topic":"c"}`)
		c.want("subscribed")
		r.publish("b", "1")
		if m := c.want("message"); m.Topic != "b" {
			t.Errorf("got %+v", m)
		}
		c.send(`{"type":"unsubscribe","topic":"a"}`)
		if m := c.want("unsubscribed"); m.Topic != "a" {
			t.Errorf("got %+v", m)
		}
		r.tailed("a", r.publish("a", "unheard"))
		r.publish("b", "2")
		if m := c.want("message"); m.Topic != "b" || string(m.Data) != "2" {
			t.Errorf("got %+v", m)
		}
		c.send(`{"type":"subscribe","topic":"a"}`)
		c.want("subscribed")
		c.send(`{"type":"ping"}`)
		c.want("pong")

		// Commands that have been carried out already are answered once more.
		c.send(`{"type":"subscribe","topic":"a"}`)
		c.want("subscribed")
		c.send(`{"type":"unsubscribe","topic":"d"}`)
		c.want("unsubscribed")

		f := func(send, reason string) {
			t.Helper()
			c.send(send)
			if m := c.want("error"); m.Reason != reason || m.Message == "" {
				t.Errorf("%s: got %+v, want %s", send, m, reason)
			}
		}
		f(`{"type":"subscribe","topic":"d"}`, "topics")
		f(`{"type":"unsubscribe","topic":""}`, "topic")
		f(`{"type":"subscribe","topic":""}`, "topic")
		f(`{"type":"subscribe","topic":"\u0007"}`, "topic")
		f(`{"type":"subscribe","topic":"d","since":"yesterday"}`, "position")
		f(`{"type":"shout"}`, "type")
		f(`{}`, "type")
		f(`[]`, "json")
		f(`not JSON`, "json")
		r.publish("a", "still here")
		c.want("message")
	})
}

// Topics that are only named cost nothing once they are left.
func TestEmptyTopicsAreForgotten(t *testing.T) {
	r := start(t, nil)
	c := r.dial("finals")
	c.want("welcome")
	for i := range 200 {
		c.send(fmt.Sprintf(`{"type":"subscribe","topic":"t%d"}`, i))
		c.want("subscribed")
		c.send(fmt.Sprintf(`{"type":"unsubscribe","topic":"t%d"}`, i))
		c.want("unsubscribed")
	}
	if n := r.g.topicCount.Load(); n != 1 {
		t.Errorf("topics: got %d, want 1", n)
	}
	r.publish("finals", "1")
	c.want("message")
	c.c.Close()
	testcluster.Soon(t, "the session is gone", func() bool { return r.g.Sessions() == 0 })
	if n := r.g.topicCount.Load(); n != 1 {
		t.Errorf("topics with a log that lingers: got %d, want 1", n)
	}
	if b := r.g.logBytes.Load(); b <= 0 {
		t.Errorf("log bytes: got %d", b)
	}
	for _, s := range r.g.slots {
		s.sweep(time.Now().Add(time.Second))
	}
	if n, b := r.g.topicCount.Load(), r.g.logBytes.Load(); n != 0 || b != 0 {
		t.Errorf("after the linger: got %d topics, %d bytes, want none", n, b)
	}
}

func TestPingAndClose(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		c := r.dial("finals")
		c.want("welcome")
		pong := make(chan string, 1)
		c.c.SetPongHandler(func(s string) error { pong <- s; return nil })
		if err := c.c.WriteControl(websocket.PingMessage, []byte("hey"), time.Now().Add(testcluster.Limit())); err != nil {
			t.Fatal(err)
		}
		c.send(`{"type":"ping"}`)
		c.want("pong") // reading is what calls the handler
		if got := <-pong; got != "hey" {
			t.Errorf("pong: got %q", got)
		}
		if err := c.c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, "bye"), time.Now().Add(testcluster.Limit())); err != nil {
			t.Fatal(err)
		}
		if ce := c.closed(); ce.Code != 1001 {
			t.Errorf("answer to a close: got %v, want 1001", ce)
		}
		testcluster.Soon(t, "the session is gone", func() bool { return r.g.Sessions() == 0 })
		if n := r.g.metrics.closed[closeClient].Load(); n != 1 {
			t.Errorf("closed by the client: got %d, want 1", n)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	bothLoops(t, func(c *Config) { c.Heartbeat = 200 * time.Millisecond }, func(t *testing.T, r *rig) {
		c := r.dial("quiet")
		at, err := position.Parse(c.want("welcome").Position)
		if err != nil {
			t.Fatal(err)
		}
		moved := r.position(otherTopic(t, "quiet"), "something else of the slot")
		for at.ID.Less(moved.ID) { // beacons follow
			_, raw := c.raw()
			if !strings.HasPrefix(raw, `{"type":"heartbeat","topic":"quiet","position":"`) {
				t.Fatalf("got %s", raw)
			}
			var beat struct {
				Position  string
				AsOf, Lag int64
			}
			if err := json.Unmarshal([]byte(raw), &beat); err != nil {
				t.Fatal(err)
			}
			if at, err = position.Parse(beat.Position); err != nil || beat.AsOf != int64(at.ID.Ms) || beat.Lag < 0 || beat.Lag > 60_000 {
				t.Fatalf("freshness: got %s", raw)
			}
		}
		raw := r.dial("quiet", "ringside.raw")
		pinged := make(chan string, 100)
		raw.c.SetPingHandler(func(p string) error { pinged <- p; return nil })
		go func() { _, _, _ = raw.c.ReadMessage() }()
		if p := <-pinged; !strings.HasPrefix(p, `{"asOf":`) {
			t.Errorf("ping: got %q, want the freshness", p)
		}
		raw.c.Close()
	})
}

func TestDrain(t *testing.T) {
	bothLoops(t, func(c *Config) { c.DrainWindow = 500 * time.Millisecond }, func(t *testing.T, r *rig) {
		var cs []*wsClient
		for range 10 {
			c := r.dial("finals")
			c.want("welcome")
			cs = append(cs, c)
		}
		sse := r.sse("finals", "")
		drained := make(chan error, 1)
		go func() { drained <- r.g.Drain(t.Context()) }()
		for _, c := range cs {
			ce := c.closed()
			var ms int
			if n, _ := fmt.Sscanf(ce.Text, `{"reconnect":%d}`, &ms); n != 1 || ce.Code != 1012 || ms < 200 || ms > 700 {
				t.Errorf("close: got %v", ce)
			}
			c.c.Close()
		}
		var last string
		for s := bufio.NewScanner(sse.Body); s.Scan(); {
			if strings.HasPrefix(s.Text(), "retry: ") {
				last = s.Text()
			}
		}
		var ms int
		if n, _ := fmt.Sscanf(last, "retry: %d", &ms); n != 1 || ms < 200 || ms > 700 {
			t.Errorf("SSE: the last retry is %q", last)
		}
		sse.Body.Close()
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		if code, e := r.refused("GET /t/finals HTTP/1.1", upgradeHeaders...); code != 503 || e.Error != "draining" {
			t.Errorf("a new session while draining: got %d %+v", code, e)
		}
		if err := r.g.Ready(); err == nil {
			t.Error("Ready while draining: got nil")
		}
	})
}
