package router

import (
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/leg"
)

// TestTalkativeEventStream ends event streams whose clients send and send; a little is let pass, and goes nowhere.
func TestTalkativeEventStream(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g, s := gateway(t, "g1"), rawServer(t, "s1")
		r := start(t, portable, nil, g, s)
		for i, u := range []*upstreamServer{g, s} {
			c := r.open(r.ownedBy(u.id), sseHead, "")
			up := u.session()
			event := "data: 1\n\n"
			if u.static {
				up.write(event)
			} else {
				up.write(record(leg.Data, event))
			}
			c.want(event)
			c.send(strings.Repeat("x", maxTalk))
			eventually(t, "it is dropped", func() bool { return r.value("dropped_bytes_total") == float64(i*(maxTalk+1)+maxTalk) })
			if got := r.value("closed_total", "reason=unasked"); got != float64(i) {
				t.Errorf("%s: closed_total{unasked}: got %v, want %v", u.id, got, i)
			}
			c.send("y")
			if delay, ok := sentAway(t, c.rest(), true); !ok || delay > backoff.Default().SoonMost() {
				t.Errorf("%s: got %v, %v, want a delay", u.id, delay, ok)
			}
			eventually(t, "it is counted", func() bool { return r.value("closed_total", "reason=unasked") == float64(i+1) })
		}
	})
}
