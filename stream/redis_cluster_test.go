package stream

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

// topicsOfGroups are a topic for each group of slots.
func topicsOfGroups() []string {
	topics := make([]string, topic.Slots/groupSize)
	for i, n := 0, 0; n < len(topics); i++ {
		name := "topic " + strconv.Itoa(i)
		if g := topic.Slot(name) / groupSize; topics[g] == "" {
			topics[g], n = name, n+1
		}
	}
	return topics
}

// mastersOf are the servers that have the groups of slots.
func mastersOf(t *testing.T, rc *testcluster.RedisCluster) []*testcluster.RedisServer {
	t.Helper()
	servers := make([]*testcluster.RedisServer, topic.Slots/groupSize)
	for g := range servers {
		servers[g] = rc.Owner(t, rc.Slot(t, Key(g*groupSize)))
	}
	return servers
}

func TestClusterReadsAndWrites(t *testing.T) {
	rc := testcluster.NewRedisCluster(t)
	w := startWatchers(t, Config{URL: rc.URL()})
	topics := topicsOfGroups()
	var want []string
	for i := range 20 {
		want = append(want, strconv.Itoa(i))
		for _, name := range topics {
			publishSurelyAs(t, w.pub, Message{Topic: name, ID: want[i], Payload: []byte(want[i]), Replicas: i % 2})
		}
	}
	for _, name := range topics {
		w.wantPayloads(t, name, want...)
		p := publish(t, w.pub, name, "last")
		wantSame(t, entriesOf(t, w.pub, p), append(slices.Clone(want), "last"))
	}
	masters := mastersOf(t, rc)
	if n := len(slices.Compact(slices.SortedFunc(slices.Values(masters), func(a, b *testcluster.RedisServer) int { return strings.Compare(a.Addr, b.Addr) }))); n != 3 {
		t.Errorf("the groups lie on %d servers, want 3", n)
	}
	// Each tailer has one blocked read for each group.
	for _, s := range rc.Servers[:3] {
		groups := 0
		for _, m := range masters {
			if m == s {
				groups++
			}
		}
		testcluster.Soon(t, "a read for each group and tailer is blocked", func() bool {
			return s.Info(t, "blocked_clients") == strconv.Itoa(2*groups)
		})
	}
	if _, err := New(Config{URL: rc.URL() + "/0"}, nil); err != nil {
		t.Error(err)
	}
	t.Run("by a URL of one server", func(t *testing.T) {
		for _, s := range rc.Servers {
			notReady(t, start(t, Config{URL: s.URL()}), "redis-cluster://")
		}
	})
	t.Run("by a URL that names one node", func(t *testing.T) {
		publish(t, ready(t, start(t, Config{URL: "redis-cluster://" + rc.Servers[5].Addr})), "finals", "1")
	})
}

// A hash slot is moved with all that is in it while messages flow to its topics: nothing is lost or doubled, and the epoch stays.
func TestClusterSlotMoves(t *testing.T) {
	rc := testcluster.NewRedisCluster(t)
	w := startWatchers(t, Config{URL: rc.URL()})
	topics := topicsOfGroups()
	moved, other := topics[3], topics[4]
	publish(t, w.pub, moved, "first")
	publish(t, w.pub, other, "first")
	epochs := w.epochs()
	a, b := startPublishing(t, w.pub, moved, 0), startPublishing(t, w.pub, other, 0)
	hash := rc.Slot(t, Key(3*groupSize))
	for range 2 {
		to := rc.Other(t, rc.Owner(t, hash))
		a.more(t, 20)
		rc.BeginMove(t, hash, to)
		b.more(t, 20)
		rc.MoveKeys(t, hash, to)
		b.more(t, 20)
		rc.MoveKeys(t, hash, to)
		rc.EndMove(t, hash, to)
	}
	a.more(t, 20)
	b.more(t, 20)
	for name, p := range map[string]*publishing{moved: a, other: b} {
		want := append([]string{"first"}, p.stop()...)
		w.wantPayloads(t, name, want...)
		wantSame(t, entriesOf(t, w.pub, Published{Topic: name, Slot: topic.Slot(name)}), want)
	}
	w.wantStanding(t, epochs)
	if b.unavailable+b.ambiguous != 0 {
		t.Errorf("a topic whose slot stays: %d publishes unavailable, %d ambiguous, want none", b.unavailable, b.ambiguous)
	}
	if a.ambiguous != 0 {
		t.Errorf("a topic whose slot is moved: %d publishes were ambiguous, want none", a.ambiguous)
	}
	t.Logf("publishes that were refused while the slot was moved: %d", a.unavailable)
}

