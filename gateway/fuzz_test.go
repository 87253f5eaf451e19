package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// FuzzCommand sends a session any text, and holds that it is answered at most once, with JSON of a known type, and that the session
// lives on, with its topics within their bound.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping"}`, `{"type":"subscribe","topic":"semi"}`, `{"type":"subscribe","topic":"semi","since":"00000001-1-0"}`,
		`{"type":"subscribe","topic":"a\nb"}`, `{"type":"unsubscribe","topic":"finals"}`, `{"type":"unsubscribe","topic":"\ud800"}`,
		`{"type":"auth","token":"x"}`, `{"type":"command","data":{"a":[1]},"id":[null]}`, `{"type":`, `[]`, `null`, `{"type":1}`,
		`{"TYPE":"ping","type":"dance"}`, strings.Repeat("[", 10000), `{"type":"subscribe","topic":"` + strings.Repeat("x", 256) + `"}`,
	} {
		f.Add(s)
	}
	r := start(f, func(c *Config) { c.MaxTopics = 8 })
	c := r.dial("finals")
	c.want("welcome")
	const mark = `{"type":"unsubscribe","topic":"mark of the fuzzer"}`
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 60<<10 || text != strings.ToValidUTF8(text, "") {
			return
		}
		for _, s := range []string{text, mark} {
			if err := c.c.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		for answers := 0; ; answers++ {
			_ = c.c.SetReadDeadline(time.Now().Add(testcluster.Limit()))
			_, b, err := c.c.ReadMessage()
			var m message
			if err != nil || json.Unmarshal(b, &m) != nil {
				t.Fatalf("%q: got %q, %v", text, b, err)
			}
			switch {
			case m.Type == "unsubscribed" && m.Topic == "mark of the fuzzer":
				return
			case m.Type == "heartbeat", m.Type == "gap": // of the topics that it follows by now
				answers--
			case answers > 0:
				t.Fatalf("%q: a second answer: %q", text, b)
			case m.Type != "pong" && m.Type != "subscribed" && m.Type != "unsubscribed" && m.Type != "error":
				t.Fatalf("%q: got %q", text, b)
			}
		}
	})
}
