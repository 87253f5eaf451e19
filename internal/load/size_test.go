package load

import (
	"testing"
	"unsafe"
)

// What a subscriber costs beside its descriptor, its carry and its memory aside, which most have none of.
func TestSessionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(session{}); n > 200 {
		t.Errorf("a session has %d bytes, want 200 at most", n)
	}
}
