package stream

import (
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

const finalsGroup = groupPrefix + "g1"

// do is a command of a test's own to Redis.
func do(t *testing.T, r *testcluster.Redis, args ...string) any {
	t.Helper()
	v, err := r.Do(args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// pendingIn is the number of entries pending in a slot's group; -1 when there is no group.
func pendingIn(t *testing.T, r *testcluster.Redis, slot int, group string) int64 {
	t.Helper()
	v, err := r.Do("XPENDING", Key(slot), group)
	if err != nil {
		return -1
	}
	return v.([]any)[0].(int64)
}

func groupsOf(t *testing.T, r *testcluster.Redis, slot int) int {
	t.Helper()
	return len(do(t, r, "XINFO", "GROUPS", Key(slot)).([]any))
}

// What an owner has handed over is acknowledged, poison too, and nothing stays pending.
func TestOwnedSlotsAreAcknowledged(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	core, logs := observer.New(zap.WarnLevel)
	c := startWith(t, Config{URL: s.URL()}, zap.New(core))
	ready(t, c)
	slot := topic.Slot("finals")
	h, _ := tailOf(t, c, owned, allSlots()...)
	r := s.Dial(t)
	for i := range 500 {
		publish(t, c, "finals", strconv.Itoa(i))
		if i%100 == 0 {
			do(t, r, "XADD", Key(slot), "*", "nonsense", "x")
		}
	}
	h.wait("all have come", func() bool { return len(h.entries["finals"]) == 500 })
	testcluster.Soon(t, "nothing is pending", func() bool { return pendingIn(t, r, slot, finalsGroup) == 0 })
	if n := counterValue(t, c.metrics.poisoned.WithLabelValues("no_payload")); n != 5 {
		t.Errorf("poison: got %v, want 5", n)
	}
	if n := logs.FilterMessage("passed over an entry that is no message").Len(); n != 5 {
		t.Errorf("lines about poison: got %d, want one of each of 5", n)
	}
}

// A process that comes back acknowledges what the last one had been given, and hands out nothing that is not newer than its head.
func TestPendingOfADeadProcess(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	slot := publish(t, c, "finals", "0").Slot
	r := s.Dial(t)
	do(t, r, "XGROUP", "CREATE", Key(slot), finalsGroup, "0")
	for i := range 3000 {
		publish(t, c, "finals", strconv.Itoa(i))
	}
	do(t, r, "XREADGROUP", "GROUP", finalsGroup, "dead", "COUNT", "2500", "STREAMS", Key(slot), ">")
	if n := pendingIn(t, r, slot, finalsGroup); n != 2500 {
		t.Fatalf("pending: got %d, want 2500", n)
	}
	h, _ := tailOf(t, c, owned, slot)
	publish(t, c, "finals", "new")
	h.wantPayloads("finals", "new")
	testcluster.Soon(t, "nothing is pending", func() bool { return pendingIn(t, r, slot, finalsGroup) == 0 })
	if n := len(do(t, r, "XINFO", "CONSUMERS", Key(slot), finalsGroup).([]any)); n != 1 {
		t.Errorf("consumers: got %d, want one", n)
	}
	if n := c.metrics.inherited.Load(); n != 2500 {
		t.Errorf("inherited: got %d, want 2500", n)
	}
}

// What the group has given out and nobody got, because the connection broke, is read behind the head, in order, before anything
// newer.
func TestPendingBehindTheHead(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 500 * time.Millisecond}))
	h, _ := tailOf(t, c, owned, allSlots()...)
	slot := publishSurelyAs(t, c, Message{Topic: "finals", ID: "0", Payload: []byte("0")}).Slot
	h.wantPayloads("finals", "0")
	r := s.Dial(t)
	all := []string{"0"}
	for i := range 300 {
		add := func(payload string) {
			do(t, r, "XADD", Key(slot), "*", "topic", "finals", "payload", payload)
			all = append(all, payload)
		}
		add(strconv.Itoa(i))
		if i%20 != 10 {
			continue
		}
		// As if an answer to the tail's read had been lost on the way, together with its connection.
		do(t, r, "MULTI")
		do(t, r, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		add("lost " + strconv.Itoa(i))
		do(t, r, "XREADGROUP", "GROUP", finalsGroup, c.tailer.Load().boot, "COUNT", "10", "STREAMS", Key(slot), ">")
		do(t, r, "EXEC")
	}
	h.wantPayloads("finals", all...)
	testcluster.Soon(t, "nothing is pending", func() bool { return pendingIn(t, r, slot, finalsGroup) == 0 })
}

// Two processes with one shard's ID would each get a part of the entries from the group. Both get all.
func TestTwoProcessesOfOneShard(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	a, b := ready(t, start(t, Config{URL: s.URL()})), ready(t, start(t, Config{URL: s.URL()}))
	ha, _ := tailOf(t, a, owned, allSlots()...)
	hb, _ := tailOf(t, b, owned, allSlots()...)
	var want []string
	more := func() {
		want = append(want, strconv.Itoa(len(want)))
		publish(t, a, "finals", want[len(want)-1])
	}
	for range 500 {
		more()
	}
	// The second may not have come to the group before that: its tails stand earlier.
	testcluster.Soon(t, "one has noticed the other", func() bool {
		more()
		return a.metrics.contested.Load()+b.metrics.contested.Load() > 0
	})
	ha.wantPayloads("finals", want...)
	hb.wantPayloads("finals", want...)
}

// The same where the first has a hot slot, of whose group it learns in the same round trip as of its entries.
func TestSecondProcessComesToAHotSlot(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	a, b := ready(t, start(t, Config{URL: s.URL()})), ready(t, start(t, Config{URL: s.URL()}))
	slot := topic.Slot("finals")
	ha, _ := tailOf(t, a, owned, slot)
	var want []string
	more := func() {
		want = append(want, strconv.Itoa(len(want)))
		publish(t, a, "finals", want[len(want)-1])
	}
	for range 20 {
		more()
		ha.wantPayloads("finals", want...)
	}
	hb, _ := tailOf(t, b, owned, slot)
	from := len(want)
	for range 500 {
		more()
	}
	testcluster.Soon(t, "one has noticed the other", func() bool {
		more()
		return a.metrics.contested.Load()+b.metrics.contested.Load() > 0
	})
	ha.wantPayloads("finals", want...)
	hb.wantPayloads("finals", want[from:]...)
}

// A slot that changes between owned and followed goes on where it stands.
func TestOwnershipChangesUnderLoad(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	slot := topic.Slot("finals")
	h, tl := tailOf(t, c, followed, slot)
	stop := make(chan struct{})
	done := make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
				publish(t, c, "finals", strconv.Itoa(n))
			}
		}
	}()
	r := s.Dial(t)
	for range 20 {
		owned.want(tl, slot)
		testcluster.Soon(t, "the group is there", func() bool { return pendingIn(t, r, slot, finalsGroup) >= 0 })
		followed.want(tl, slot)
		testcluster.Soon(t, "the group is gone", func() bool { return pendingIn(t, r, slot, finalsGroup) < 0 })
	}
	close(stop)
	var want []string
	for i := range <-done {
		want = append(want, strconv.Itoa(i))
	}
	h.wantPayloads("finals", want...)
	if h.started(slot) != 1 {
		t.Errorf("the tail was started %d times, want once", h.started(slot))
	}
}

