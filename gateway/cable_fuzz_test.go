package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// FuzzCableMessage sends a session of Action Cable any text, and holds that what it answers is JSON of a known type, and that the session
// lives on, with its subscriptions within their bound.
func FuzzCableMessage(f *testing.F) {
	for _, s := range []string{
		`{"command":"subscribe","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"semi\"}"}`,
		`{"command":"subscribe","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"semi\"}","history":{"since":1,"streams":{"semi":{"epoch":"00000001","offset":1}}}}`,
		`{"command":"history","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"semi\"}","history":{"since":1e300}}`,
		`{"command":"unsubscribe","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"semi\"}"}`,
		`{"command":"message","identifier":"x","data":{"a":[1]}}`, `{"command":"whisper"}`, `{"command":1}`, `[]`, `null`, strings.Repeat("[", 10000),
	} {
		f.Add(s)
	}
	r := start(f, func(c *Config) {
		speaksCable(c)
		c.MaxTopics, c.ClientRate, c.ClientBurst = 8, 1_000_000, 1_000_000
	})
	c := r.cable(protocolCableExt)
	const mark = `{"command":"presence","identifier":"the mark of the fuzzer"}`
	known := map[string]bool{"confirm_subscription": true, "reject_subscription": true, "confirm_history": true, "reject_history": true, "presence": true, "ping": true}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 60<<10 || text != strings.ToValidUTF8(text, "") {
			return
		}
		for _, s := range []string{text, mark} {
			if err := c.c.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		for {
			_ = c.c.SetReadDeadline(time.Now().Add(testcluster.Limit()))
			_, b, err := c.c.ReadMessage()
			var m cableSaid
			if err != nil || json.Unmarshal(b, &m) != nil || !known[m.Type] {
				t.Fatalf("%q: got %q, %v", text, b, err)
			}
			if m.Type == "presence" && m.Identifier == "the mark of the fuzzer" {
				return
			}
		}
	})
}

// What a note says comes back from its parts, each of which is text that fits.
func TestNotes(t *testing.T) {
	for _, text := range []string{"", "x", strings.Repeat("x", notePart), strings.Repeat("x", notePart+1), strings.Repeat("äöü", 500), strings.Repeat("x", maxNoteParts*notePart)} {
		names, ok := noteParts(7, text)
		if !ok {
			t.Fatalf("%d bytes do not fit", len(text))
		}
		n := &note{}
		for i, name := range names {
			number, part, rest, ok := parseNote(name)
			if !ok || number != 7 || part != i || len(name) > 255 || !utf8.ValidString(name) {
				t.Errorf("part %d of %d bytes: %d, %d, %v", i, len(text), number, part, ok)
			}
			n.take(part, rest, false)
		}
		if got, whole := n.text(); got != text || !whole {
			t.Errorf("got %d bytes, %v, want %d", len(got), whole, len(text))
		}
		if len(names) > 1 { // any that is missing is missed
			for gone := range names {
				m := &note{}
				for i, name := range names {
					if _, part, rest, _ := parseNote(name); i != gone {
						m.take(part, rest, false)
					}
				}
				if _, whole := m.text(); whole {
					t.Errorf("whole without part %d of %d", gone, len(names))
				}
			}
		}
	}
	if _, ok := noteParts(7, strings.Repeat("x", maxNoteParts*notePart+1)); ok {
		t.Error("too long a text fits")
	}
	for _, name := range []string{"", "finals", "\x00", "\x00zzzz00.", "\x000001ff."} {
		if _, _, _, ok := parseNote(name); ok {
			t.Errorf("%q is taken for a note", name)
		}
	}
}
