package router

import (
	"testing"

	"github.com/ringside-edge/ringside/internal/wsframe"
)

// FuzzFrames holds that a raw upstream's frames end where they do however they are cut, as a reader finds that goes frame by frame.
func FuzzFrames(f *testing.F) {
	f.Add(wsframe.AppendFrame(wsframe.AppendFrame(nil, wsframe.Text, []byte("hello")), wsframe.Close, []byte{3, 232}), 3)
	f.Add(wsframe.AppendClientFrame(nil, wsframe.Binary, [4]byte{1, 2, 3, 4}, make([]byte, 126)), 7)
	f.Add([]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1)
	f.Add([]byte{0x88, 0, 0x00, 0xfe, 0, 0, 1, 2, 3, 4, 0x81}, 2)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		at = min(max(at, 0), len(b))
		var whole, cut, byByte frames
		whole.feed(b)
		cut.feed(b[:at])
		cut.feed(b[at:])
		for i := range b {
			byByte.feed(b[i : i+1])
			if want := ends(b[:i+1]); byByte.atBoundary() != want {
				t.Fatalf("% x: boundary behind %d bytes: got %v, want %v", b, i+1, byByte.atBoundary(), want)
			}
		}
		if whole != cut || whole != byByte {
			t.Fatalf("% x: got %+v, cut at %d %+v, byte by byte %+v", b, whole, at, cut, byByte)
		}
	})
}

// ends reports whether a frame ends with the last byte of b.
func ends(b []byte) bool {
	for len(b) >= 2 {
		size, n := uint64(2), uint64(b[1]&0x7f)
		more := map[uint64]int{126: 2, 127: 8}[n]
		if more > 0 {
			if len(b) < 2+more {
				return false
			}
			n = 0
			for _, c := range b[2 : 2+more] {
				n = n<<8 | uint64(c)
			}
		}
		size += uint64(more)
		if b[1]&0x80 != 0 {
			size += 4
		}
		if uint64(len(b)) < size || uint64(len(b))-size < n {
			return false
		}
		b = b[size+n:]
	}
	return len(b) == 0
}
