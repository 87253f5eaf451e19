package stream

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

// The client of a Cluster sleeps for seconds before it asks for the slots once more, and its Close does not end that.
func TestMain(m *testing.M) { goleak.VerifyTestMain(testcluster.Settling(m)) }

// both runs a test on a real Redis and on the embedded one.
func both(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("redis", func(t *testing.T) { f(t, testcluster.NewRedis(t, false).URL()) })
	t.Run("embedded", func(t *testing.T) { f(t, "redis://"+miniredis.RunT(t).Addr()) })
}

// start runs a client until the test ends. It is patient, unless cfg says otherwise: that a command takes long on a busy machine is
// not what a test is about.
func start(t testing.TB, cfg Config) *Client {
	t.Helper()
	return startWith(t, cfg, zap.NewNop())
}

func startWith(t testing.TB, cfg Config, log *zap.Logger) *Client {
	t.Helper()
	if cfg.OpTimeout == 0 {
		cfg.OpTimeout = testcluster.Limit()
	}
	c, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

// ready waits until c is connected.
func ready(t testing.TB, c *Client) *Client {
	t.Helper()
	testcluster.Soon(t, "redis answers", func() bool { return c.Ready() == nil })
	return c
}

func publish(t testing.TB, c *Client, topic, payload string) Published {
	t.Helper()
	p, err := c.Publish(t.Context(), Message{Topic: topic, Payload: []byte(payload)})
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return p
}

// publishSurely publishes although connections are being killed: again, with an ID, until it is known.
func publishSurely(t *testing.T, c *Client, topic, payload string) {
	t.Helper()
	testcluster.Soon(t, "the publish succeeds", func() bool {
		_, err := c.Publish(t.Context(), Message{Topic: topic, ID: payload, Payload: []byte(payload)})
		return err == nil
	})
}

// heard is a Sink that remembers everything, and checks the order.
type heard struct {
	t *testing.T

	mu      sync.Mutex
	at      map[int]position.Position
	lost    map[int]bool
	starts  map[int]int
	entries map[string][]string // by topic: payloads
	changed chan struct{}
}

func newHeard(t *testing.T) *heard {
	return &heard{
		t: t, at: map[int]position.Position{}, lost: map[int]bool{}, starts: map[int]int{},
		entries: map[string][]string{}, changed: make(chan struct{}, 1),
	}
}

func (h *heard) change(f func()) {
	h.mu.Lock()
	f()
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *heard) TailStarted(slot int, at position.Position, _ position.ID) {
	h.change(func() { h.at[slot], h.lost[slot] = at, false; h.starts[slot]++ })
}

func (h *heard) TailEntries(slot int, es []Entry) {
	h.change(func() {
		for _, e := range es {
			p := h.at[slot]
			if h.lost[slot] || !p.ID.Less(e.ID) {
				h.t.Errorf("slot %d: entry %v after %v, lost %v", slot, e.ID, p.ID, h.lost[slot])
			}
			p.ID = e.ID
			h.at[slot] = p
			if e.Topic != "" {
				h.entries[e.Topic] = append(h.entries[e.Topic], string(e.Payload))
			}
		}
	})
}

func (h *heard) TailLost(slot int, _ error) { h.change(func() { h.lost[slot] = true }) }

// stands is where the tail of a slot stands.
func (h *heard) stands(slot int) position.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at[slot]
}

// started is how often the tail of a slot was started.
func (h *heard) started(slot int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.starts[slot]
}

// wait waits until ok holds; ok is called with the lock held.
func (h *heard) wait(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.After(testcluster.Limit())
	for {
		h.mu.Lock()
		done := ok()
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-h.changed:
		case <-deadline:
			h.t.Fatalf("never came true: %s", what)
		}
	}
}

// kinds runs a test for tails that follow, and for those that own.
func kinds(t *testing.T, f func(t *testing.T, k kind)) {
	t.Run("followed", func(t *testing.T) { f(t, followed) })
	t.Run("owned", func(t *testing.T) { f(t, owned) })
}

// want has slots read as k.
func (k kind) want(tl *Tailer, slots ...int) {
	if k == owned {
		tl.Want(slots, nil)
		return
	}
	tl.Want(nil, slots)
}

// tailOf runs a tailer of shard g1 that reads slots as k until the test ends.
func tailOf(t *testing.T, c *Client, k kind, slots ...int) (*heard, *Tailer) {
	t.Helper()
	h := newHeard(t)
	tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Linger: 2 * time.Millisecond})
	k.want(tl, slots...)
	_ = run(t, h, tl, len(slots))
	return h, tl
}

// run runs a tailer until the test ends.
func run(t *testing.T, h *heard, tl *Tailer, slots int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tl.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	h.wait("all tails have started", func() bool { return len(h.starts) == slots })
	return stop
}

func (h *heard) wantPayloads(topic string, want ...string) {
	h.t.Helper()
	h.wait(fmt.Sprintf("%s has %d entries", topic, len(want)), func() bool { return len(h.entries[topic]) >= len(want) })
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := strings.Join(h.entries[topic], " "); got != strings.Join(want, " ") {
		h.t.Errorf("%s: got %s, want %s", topic, got, strings.Join(want, " "))
	}
}

// allSlots are all slots.
func allSlots() (s []int) {
	for i := range topic.Slots {
		s = append(s, i)
	}
	return s
}

// linkOf is the client's present link.
func linkOf(t *testing.T, c *Client) rueidis.Client {
	t.Helper()
	r, err := c.client()
	if err != nil {
		t.Fatal(err)
	}
	return r
}
