package router

import (
	"fmt"
	"io"
	"testing"

	"github.com/ringside-edge/ringside/leg"
)

// BenchmarkFeedFanOut is a message's way from a feed to 64 parked sessions and through their sockets, and sixteen messages' at once. One
// allocation in a delivery is 64 here.
func BenchmarkFeedFanOut(b *testing.B) {
	const sessions = 64
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := newHall(b, false, sessions, wsHead, 0, func(c *Config) { c.FeedMin = sessions }) // the feed comes last
			size := leg.HeaderSize + len(benchBody)
			records := make([]byte, n*size)
			for i := range n {
				copy(records[i*size+leg.HeaderSize:], benchBody)
			}
			buf, ms := make([]byte, n*len(benchBody)), 1
			b.ReportAllocs()
			for b.Loop() {
				for i := range n {
					ms++
					leg.PutHeader(records[i*size:], leg.Header{Length: uint32(len(benchBody)), Kind: leg.Data, Topic: 9, Position: at(ms)})
				}
				if _, err := h.feed.conn.Write(records); err != nil {
					b.Fatal(err)
				}
				for _, c := range h.clients {
					if _, err := io.ReadFull(c.r, buf); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
