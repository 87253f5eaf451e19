package wsframe

import (
	"bytes"
	"testing"
)

func BenchmarkAppendFrame(b *testing.B) {
	payload := bytes.Repeat([]byte{'m'}, 200)
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendFrame(buf[:0], Text, payload)
	}
}

// BenchmarkFeedMasked is what a client's frame costs, with its mask.
func BenchmarkFeedMasked(b *testing.B) {
	frame := AppendClientFrame(nil, Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"subscribe","topic":"match.4711.score"}`))
	buf := make([]byte, len(frame))
	var r Reader
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, frame)
		if err := r.Feed(buf, Limits{1 << 16}, deaf{}); err != nil {
			b.Fatal(err)
		}
	}
}
