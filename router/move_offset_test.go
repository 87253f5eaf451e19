package router

import (
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// TestMoveAtEveryByte kills a gateway behind every single byte of a recorded stream of mixed-size records, and every third
// time the next one too: the client's bytes are the same each time. [TestMoveAtEveryOffset] does it over TCP, handshakes
// included, at fewer places.
func TestMoveAtEveryByte(t *testing.T) {
	s := testScript()
	want := strings.Join(s.bodies, "")
	first := rec(leg.Topic, leg.Asked, 3, position.Position{}, "finals") + s.records(3, 0)
	for i, half := range []string{"even", "odd"} {
		t.Run(half, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, false, 1)
			n := 0
			for cut := i; cut <= len(first); cut += 2 {
				if got := l.moveAt(t, s, first, cut); got != want {
					t.Fatalf("cut at %d: the client's bytes differ: got %d, want %d", cut, len(got), len(want))
				}
				n++
			}
			t.Logf("%d offsets", n)
		})
	}
}

// moveAt returns what a client gets whose gateway dies when it has sent first up to cut.
func (l *lab) moveAt(t *testing.T, s script, first string, cut int) string {
	t.Helper()
	client, gateway := l.open()
	defer client.close()
	gateway.write(first[:cut])
	gateway.close()
	l.moving()
	l.pass(parkLook)
	gateway = l.leg()
	again := resumed(t, s, gateway.resume())
	if dies := cut * 31 % (len(again) + 1); cut%3 == 0 {
		gateway.write(again[:dies])
		gateway.close()
		l.moving()
		l.pass(parkLook)
		gateway = l.leg()
		again = resumed(t, s, gateway.resume())
	}
	defer gateway.close()
	gateway.write(again + rec(leg.End, 0, 0, position.Position{}, ""))
	return client.rest()
}