func TestGroupsOfDepartedShardsAreCollected(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	h := newHeard(t)
	tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Members: func() []string { return []string{"g1", "g2"} }})
	owned.want(tl, 0)
	run(t, h, tl, 1)
	r := s.Dial(t)
	for _, g := range []string{groupPrefix + "g2", groupPrefix + "gone", "somebody-elses"} {
		do(t, r, "XGROUP", "CREATE", Key(0), g, "$")
	}
	suspects := tl.collectOnce(t.Context(), map[string]bool{})
	if n := groupsOf(t, r, 0); n != 4 {
		t.Errorf("groups after the first look: got %d, want 4", n)
	}
	tl.collectOnce(t.Context(), suspects)
	if n := groupsOf(t, r, 0); n != 3 || pendingIn(t, r, 0, groupPrefix+"gone") >= 0 {
		t.Errorf("groups after the second: got %d, want 3 without that of the shard that is gone", n)
	}
}

// Quiet streams get beacons, which move the position on; of owners and followers together not many more than one a second.
func TestBeacons(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url}))
		h := newHeard(t)
		tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Beacon: 50 * time.Millisecond})
		tl.Want([]int{0, 1}, []int{2})
		run(t, h, tl, 3)
		first := map[int]position.Position{}
		h.wait("all have moved", func() bool {
			for s := range 3 {
				if first[s] == (position.Position{}) {
					first[s] = h.at[s]
				}
			}
			return first[0].ID.Less(h.at[0].ID) && first[1].ID.Less(h.at[1].ID) && first[2].ID.Less(h.at[2].ID)
		})
		testcluster.Soon(t, "the watch knows the slot", func() bool {
			st, ok := tl.Stats(0)
			return ok && st.Owned && st.Stands && !st.Last.IsZero() && st.Pending <= 1 && st.Age(tl.Now(0)/1000) < 5000
		})
		if _, ok := tl.Stats(3); ok {
			t.Error("a slot that is not tailed has stats")
		}
	})
}
