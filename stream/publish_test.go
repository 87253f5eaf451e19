package stream

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

func TestPublishAndRange(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url}))
		a := publish(t, c, "finals", "1")
		b := publish(t, c, "finals", "2")
		if a.Slot != topic.Slot("finals") || a.Topic != "finals" || a.Position.Epoch == 0 || a.Position.Epoch != b.Position.Epoch || !a.Position.ID.Less(b.Position.ID) {
			t.Errorf("got %+v and %+v", a, b)
		}
		p, err := c.Range(t.Context(), a.Slot, a.Position.ID, 10)
		if err != nil || len(p.Entries) != 1 || p.More || p.Last != b.Position.ID {
			t.Fatalf("behind the first: got %+v, %v", p, err)
		}
		if e := p.Entries[0]; e.Topic != "finals" || string(e.Payload) != "2" || e.ID != b.Position.ID {
			t.Errorf("got %+v", e)
		}
		p, err = c.Range(t.Context(), a.Slot, position.ID{}, 2)
		if err != nil || len(p.Entries) != 2 || !p.More || p.Entries[0].Topic != "" {
			t.Errorf("from the beginning: got %+v, %v, want the epoch's mark and the first, and more", p, err)
		}
		e, err := c.Edges(t.Context(), a.Slot)
		if err != nil || e.Epoch != a.Position.Epoch || e.Last != b.Position.ID || !e.First.Less(a.Position.ID) {
			t.Errorf("edges: got %+v, %v", e, err)
		}
		// An empty stream has an epoch, and an entry that stands for its beginning.
		e, err = c.Edges(t.Context(), 7)
		if err != nil || e.Epoch == 0 || e.First.IsZero() || e.First != e.Last {
			t.Errorf("edges of a new stream: got %+v, %v", e, err)
		}
		if again, err := c.Edges(t.Context(), 7); err != nil || again != e {
			t.Errorf("edges again: got %+v, %v, want %+v", again, err, e)
		}
	})
}

func TestPublishIsIdempotent(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url}))
		const n = 20
		var wg sync.WaitGroup
		var mu sync.Mutex
		positions, duplicates := map[position.Position]bool{}, 0
		for i := range n {
			wg.Go(func() {
				p, err := c.Publish(t.Context(), Message{Topic: "finals", ID: "goal-17", Payload: []byte(strconv.Itoa(i))})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				positions[p.Position] = true
				if p.Duplicate {
					duplicates++
				}
			})
		}
		wg.Wait()
		if len(positions) != 1 || duplicates != n-1 {
			t.Errorf("got %d positions and %d duplicates, want 1 and %d", len(positions), duplicates, n-1)
		}
		p, err := c.Publish(t.Context(), Message{Topic: "finals", ID: "goal-18", Payload: []byte("x")})
		if err != nil || p.Duplicate {
			t.Errorf("another id: got %+v, %v", p, err)
		}
		page, err := c.Range(t.Context(), p.Slot, position.ID{}, 100)
		if err != nil || len(page.Entries) != 3 || page.Entries[1].Key != "goal-17" {
			t.Errorf("entries: got %+v, %v, want the mark and two", page, err)
		}
	})
}

// Topics that share a slot share no idempotency keys: what is new to one is not taken for what another has had.
func TestIdempotencyKeysAreTheTopics(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url}))
		h, _ := tailOf(t, c, followed, topic.Slot("finals"))
		other := "0"
		for i := 1; topic.Slot(other) != topic.Slot("finals"); i++ {
			other = strconv.Itoa(i)
		}
		for i, name := range []string{"finals", other, other} {
			p, err := c.Publish(t.Context(), Message{Topic: name, ID: "1", Payload: []byte("published")})
			if again := i == 2; err != nil || p.Duplicate != again || p.Topic != name {
				t.Errorf("%s: got %+v, %v, want duplicate %v", name, p, err, again)
			}
			h.wantPayloads(name, "published")
		}
		around := []string{"XADD", Key(topic.Slot("finals")), "*", "id", "2", "payload", "added", "topic"}
		for _, name := range []string{"finals", other, "finals"} {
			if err := linkOf(t, c).Do(t.Context(), linkOf(t, c).B().Arbitrary(around...).Args(name).Build()).Error(); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, c, "finals", "last")
		h.wantPayloads("finals", "published", "added", "last")
		h.wantPayloads(other, "published", "added")
	})
}

