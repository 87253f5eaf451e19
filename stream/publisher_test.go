package stream

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// publishing publishes one message after the other, each with an id and again until it is known to be written, as a
// publisher should.
type publishing struct {
	done    chan struct{} // closed to end it
	ended   chan struct{}
	written atomic.Int64 // messages so far

	payloads    []string // to be read once it has ended
	unavailable int      // answers to attempts
	ambiguous   int
}

// startPublishing publishes to a topic, and waits for a number of replicas.
func startPublishing(t *testing.T, c *Client, topic string, replicas int) *publishing {
	t.Helper()
	p := &publishing{done: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for i := 0; ; i++ {
			payload := strconv.Itoa(i)
			if !p.publish(t, c, Message{Topic: topic, ID: payload, Payload: []byte(payload), Replicas: replicas}) {
				return
			}
			p.payloads = append(p.payloads, payload)
			p.written.Add(1)
		}
	}()
	t.Cleanup(func() { p.stop() })
	return p
}

// publish tries until it succeeds; between messages it ends when it is to.
func (p *publishing) publish(t *testing.T, c *Client, m Message) bool {
	select {
	case <-p.done:
		return false
	default:
	}
	for {
		_, err := c.Publish(t.Context(), m)
		switch {
		case err == nil:
			return true
		case t.Context().Err() != nil:
			return false
		case isUnavailable(err):
			p.unavailable++
		case isAmbiguous(err):
			p.ambiguous++
		default:
			t.Errorf("publish: got %v", err)
			return false
		}
		<-time.After(time.Millisecond) // as nobody tries again at once
	}
}

// more waits for further n messages.
func (p *publishing) more(t *testing.T, n int) {
	t.Helper()
	until := p.written.Load() + int64(n)
	testcluster.Soon(t, "messages are written", func() bool { return p.written.Load() >= until })
}

// stop ends it and returns the payloads that are written.
func (p *publishing) stop() []string {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	<-p.ended
	return p.payloads
}

// publishSurelyAs publishes m again until it is known.
func publishSurelyAs(t *testing.T, c *Client, m Message) (p Published) {
	t.Helper()
	testcluster.Soon(t, "the publish succeeds", func() bool {
		var err error
		p, err = c.Publish(t.Context(), m)
		return err == nil
	})
	return p
}

func wantSame(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("got %d entries %.300q, want %d %.300q; they differ from entry %d on", len(got), got[min(i, len(got)):], len(want), want[min(i, len(want)):], i)
			return
		}
	}
}

// hasLast reports whether a payload is the last of a topic's; with the lock held.
func (h *heard) hasLast(topic, payload string) bool {
	es := h.entries[topic]
	return len(es) > 0 && es[len(es)-1] == payload
}
