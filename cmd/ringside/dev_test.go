package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/admin"
)

// recorder remembers what was published. It fails when it is told to.
type recorder struct {
	messages []admin.Message
	fail     int // so many times more
	with     error
}

func (r *recorder) Publish(_ context.Context, ms []admin.Message) []admin.Outcome {
	r.messages = append(r.messages, ms...)
	if r.fail > 0 {
		r.fail--
		return []admin.Outcome{{Err: r.with}}
	}
	return make([]admin.Outcome, len(ms))
}

// A match has no hole in its numbers, counts its goals, and ends; then there is the next.
func TestMatch(t *testing.T) {
	r := &recorder{}
	m := newMatch(r, zap.NewNop())
	last, kickoffs, ends := matchState{}, 0, 0
	for i := range 3 * 3800 {
		m.play(time.Duration(i%3800) * matchTick)
		if err := m.tell(t.Context()); err != nil {
			t.Fatal(err)
		}
		var now matchState
		message := r.messages[len(r.messages)-1]
		if err := json.Unmarshal(message.Payload, &now); err != nil || message.Topic != matchTopic {
			t.Fatalf("%s: %v", message.Payload, err)
		}
		goals := map[string]int{}
		goals[now.Goal]++
		switch {
		case now.Seq != uint64(i+1) || now.Run != m.now.Run:
			t.Fatalf("message %d: got %+v", i, now)
		case now.Chance < 0 || now.Chance > 100 || now.Minute < 0 || now.Minute > 90:
			t.Fatalf("got %+v", now)
		case now.Text == "Kick-off!":
			kickoffs++
			if now.Home+now.Away != 0 {
				t.Errorf("it begins with %+v", now)
			}
		case now.Home != last.Home+goals["home"] || now.Away != last.Away+goals["away"]:
			t.Fatalf("%+v follows %+v", now, last)
		case now.Minute == 90 && last.Minute < 90:
			ends++
		}
		last = now
	}
	if kickoffs != 3 || ends != 3 {
		t.Errorf("got %d kick-offs and %d ends, want 3", kickoffs, ends)
	}
}

// What may have been published is published again, under the same id.
func TestMatchRepeats(t *testing.T) {
	r := &recorder{fail: 1, with: admin.ErrAmbiguous}
	m := newMatch(r, zap.NewNop())
	m.play(0)
	if err := m.tell(t.Context()); err != nil || len(r.messages) != 2 || r.messages[0].ID != r.messages[1].ID {
		t.Errorf("got %v, %+v", err, r.messages)
	}
	r.fail, r.with = 1, admin.ErrTooLarge
	if err := m.tell(t.Context()); err == nil {
		t.Error("what will never be taken: got no error")
	}
}

// Viewers count what was lost and what came twice.
func TestViewerCounts(t *testing.T) {
	c := &crowd{}
	v := viewer{crowd: c}
	f := func(run string, seq uint64, lost, repeated int64) {
		t.Helper()
		v.count(matchState{Run: run, Seq: seq})
		if got := c.counts(); got.Lost != lost || got.Repeated != repeated {
			t.Errorf("%s %d: got %+v, want %d lost and %d repeated", run, seq, got, lost, repeated)
		}
	}
	f("a", 7, 0, 0)
	f("a", 8, 0, 0)
	f("a", 8, 0, 1)
	f("a", 11, 2, 1)
	f("a", 10, 2, 2)
	f("a", 12, 2, 2)
	f("b", 1, 2, 2)
	f("b", 2, 2, 2)
	if got := c.counts().Received; got != 8 {
		t.Errorf("received: got %d, want 8", got)
	}
}