func TestPublishRefuses(t *testing.T) {
	c := ready(t, start(t, Config{URL: testcluster.NewRedis(t, false).URL(), MaxPayload: 100}))
	f := func(want error, m Message) {
		t.Helper()
		if _, err := c.Publish(t.Context(), m); !errors.Is(err, want) {
			t.Errorf("%+v: got %v, want %v", m, err, want)
		}
	}
	f(nil, Message{Topic: "finals", Payload: make([]byte, 100)})
	f(nil, Message{Topic: "finals"})
	f(ErrTooLarge, Message{Topic: "finals", Payload: make([]byte, 101)})
	f(ErrID, Message{Topic: "finals", ID: strings.Repeat("x", 256)})
	f(ErrID, Message{Topic: "finals", ID: "\xff"})
	var te *topic.Error
	if _, err := c.Publish(t.Context(), Message{Topic: "a\nb"}); !errors.As(err, &te) || te.Reason != "control" {
		t.Errorf("a bad topic: got %v", err)
	}
}

func TestRedisAwayAtStart(t *testing.T) {
	addr, err := testcluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, Config{URL: "redis://" + addr})
	if err := c.Ready(); err == nil {
		t.Error("Ready without Redis: got nil")
	}
	if _, err := c.Publish(t.Context(), Message{Topic: "finals"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("publish without Redis: got %v, want ErrUnavailable", err)
	}
}

func TestRedisAwayLater(t *testing.T) {
	s := testcluster.NewRedis(t, true)
	c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 500 * time.Millisecond}))
	publishSurely(t, c, "finals", "1")
	s.Kill()
	testcluster.Soon(t, "publishes fail for sure", func() bool {
		_, err := c.Publish(t.Context(), Message{Topic: "finals"})
		return errors.Is(err, ErrUnavailable)
	})
	testcluster.Soon(t, "the client is not ready", func() bool { return c.Ready() != nil })
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready(t, c)
	publishSurely(t, c, "finals", "2")
}

// A Redis that takes a command and does not answer leaves it open what became of it; the same ID settles it.
func TestAmbiguousPublish(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 300 * time.Millisecond}))
	publishSurely(t, c, "finals", "1")
	pause(t, s)
	m := Message{Topic: "finals", ID: "goal-1", Payload: []byte("2")}
	if _, err := c.Publish(t.Context(), m); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("a stopped Redis: got %v, want ErrAmbiguous", err)
	}
	resume(t, s)
	var p Published
	testcluster.Soon(t, "the retry succeeds", func() (ok bool) {
		var err error
		p, err = c.Publish(t.Context(), m)
		return err == nil
	})
	wantSame(t, entriesOf(t, c, p), []string{"1", "2"})
}

func TestRefusedByRedisIsUnavailable(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	if _, err := s.Dial(t).Do("CONFIG", "SET", "maxmemory", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(t.Context(), Message{Topic: "finals"}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("out of memory: got %v, want ErrUnavailable with the reason", err)
	}
}

func TestAnotherSlotCountIsFatal(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	if _, err := s.Dial(t).Do("SET", "ringside:slots", "128"); err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{URL: s.URL()}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "128") || !strings.Contains(err.Error(), "ringside:slots") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, url := range []string{"", "http://x", "localhost:6379", "redis://:hunter2@%zz"} {
		if _, err := New(Config{URL: url}, zap.NewNop()); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", url, err)
		}
	}
	if _, err := New(Config{URL: "redis://x", Retention: -1}, zap.NewNop()); err == nil {
		t.Error("a negative retention: got no error")
	}
}

// What is older than the retention goes with the publishes that follow, and the length is an emergency brake.
func TestTrimming(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL(), MaxLen: 500, Retention: time.Hour}))
	slot := topic.Slot("finals")
	r := s.Dial(t)
	old := strconv.FormatInt(time.Now().Add(-2*time.Hour).UnixMilli(), 10)
	for i := range 1000 {
		if _, err := r.Do("XADD", Key(slot), old+"-"+strconv.Itoa(i+1), "topic", "finals", "payload", "old"); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, c, "finals", "new")
	e, err := c.Edges(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.Range(t.Context(), slot, position.ID{}, 2000)
	if err != nil || len(page.Entries) > 150 {
		t.Errorf("after the retention: %d entries are left, %v", len(page.Entries), err)
	}
	for range 1024 {
		publish(t, c, "finals", "x")
	}
	page, err = c.Range(t.Context(), slot, position.ID{}, 2000)
	if err != nil || len(page.Entries) > 800 {
		t.Errorf("after the brake: %d entries are left, %v", len(page.Entries), err)
	}
	if n := c.metrics.braked.Load(); n == 0 {
		t.Error("the brake is not counted")
	}
	now, err := c.Edges(t.Context(), slot)
	if err != nil || !e.First.Less(now.First) || now.Epoch != e.Epoch {
		t.Errorf("edges: got %+v, then %+v, %v", e, now, err)
	}
}

func TestURLForms(t *testing.T) {
	ln, err := net.Listen("unix", t.TempDir()+"/redis.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, url := range []string{"redis://x", "redis://x:1/3", "redis://user:pass@x:1", "rediss://x", "unix://" + ln.Addr().String()} {
		if _, err := New(Config{URL: url}, zap.NewNop()); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
