package main

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/backoff"
)

// FuzzFollow holds that no server can make "ringside subscribe" print what a terminal would obey, come back with a position that is
// none, or come back at once for ever.
func FuzzFollow(f *testing.F) {
	for _, s := range []string{
		`{"type":"welcome","topic":"finals","position":"6f1c22aa-1763900000000-0","heartbeat":25000,"backoff":{"min":200,"max":30000,"factor":2,"jitter":0.5}}`,
		`{"type":"message","topic":"finals","id":"6f1c22aa-1763900000000-1","data":{"a": 1}}`,
		`{"type":"message","id":"\u001b[2J","data":1,"encoding":"\u001b]0;x\u0007"}`,
		`{"type":"gap","after":"a\nb","position":"6f1c22aa-1763900000000-1","reason":"\u009b2J"}`,
		`{"type":"error","reason":"\u202e","message":"\r\nringside: all is well"}`,
		`{"type":"welcome","topic":"\u0000","position":"","backoff":{"min":1e308,"max":1e309}}`,
		`{"type":"heartbeat","position":"since&token=x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var out, notes bytes.Buffer
		fo := &follower{cmd: &subscribeCmd{URL: "ws://x/t/a?b=c"}, std: stdio{out: &out, err: &notes}, backoff: backoff.Default()}
		var e event
		if json.Unmarshal(text, &e) != nil {
			return
		}
		_ = fo.on(text, e)
		if strings.ContainsFunc(strings.TrimSuffix(notes.String(), "\n"), isUnprintable) {
			t.Fatalf("%q: a note of %q", text, notes.String())
		}
		if id, _, ok := strings.Cut(out.String(), " "); ok {
			if !isPosition(id) || strings.Count(out.String(), "\n") != 1 {
				t.Fatalf("%q: printed %q", text, out.String())
			}
		}
		if !isPosition(fo.last) {
			t.Fatalf("%q: would come back with the position %q", text, fo.last)
		}
		if u, err := url.Parse(fo.target()); err != nil || u.Query().Get("since") != fo.last || u.Query().Get("b") != "c" {
			t.Fatalf("%q: would come back to %q", text, fo.target())
		}
		if d := fo.backoff.Delay(1000); d <= 0 || d > 2*3600e9 || silenceOf(e) < 0 {
			t.Fatalf("%q: would wait %v, and for %v", text, d, silenceOf(e))
		}
	})
}
