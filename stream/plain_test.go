package stream

import (
	"strconv"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

// Where owned slots are read plainly there is no group, what an earlier process has left of one goes, and a second process of
// the same shard takes nothing away. It still counts as owned.
func TestPlain(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	slot := topic.Slot("finals")
	r := s.Dial(t)
	do(t, r, "XGROUP", "CREATE", Key(slot), finalsGroup, "0", "MKSTREAM")
	plain := func(c *Client) (*heard, *Tailer) {
		h := newHeard(t)
		tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Plain: true, Members: func() []string { return []string{"g1"} }})
		tl.Want(allSlots(), nil)
		_ = run(t, h, tl, topic.Slots)
		return h, tl
	}
	one, tl := plain(c)
	two, _ := plain(ready(t, start(t, Config{URL: s.URL()})))
	var want []string
	for i := range 100 {
		want = append(want, strconv.Itoa(i))
		publish(t, c, "finals", want[i])
	}
	one.wantPayloads("finals", want...)
	two.wantPayloads("finals", want...)
	if n := c.metrics.contested.Load(); n != 0 {
		t.Errorf("contested: got %d, want 0", n)
	}
	if st, ok := tl.Stats(slot); !ok || !st.Owned {
		t.Errorf("stats: got %+v, %v, want an owned slot", st, ok)
	}
	if n := c.metrics.acked.Load(); n != 0 {
		t.Errorf("acked: got %d, want 0", n)
	}
	suspects := tl.collectOnce(t.Context(), nil)
	if n := groupsOf(t, r, slot); n != 1 {
		t.Errorf("groups, looked at once: got %d, want the one that was there", n)
	}
	tl.collectOnce(t.Context(), suspects)
	if n := groupsOf(t, r, slot); n != 0 {
		t.Errorf("groups: got %d, want none", n)
	}
}
