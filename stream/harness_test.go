package stream

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both runs a test on a real Redis and on the embedded one.
func both(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("redis", func(t *testing.T) { f(t, testcluster.NewRedis(t, false).URL()) })
	t.Run("embedded", func(t *testing.T) { f(t, "redis://"+miniredis.RunT(t).Addr()) })
}

// start runs a client until the test ends.
func start(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg, zap.NewNop())
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
func ready(t *testing.T, c *Client) *Client {
	t.Helper()
	testcluster.Soon(t, "redis answers", func() bool { return c.Ready() == nil })
	return c
}

func publish(t *testing.T, c *Client, topic, payload string) Published {
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

func (h *heard) TailStarted(slot int, at position.Position) {
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

// wait waits until ok holds; ok is called with the lock held.
func (h *heard) wait(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.After(30 * time.Second)
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

// tail runs a tailer with slots until the test ends.
func tailOf(t *testing.T, c *Client, slots ...int) (*heard, *Tailer) {
	t.Helper()
	h := newHeard(t)
	tl := c.NewTailer(h)
	tl.Want(slots)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tl.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	h.wait("all tails have started", func() bool { return len(h.starts) == len(slots) })
	return h, tl
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
