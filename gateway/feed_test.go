package gateway

import (
	"fmt"
	"testing"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/stream"
)

// A topic that many follow lets others have their turn, and still reaches everybody, once and in order.
func TestHotTopicLetsOthersThrough(t *testing.T) {
	const followers, messages = 2*fanOutSlice + 10, 3
	r := start(t, func(c *Config) { c.Loops = 1 })
	var hot []*wsClient
	for range followers {
		c := r.dial("hot")
		c.want("welcome")
		hot = append(hot, c)
	}
	quiet := r.dial("quiet")
	quiet.want("welcome")
	w := r.g.workers[0]
	sent := make(chan uint64, 1)
	w.loop.Post(eventloop.NoteFunc(func() {
		was := w.counts.messages.Load()
		for _, topic := range []string{"hot", "quiet"} {
			r.arrive(topic, messages)
		}
		w.loop.Post(eventloop.NoteFunc(func() { sent <- w.counts.messages.Load() - was }))
	}))
	if got := <-sent; got != messages*(fanOutSlice+1) {
		t.Errorf("when the quiet topic had had its turn: got %d messages sent, want those of a slice and of the quiet session: %d", got, messages*(fanOutSlice+1))
	}
	for i, c := range append(hot, quiet) {
		for n := range messages {
			if m := c.want("message"); string(m.Data) != fmt.Sprint(n) {
				t.Fatalf("session %d: got %s, want %d", i, m.Data, n)
			}
		}
	}
}

// arrive has the topic's tail bring so many entries; on the loop.
func (r *rig) arrive(topic string, n int) {
	s := r.g.slots[r.g.slotOf(topic)]
	s.mu.Lock()
	id := s.at.ID
	s.mu.Unlock()
	var entries []stream.Entry
	for i := range n {
		id.Seq++
		entries = append(entries, stream.Entry{ID: id, Topic: topic, Payload: []byte(fmt.Sprint(i))})
	}
	s.append(entries)
}
