package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	ringside "github.com/ringside-edge/ringside/client/go"
)

// FuzzPrint holds that no server can make "ringside subscribe" say what a terminal would obey, or print more than a line for a message. What
// a server can make the client do is FuzzTake's.
func FuzzPrint(f *testing.F) {
	f.Add("finals", "slow", "all is well", []byte(`{"a": 1}`), false)
	f.Add("\x1b[2J", "\u202e", "\r\nringside: all is well", []byte("\xff\x00"), true)
	f.Add("a\nb", "\u009b2J", "\x1b]0;x\x07", []byte("1\n2"), false)
	f.Fuzz(func(t *testing.T, topic, reason, text string, data []byte, binary bool) {
		var out, notes bytes.Buffer
		fo := &follower{cmd: &subscribeCmd{}, std: stdio{out: &out, err: &notes}}
		for _, e := range []ringside.Event{
			ringside.Connected{Topic: topic, Position: "a-1-0"}, ringside.Gap{Topic: topic, Reason: reason, After: text, Position: "a-2-0"},
			ringside.Refused{Topic: topic, Reason: reason, Message: text}, ringside.Message{Topic: topic, Position: "a-3-0", Data: data, Binary: binary},
		} {
			_ = fo.on(e) // data that is no JSON is an error, and nothing is printed of it
		}
		for line := range strings.Lines(notes.String()) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return !unicode.IsPrint(c) }) || !strings.HasPrefix(line, "ringside: ") {
				t.Fatalf("%q, %q, %q: a note of %q", topic, reason, text, line)
			}
		}
		if got := out.String(); got != "" && (strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "a-3-0 ") || !strings.HasSuffix(got, "\n")) {
			t.Fatalf("%q: printed %q", data, got)
		}
	})
}
