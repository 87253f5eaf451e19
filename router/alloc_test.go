package router

import (
	"io"
	"strings"
	"testing"
	"unsafe"

	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/leg"
)

// TestSessionSize holds what an idle session costs beside its two descriptors, and their two entries in the loop's
// table.
func TestSessionSize(t *testing.T) {
	for _, part := range []struct {
		name      string
		got, most uintptr // a size class of the allocator
	}{
		{"session", unsafe.Sizeof(session{}), 112}, {"uplink, of one that is not parked", unsafe.Sizeof(uplink{}), 96},
		{"home", unsafe.Sizeof(home{}), 96}, {"standing, for each topic", unsafe.Sizeof(standing{}), 64},
	} {
		if part.got > part.most {
			t.Errorf("%s: %d bytes, want at most %d", part.name, part.got, part.most)
		} else {
			t.Logf("%s: %d bytes", part.name, part.got)
		}
	}
}

// TestSpliceAllocations holds the splice of a message at no allocation, in both directions.
func TestSpliceAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates: this test runs in the build without it")
	}
	g, s := gateway(t, "g1"), rawServer(t, "s1")
	r := start(t, false, nil, g, s)
	f := func(name string, u *upstreamServer, message string) {
		t.Helper()
		c := r.open(r.ownedBy(u.id), wsHead, "")
		up := u.session()
		down, got := []byte(message), make([]byte, 200)
		if avg := testing.AllocsPerRun(500, func() {
			_, _ = up.conn.Write(down)
			_, _ = io.ReadFull(c.conn, got)
			_, _ = c.conn.Write(got)
			_, _ = io.ReadFull(up.conn, got)
		}); avg >= 1 {
			t.Errorf("%s: %v allocations per message, want none", name, avg)
		}
	}
	f("leg", g, record(leg.Data, strings.Repeat("m", 200)))
	f("raw", s, strings.Repeat("m", 200))
}

// TestLookupAllocations holds the way from a topic to its shards at no allocation.
func TestLookupAllocations(t *testing.T) {
	r := start(t, false, nil, gateway(t, "g1"), gateway(t, "g2"))
	if avg := testing.AllocsPerRun(100, func() {
		if len(r.r.deps.Ring().Preference(topic.Slot("finals"))) != 2 {
			t.Fatal("no shards")
		}
	}); avg != 0 {
		t.Errorf("%v allocations, want none", avg)
	}
}
