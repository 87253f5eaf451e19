package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestPayloads publishes payloads of every kind: each client gets the very bytes, in the form that its protocol
// has for them.
func TestPayloads(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	const topic = "forms/of data"
	v1 := dialWebSocket(t, c.Router(0), "/t/forms/of%20data", "ringside.v1")
	raw := dialWebSocket(t, c.Router(0), "/t/forms/of%20data", "ringside.raw")
	sse := testcluster.Subscribe(t, testcluster.SubscriberConfig{
		Name: "sse", Protocol: testcluster.SSE, Base: c.Router(0).HTTP, Topic: topic,
	})
	eventually(t, "the event stream stands", sse.Open)
	var welcome map[string]any
	if err := v1.ReadJSON(&welcome); err != nil || welcome["type"] != "welcome" {
		t.Fatalf("got %v, %v, want a welcome", welcome, err)
	}
	settle(t, c.Router(0), topic, raw, v1, sse)
	before := sse.Count(topic)

	n := 0
	f := func(payload, data, encoding string, kind int) {
		t.Helper()
		name := fmt.Sprintf("%.40q", payload)
		if _, err := publishBody(c.Router(0), topic, payload); err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		var m struct {
			Type, Topic, ID, Encoding string
			Data                      json.RawMessage
		}
		if err := v1.ReadJSON(&m); err != nil || m.Type != "message" || m.Topic != topic || m.ID == "" {
			t.Errorf("%s: v1 got %+v, %v", name, m, err)
		}
		if !sameJSON(m.Data, data) || m.Encoding != encoding {
			t.Errorf("%s: v1 got %.80s (%q), want %.80s (%q)", name, m.Data, m.Encoding, data, encoding)
		}
		got, b, err := raw.ReadMessage()
		if err != nil || string(b) != payload || got != kind {
			t.Errorf("%s: raw got %.80q of kind %d, %v, want kind %d", name, b, got, err, kind)
		}
		n++
		eventually(t, name+" by SSE", func() error {
			if got := sse.Count(topic) - before; got != n {
				return fmt.Errorf("%d of %d events: %v", got, n, sse.Broken())
			}
			return nil
		})
		seen := sse.Track(topic).Seen
		if got := seen[len(seen)-1].Data; got != payload {
			t.Errorf("%s: SSE got %.80q", name, got)
		}
	}
	const text, binary = websocket.TextMessage, websocket.BinaryMessage
	f(`{"score":"2:1"}`, `{"score":"2:1"}`, "", text)
	f(`12`, `12`, "", text)
	f(`{"html":"<b>&amp;</b>"}`, `{"html":"<b>&amp;</b>"}`, "", text)
	f(`"a string"`, `"a string"`, "", text)
	f("Tor für <uns> & \"euch\"", `"Tor für <uns> & \"euch\""`, "", text)
	f("two\nlines\n", `"two\nlines\n"`, "", text)
	f("\xff\xfe\x00", `"//4A"`, "base64", binary)
	large := strings.Repeat("x", 200_000)
	f(large, `"`+large+`"`, "", text)
}

// settle publishes until the raw session hears, which nothing else tells, and then brings all three to the same
// message.
func settle(t *testing.T, n *testcluster.Node, topic string, raw, v1 *websocket.Conn, sse *testcluster.Subscriber) {
	t.Helper()
	heard := make(chan error, 1)
	go func() {
		_, _, err := raw.ReadMessage()
		heard <- err
	}()
	eventually(t, "the raw session hears", func() error {
		if _, err := publishBody(n, topic, "0"); err != nil {
			return err
		}
		select {
		case err := <-heard:
			return err
		default:
			return errors.New("silence")
		}
	})
	const last = "settled"
	if _, err := publishBody(n, topic, last); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*websocket.Conn{raw, v1} {
		for {
			_, b, err := conn.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), last) {
				break
			}
		}
	}
	eventually(t, "the event stream has all", func() error {
		seen := sse.Track(topic).Seen
		if len(seen) == 0 || seen[len(seen)-1].Data != last {
			return fmt.Errorf("%d events: %v", len(seen), sse.Broken())
		}
		return nil
	})
}

// sameJSON compares strings by what they say, for there are several ways to write one, and everything else byte for
// byte.
func sameJSON(got json.RawMessage, want string) bool {
	var g, w string
	if json.Unmarshal(got, &g) == nil && json.Unmarshal([]byte(want), &w) == nil {
		return g == w
	}
	return string(got) == want
}
