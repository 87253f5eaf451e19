package gossip

import (
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/ring"
)

func TestMeta(t *testing.T) {
	m := ring.Member{ID: "g1", Role: ring.RoleGateway, State: ring.StateDraining, Addr: "[::1]:1", Admin: "x:2", Zone: "z", Weight: 7}
	b, err := encodeMeta(m, 99)
	if err != nil {
		t.Fatal(err)
	}
	got, boot, err := decodeMeta(append(b, "fields of a later version"...))
	if err != nil || got != m || boot != 99 {
		t.Errorf("got %+v, %d, %v", got, boot, err)
	}
	for i := range b {
		if _, _, err := decodeMeta(b[:i]); err == nil {
			t.Errorf("cut at %d: got no error", i)
		}
	}
	for _, i := range []int{0, 1, 2} {
		bad := append([]byte(nil), b...)
		bad[i] = 0
		if _, _, err := decodeMeta(bad); err == nil {
			t.Errorf("byte %d is 0: got no error", i)
		}
	}
	loads := []load{{"a", 1, 2}, {"b", 3, 4}}
	back := decodeLoads(appendLoads(loads))
	if len(back) != 2 || back[0] != loads[0] || back[1] != loads[1] {
		t.Errorf("loads: got %+v", back)
	}
}

func TestMetaOfFullLength(t *testing.T) {
	m := gatewayMember(strings.Repeat("x", 255))
	m.Zone = strings.Repeat("z", 255-len(m.Addr)-len(m.Admin)-metaFixed-2)
	b, err := encodeMeta(m, 1)
	if err != nil || len(b) != memberlist.MetaMaxSize {
		t.Fatalf("got %d bytes, %v, want %d", len(b), err, memberlist.MetaMaxSize)
	}
	if got, _, err := decodeMeta(b); err != nil || got != m {
		t.Errorf("got %+v, %v", got, err)
	}
	m.Zone += "z"
	if _, err := encodeMeta(m, 1); err == nil {
		t.Error("one byte more: got no error")
	}
	// A length of 255 before too few bytes.
	short, _ := encodeMeta(gatewayMember("g1"), 1)
	short[metaFixed] = 255
	if _, _, err := decodeMeta(short); err == nil {
		t.Error("a length beyond the end: got no error")
	}
}

func TestMetaRefusesWhatCantBePrinted(t *testing.T) {
	f := func(change func(*ring.Member)) {
		t.Helper()
		m := gatewayMember("g1")
		change(&m)
		b, err := encodeMeta(m, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decodeMeta(b); err == nil {
			t.Errorf("%+v: got no error", m)
		}
	}
	f(func(m *ring.Member) { m.ID = "g1\nroot" })
	f(func(m *ring.Member) { m.Addr = "127.0.0.1:80\x1b[2J" })
	f(func(m *ring.Member) { m.Admin = "\xff" })
	f(func(m *ring.Member) { m.Zone = "a\u2028b" })
	f(func(m *ring.Member) { m.ID = "" })
}

func TestLoadsGoOn(t *testing.T) {
	n, err := New(Config{Bind: "127.0.0.1:0", Self: gatewayMember("g1")}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	n.view.set(peer{name: "a"})
	n.view.set(peer{name: "b"})
	f := func(l load, queued int) {
		t.Helper()
		delegate{n}.NotifyMsg(l.append(nil))
		if got := n.queue.NumQueued(); got != queued {
			t.Errorf("%+v: %d loads wait to be sent on, want %d", l, got, queued)
		}
	}
	f(load{"a", 1, 10}, 1)
	n.queue.Reset()
	f(load{"a", 1, 10}, 0) // no news
	f(load{"a", 2, 20}, 1)
	f(load{"a", 3, 30}, 1) // takes the place of the earlier one
	f(load{"b", 1, 10}, 2)
	f(load{"stranger", 1, 10}, 2)
	if before := n.metrics.badMessages.Load(); before != 0 {
		t.Errorf("%d messages were not understood", before)
	}
	delegate{n}.NotifyMsg([]byte("?"))
	if got := n.metrics.badMessages.Load(); got != 1 {
		t.Errorf("messages that were not understood: got %d, want 1", got)
	}
}

func FuzzDecode(f *testing.F) {
	b, _ := encodeMeta(gatewayMember("g1"), 1)
	f.Add(b)
	f.Add(appendLoads([]load{{"a", 1, 2}}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = decodeMeta(b)
		_, _ = decodeLoad(b)
		_ = decodeLoads(b)
	})
}
