package topiclog

import (
	"testing"

	"github.com/ringside-edge/ringside/internal/position"
)

// BenchmarkAppend takes an entry in and drops the oldest, as a log does that is full.
func BenchmarkAppend(b *testing.B) {
	var l Log[*item]
	e := &item{1, 200}
	for range 4096 { // as long as it gets
		l.Append(e)
	}
	for range 1 << 15 { // until its storage grows no more
		l.Append(e)
		l.DropFirst()
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Append(e)
		l.DropFirst()
	}
}

// BenchmarkRead is what a session looks up that keeps up, or has fallen sixteen messages behind.
func BenchmarkRead(b *testing.B) {
	var l Log[*item]
	for i := range 1024 {
		l.Append(&item{uint64(i + 1), 200})
	}
	f := func(name string, behind uint64) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := l.Since(l.Next()-behind, 256); len(got) != int(behind) {
					b.Fatal(len(got))
				}
			}
		})
	}
	f("1", 1)
	f("16", 16)
}

// BenchmarkSeek finds the place of a client that comes back.
func BenchmarkSeek(b *testing.B) {
	var l Log[*item]
	for i := range 1024 {
		l.Append(&item{uint64(i + 1), 200})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := l.Seek(position.ID{Ms: 700}); !ok {
			b.Fatal("not found")
		}
	}
}
