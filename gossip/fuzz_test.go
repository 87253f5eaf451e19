package gossip

import (
	"bytes"
	"testing"
)

// FuzzLoads holds that what other nodes send of their loads is read within its bounds, and reads the same when it is sent on.
func FuzzLoads(f *testing.F) {
	f.Add(appendLoads([]load{{seq: 1, sessions: 2, node: "g1"}, {seq: 3, sessions: 4, node: "g2"}}))
	f.Add([]byte{0, 0, 0, 1, 0, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		loads := decodeLoads(b)
		sent := appendLoads(loads)
		if len(sent) > len(b) {
			t.Fatalf("%x became %x", b, sent)
		}
		if again := appendLoads(decodeLoads(sent)); !bytes.Equal(again, sent) {
			t.Fatalf("%x became %x, then %x", b, sent, again)
		}
	})
}
