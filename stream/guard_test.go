package stream

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// BenchmarkPublishCall is what is sent to Redis for a message, and for a hundred of one slot.
func BenchmarkPublishCall(b *testing.B) {
	c, err := New(Config{URL: "redis://127.0.0.1:1"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			m := Message{Topic: "finals", ID: "goal-1", Payload: bytes.Repeat([]byte{'m'}, 200)}
			p := &part{slot: topic.Slot(m.Topic)}
			for range n {
				p.sent = append(p.sent, &pending{m: &m})
			}
			b.ReportAllocs()
			for b.Loop() {
				c.call(p)
			}
		})
	}
}

// BenchmarkDecode reads sixteen entries as Redis gives them.
func BenchmarkDecode(b *testing.B) {
	c := ready(b, start(b, Config{URL: "redis://" + miniredis.RunT(b).Addr()}))
	for range 16 {
		if _, err := c.Publish(b.Context(), Message{Topic: "finals", Payload: bytes.Repeat([]byte{'m'}, 200)}); err != nil {
			b.Fatal(err)
		}
	}
	r, err := c.client()
	if err != nil {
		b.Fatal(err)
	}
	slot := topic.Slot("finals")
	var msgs []rueidis.RedisMessage
	if msgs, err = c.rangeFrom(b.Context(), r, slot, position.ID{}, 100); err != nil {
		b.Fatal(err)
	}
	es := make([]Entry, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		if es, err = c.decode(slot, msgs, es[:0]); err != nil || len(es) < 16 {
			b.Fatal(len(es), err)
		}
	}
}