// A master falls, and its replica takes over what it has been given: nothing is missed, and the others are not disturbed.
func TestClusterMasterFalls(t *testing.T) {
	rc := testcluster.NewRedisCluster(t)
	w := startWatchers(t, Config{URL: rc.URL(), OpTimeout: time.Second})
	topics, masters := topicsOfGroups(), mastersOf(t, rc)
	const g = 3
	falls := masters[g]
	up := slices.IndexFunc(masters, func(s *testcluster.RedisServer) bool { return s != falls })
	for _, name := range []string{topics[g], topics[up]} {
		publishSurelyAs(t, w.pub, Message{Topic: name, ID: "first", Payload: []byte("first"), Replicas: 1})
	}
	epochs := w.epochs()
	away, there := startPublishing(t, w.pub, topics[g], 1), startPublishing(t, w.pub, topics[up], 1)
	away.more(t, 20)
	said := make(chan string, 1)
	go func() {
		for t.Context().Err() == nil {
			if err := w.pub.Ready(); err != nil {
				said <- err.Error()
				return
			}
			<-time.After(time.Millisecond)
		}
	}()
	rc.KillMaster(t, falls)
	there.more(t, 20)
	falls.Revive(t) // as the replica that the publishes wait for
	away.more(t, 20)
	var which []string
	for i, s := range masters {
		if s == falls {
			which = append(which, strconv.Itoa(i*groupSize)+"–"+strconv.Itoa((i+1)*groupSize-1))
		}
	}
	if got := <-said; !strings.Contains(got, "slots "+strings.Join(which, ", ")+": ") {
		t.Errorf("Ready: got %s, want the slots %v", got, which)
	}
	ready(t, w.pub)
	for name, p := range map[string]*publishing{topics[g]: away, topics[up]: there} {
		want := append([]string{"first"}, p.stop()...)
		wantSame(t, entriesOf(t, w.pub, Published{Topic: name, Slot: topic.Slot(name)}), want)
		publishSurelyAs(t, w.pub, Message{Topic: name, ID: "last", Payload: []byte("last")})
		w.each(func(h *heard) { h.wait("the last has come", func() bool { return h.hasLast(name, "last") }) })
	}
	for slot := range epochs {
		if slot == topic.Slot(topics[g]) { // its last publishes may have reached a tail, and no replica
			delete(epochs, slot)
		}
	}
	w.wantStanding(t, epochs)
	if n := w.pub.metrics.reconnects.Load(); n != 0 {
		t.Errorf("the link was made anew %d times, and other slots were reached all the time", n)
	}
}

// A master falls with entries that no replica has: a new epoch for the slots that lost some, and for no other.
func TestClusterLostTail(t *testing.T) {
	rc := testcluster.NewRedisCluster(t)
	w := startWatchers(t, Config{URL: rc.URL(), OpTimeout: time.Second})
	topics, masters := topicsOfGroups(), mastersOf(t, rc)
	const g = 3
	falls := masters[g]
	for _, name := range topics {
		publishSurelyAs(t, w.pub, Message{Topic: name, ID: "1", Payload: []byte("1"), Replicas: 1})
		w.wantPayloads(t, name, "1")
	}
	epochs := w.epochs()
	falls.CutReplicas(t)
	p := publishSurelyAs(t, w.pub, Message{Topic: topics[g], ID: "lost", Payload: []byte("lost")})
	w.wantPayloads(t, topics[g], "1", "lost")
	rc.KillMaster(t, falls)
	w.each(func(h *heard) { wantNewEpochOf(t, h, p) })
	delete(epochs, p.Slot)
	w.wantStanding(t, epochs)
	for _, name := range topics {
		publishSurely(t, w.pub, name, "live")
		want := []string{"1", "live"}
		wantSame(t, entriesOf(t, w.pub, Published{Topic: name, Slot: topic.Slot(name)}), want)
		if name == topics[g] {
			want = []string{"1", "lost", "live"}
		}
		w.wantPayloads(t, name, want...)
	}
	now, err := w.pub.Edges(t.Context(), p.Slot)
	if err != nil {
		t.Fatal(err)
	}
	w.wantStanding(t, map[int]uint32{p.Slot: now.Epoch})
}
