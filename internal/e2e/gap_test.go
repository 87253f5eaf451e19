package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// gapSays waits until a subscriber was told of exactly these gaps and has seen so many messages.
func gapSays(t *testing.T, s *testcluster.Subscriber, topic string, gaps, messages int) testcluster.Track {
	t.Helper()
	var tr testcluster.Track
	eventually(t, fmt.Sprintf("%v has its gaps", s), func() error {
		tr = s.Track(topic)
		if len(tr.Gaps) != gaps || len(tr.Seen) != messages || s.Broken() != nil {
			return fmt.Errorf("gaps %q and %d messages, want %d and %d (%v)", tr.Gaps, len(tr.Seen), gaps, messages, s.Broken())
		}
		return nil
	})
	return tr
}

// TestTrimmedGap comes back with a position that the stream does not reach back to: the client is told of the gap
// and gets what there is, in order.
func TestTrimmedGap(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	const topic = "finals"
	conn := redis.Dial(t)
	first := testcluster.Subscribe(t, testcluster.SubscriberConfig{Name: "first", Base: c.Router(0).HTTP, Topic: topic})
	eventually(t, "the first one is there", first.Open)
	start := first.Track(topic).Start
	first.Stop()
	// A stretch that is longer than a gateway's memory, so that only Redis can tell.
	const all, kept = 3000, 40
	for i := range all {
		if _, err := conn.Add(topic, fmt.Sprintf(`{"n":%d}`, i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Do("XTRIM", testcluster.StreamKey(topic), "MAXLEN", fmt.Sprint(kept)); err != nil {
		t.Fatal(err)
	}
	truth, err := conn.Truth(topic)
	if err != nil || len(truth) != kept {
		t.Fatalf("the stream has %d entries, %v, want %d", len(truth), err, kept)
	}
	c.Gateway("g1").Kill() // with what it remembers
	c.WaitConverged()
	c.AddGateway("g2")
	c.WaitReady()
	c.WaitConverged()
	for _, p := range []testcluster.Protocol{testcluster.V1, testcluster.SSE} {
		s := testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name: "late", Protocol: p, Base: c.Router(0).HTTP, Topic: topic, Since: start,
		})
		tr := gapSays(t, s, topic, 1, kept)
		for i, e := range truth {
			if tr.Seen[i].Position.ID != e.ID || tr.Seen[i].Data != e.Payload {
				t.Fatalf("%v: message %d is %+v, want %+v", s, i, tr.Seen[i], e)
			}
		}
	}
}

// TestLostStream has Redis come back without its data, under live sessions: each is told of the gap, keeps its connection, and gets
// what is published afterwards.
func TestLostStream(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	const topic = "finals"
	conn := redis.Dial(t)
	var subs []*testcluster.Subscriber
	for _, p := range []testcluster.Protocol{testcluster.V1, testcluster.SSE} {
		s := testcluster.Subscribe(t, testcluster.SubscriberConfig{Name: "s", Protocol: p, Base: c.Router(0).HTTP, Topic: topic})
		eventually(t, "it is there", s.Open)
		subs = append(subs, s)
	}
	for i := range 20 {
		if _, err := conn.Add(topic, fmt.Sprintf(`{"n":%d}`, i), ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range subs {
		gapSays(t, s, topic, 0, 20)
	}
	redis.Kill()
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn = redis.Dial(t)
	for _, s := range subs {
		gapSays(t, s, topic, 1, 20)
	}
	if _, err := conn.Add(topic, `{"n":20}`, ""); err != nil {
		t.Fatal(err)
	}
	for _, s := range subs {
		gapSays(t, s, topic, 1, 21)
		if s.Connections() != 1 {
			t.Errorf("%v: got %d connections, want 1", s, s.Connections())
		}
	}
}

// TestStalledReader has a client that reads nothing while far more is published than its sockets hold: its
// neighbours notice nothing, and when it reads again it gets everything in order, or is told what it missed.
func TestStalledReader(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1, "--write-timeout", "1h") // however long the flood takes
	topics := []string{"flood"}
	a := join(t, c, redis, topics, 6)
	stalled := dialWebSocket(t, c.Router(0), "/t/flood", "ringside.v1")
	var welcome struct{ Position string }
	if err := stalled.ReadJSON(&welcome); err != nil {
		t.Fatal(err)
	}
	start, err := position.Parse(welcome.Position)
	if err != nil {
		t.Fatal(err)
	}
	conn := redis.Dial(t)
	pad := make([]byte, 10_000)
	for i := range pad {
		pad[i] = 'x'
	}
	const flood = 4000 // 40 MB
	for i := range flood {
		if _, err := conn.Add("flood", fmt.Sprintf(`{"n":%d,"pad":%q}`, i, pad), ""); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 { // no faster than the neighbours read: the log holds four times as much
			eventually(t, "the neighbours keep up", func() error {
				for _, s := range a.subs {
					if last := s.LastData("flood"); !strings.HasPrefix(last, fmt.Sprintf(`{"n":%d,`, i)) {
						return fmt.Errorf("%v is behind %d", s, i)
					}
				}
				return nil
			})
		}
	}
	a.verify(t)
	truth, err := conn.Truth("flood")
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, stalled, start, truth)
}

// readAll reads to the end of the truth: every message follows the one before it, or a gap that says otherwise.
func readAll(t *testing.T, conn *websocket.Conn, at position.Position, truth []testcluster.Entry) {
	t.Helper()
	next := func(after position.ID) position.ID {
		i := slices.IndexFunc(truth, func(e testcluster.Entry) bool { return after.Less(e.ID) })
		if i < 0 {
			t.Fatalf("nothing follows %v", after)
		}
		return truth[i].ID
	}
	var gaps []string
	for at.ID != truth[len(truth)-1].ID {
		var m struct{ Type, ID, Position, After, Reason string }
		_ = conn.SetReadDeadline(time.Now().Add(testcluster.Limit())) // of what comes next
		if err := conn.ReadJSON(&m); err != nil {
			t.Fatalf("after %v: %v", at, err)
		}
		text := m.Position
		if m.Type == "message" {
			text = m.ID
		}
		to, err := position.Parse(text)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		switch m.Type {
		case "message":
			if want := next(at.ID); to.ID != want {
				t.Fatalf("after %v comes %v, want %v", at, to, want)
			}
		case "gap":
			gaps = append(gaps, m.Reason)
			if m.After != at.String() || m.Reason == "" {
				t.Fatalf("a gap after %s for %q, want one after %v", m.After, m.Reason, at)
			}
		case "heartbeat":
		default:
			t.Fatalf("got a %q", m.Type)
		}
		at = to
	}
	t.Logf("gaps: %q", gaps)
}
