package ringside

import (
	"encoding/json"
	"net/url"
	"testing"
)

// FuzzTake holds that no server can make a session come back with a position that is none, to another place, or at once for ever.
func FuzzTake(f *testing.F) {
	for _, s := range []string{
		`{"type":"welcome","topic":"finals","position":"6f1c22aa-1763900000000-0","heartbeat":25000,"backoff":{"min":200,"max":30000,"factor":2,"jitter":0.5}}`,
		`{"type":"message","topic":"finals","id":"6f1c22aa-1763900000000-1","data":{"a": 1}}`,
		`{"type":"message","topic":"finals","id":"\u001b[2J","data":1,"encoding":"\u001b]0;x\u0007"}`,
		`{"type":"message","topic":"finals","id":"a-1-0"}`,
		`{"type":"gap","topic":"finals","after":"a\nb","position":"6f1c22aa-1763900000000-1","reason":"\u009b2J"}`,
		`{"type":"error","reason":"\u202e","message":"\r\nringside: all is well"}`,
		`{"type":"welcome","topic":"\u0000","position":"","backoff":{"min":1e308,"max":1e309}}`,
		`{"type":"heartbeat","topic":"finals","position":"since&token=x"}`,
		`{"type":"subscribed","topic":"semi","position":"a b"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var w wire
		if json.Unmarshal(text, &w) != nil {
			return
		}
		base := &url.URL{Scheme: "ws", Host: "x", Path: "/t/finals", RawQuery: "b=c"}
		for _, cfg := range []Config{{Direct: true}, {Topics: []string{"finals"}}} {
			s := newSession(cfg, base)
			s.welcomed = true
			if cfg.Direct {
				s.topics = []string{"finals"}
			}
			e, err := s.take(&w)
			if err == nil && s.ended != nil || err != nil && e != nil {
				t.Fatalf("%q: got %v, %v, ended by %v", text, e, err, s.ended)
			}
			for topic, at := range s.position {
				if s.moveTo(topic, at) != nil {
					t.Fatalf("%q: would come back with the position %q", text, at)
				}
			}
			target, err := s.target()
			if err == nil {
				u, err := url.Parse(target)
				if err != nil || u.Host != "x" || u.Query().Get("b") != "c" || u.Query().Get("since") != s.position[s.topics[0]] {
					t.Fatalf("%q: would come back to %q", text, target)
				}
			}
			if d := s.policy.Delay(1000); d <= 0 || d > 2*3600e9 || silenceOf(w.Heartbeat) <= 0 {
				t.Fatalf("%q: would wait %v, and for %v", text, d, silenceOf(w.Heartbeat))
			}
			if s.renew != nil {
				s.renew.Stop()
			}
		}
	})
}
