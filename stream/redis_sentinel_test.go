package stream

import (
	"strconv"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// watchers are a client whose tail owns all slots and one whose tail follows them.
type watchers struct {
	pub         *Client
	own, follow *heard
}

// startWatchers starts both, and a third client to publish with.
func startWatchers(t *testing.T, cfg Config) *watchers {
	t.Helper()
	w := &watchers{pub: ready(t, start(t, cfg))}
	w.own, _ = tailOf(t, ready(t, start(t, cfg)), owned, allSlots()...)
	w.follow, _ = tailOf(t, ready(t, start(t, cfg)), followed, allSlots()...)
	return w
}

// each calls f for both tails.
func (w *watchers) each(f func(h *heard)) {
	f(w.own)
	f(w.follow)
}

// wantPayloads waits until both have all of a topic's entries.
func (w *watchers) wantPayloads(t *testing.T, topic string, want ...string) {
	t.Helper()
	w.each(func(h *heard) { h.wantPayloads(topic, want...) })
}

// wantStanding waits until all tails stand, in the given epochs.
func (w *watchers) wantStanding(t *testing.T, epochs map[int]uint32) {
	t.Helper()
	w.each(func(h *heard) {
		h.wait("all tails stand", func() bool {
			for _, slot := range allSlots() {
				if h.lost[slot] {
					return false
				}
			}
			return true
		})
		for slot, epoch := range epochs {
			if got := h.stands(slot).Epoch; got != epoch {
				t.Errorf("slot %d: got epoch %x, want %x", slot, got, epoch)
			}
		}
	})
}

// epochs are those in which the tails stand.
func (w *watchers) epochs() map[int]uint32 {
	w.own.mu.Lock()
	defer w.own.mu.Unlock()
	es := make(map[int]uint32)
	for slot, at := range w.own.at {
		es[slot] = at.Epoch
	}
	return es
}

// becomes waits until a server has a role: master or slave. Its connections may be killed meanwhile.
func becomes(t *testing.T, s *testcluster.RedisServer, want string) {
	t.Helper()
	testcluster.Eventually(t, s.Addr+" is a "+want, func() error {
		r, err := testcluster.DialRedis(s.Addr)
		if err != nil {
			return err
		}
		defer r.Close()
		role, err := r.Do("ROLE")
		if err == nil && role.([]any)[0] != want {
			err = notYetError(role.([]any)[0].(string))
		}
		return err
	})
}

// A failover in good order, of a master that lives on as a replica: nothing is missed, and the epochs stay.
func TestFailoverWithoutLoss(t *testing.T) {
	s := testcluster.NewSentinel(t, 2)
	w := startWatchers(t, Config{URL: s.URL()})
	var want []string
	say := func(n int) {
		t.Helper()
		for range n {
			want = append(want, strconv.Itoa(len(want)))
			publishSurely(t, w.pub, "finals", want[len(want)-1])
		}
	}
	say(100)
	epochs := w.epochs()
	old, promoted := s.Failover(t)
	becomes(t, old, "slave") // until then it takes writes that are lost
	say(100)
	w.wantPayloads(t, "finals", want...)
	w.wantStanding(t, epochs)
	if n := promoted.Info(t, "role"); n != "master" {
		t.Errorf("role: got %s", n)
	}
	ready(t, w.pub)

	// And again, while messages flow that two replicas must have before they count.
	pub := startPublishing(t, w.pub, "semi", 2)
	pub.more(t, 100)
	s.Failover(t)
	s.WaitReplicas(t)
	pub.more(t, 100)
	said := pub.stop()
	if pub.unavailable+pub.ambiguous == 0 {
		t.Error("no publish failed: there was no failover")
	}
	p := publishSurelyAs(t, w.pub, Message{Topic: "semi", ID: "last", Payload: []byte("last")})
	wantSame(t, entriesOf(t, w.pub, p), append(said, "last"))
	w.each(func(h *heard) {
		h.wait("the last has come", func() bool { return h.hasLast("semi", "last") })
	})
}

// A failover that loses what tails have seen: a new epoch in those slots and in no other, and then live messages.
func TestFailoverWithALostTail(t *testing.T) {
	s := testcluster.NewSentinel(t, 2)
	w := startWatchers(t, Config{URL: s.URL()})
	p, q := publish(t, w.pub, "finals", "1"), publish(t, w.pub, "semi", "1")
	w.wantPayloads(t, "finals", "1")
	w.wantPayloads(t, "semi", "1")
	lost := ""
	s.LoseTail(t, func(master *testcluster.RedisServer) {
		lost = master.Do(t, "XADD", Key(p.Slot), "*", "topic", "finals", "payload", "lost").(string)
		w.wantPayloads(t, "finals", "1", "lost")
	})
	w.each(func(h *heard) { wantNewEpochOf(t, h, p) })
	var want []string
	for i := range 100 {
		want = append(want, strconv.Itoa(i))
		publishSurely(t, w.pub, "finals", want[i])
		publishSurely(t, w.pub, "semi", want[i])
	}
	w.wantPayloads(t, "finals", append([]string{"1", "lost"}, want...)...)
	w.wantPayloads(t, "semi", append([]string{"1"}, want...)...)
	now, err := w.pub.Edges(t.Context(), p.Slot)
	if err != nil || now.Epoch == p.Position.Epoch {
		t.Errorf("got %+v, %v, want another epoch than %x", now, err, p.Position.Epoch)
	}
	w.wantStanding(t, map[int]uint32{p.Slot: now.Epoch})
	for _, e := range entriesOf(t, w.pub, p) {
		if e == "lost" {
			t.Errorf("the entry %s is not lost: the test shows nothing", lost)
		}
	}
	_ = q
}

// wantNewEpochOf waits until a tail stands in another epoch than p's.
func wantNewEpochOf(t *testing.T, h *heard, p Published) {
	t.Helper()
	h.wait("the tail has begun a new epoch", func() bool { return h.at[p.Slot].Epoch != p.Position.Epoch && !h.lost[p.Slot] })
}

// The sentinel that the clients listen to hangs, and tells them nothing: they find the new master all the same.
func TestFailoverBehindASentinelThatHangs(t *testing.T) {
	s := testcluster.NewSentinel(t, 1)
	w := startWatchers(t, Config{URL: s.URL(), OpTimeout: 500 * time.Millisecond})
	publishSurely(t, w.pub, "finals", "1")
	s.WaitReplicas(t)
	if err := s.Sentinels[0].Pause(); err != nil {
		t.Fatal(err)
	}
	epochs := w.epochs()
	testcluster.Soon(t, "a failover begins", func() bool {
		_, err := s.Sentinels[1].Dial(t).Do("SENTINEL", "FAILOVER", "mymaster")
		return err == nil
	})
	becomes(t, s.Servers[1], "master")
	becomes(t, s.Servers[0], "slave")
	publishSurely(t, w.pub, "finals", "2")
	w.wantPayloads(t, "finals", "1", "2")
	w.wantStanding(t, epochs)
	ready(t, w.pub)
	// One that comes now asks the next sentinel.
	publishSurely(t, ready(t, start(t, Config{URL: s.URL(), OpTimeout: 500 * time.Millisecond})), "finals", "3")
	w.wantPayloads(t, "finals", "1", "2", "3")
}

// A master that is made a replica under a connection that stays refuses writes, and is gone from again when it is a master.
func TestDemotedAndPromoted(t *testing.T) {
	s, other := testcluster.NewRedis(t, false), testcluster.NewRedis(t, false)
	w := startWatchers(t, Config{URL: s.URL()})
	publish(t, w.pub, "finals", "1")
	epochs := w.epochs()
	other.Do(t, "REPLICAOF", "127.0.0.1", s.Addr[len("127.0.0.1:"):])
	s.WaitReplicas(t, other)
	other.Do(t, "REPLICAOF", "NO", "ONE")
	s.Do(t, "REPLICAOF", "127.0.0.1", other.Addr[len("127.0.0.1:"):])
	if _, err := w.pub.Publish(t.Context(), Message{Topic: "finals"}); !isUnavailable(err) {
		t.Errorf("publish to a replica: got %v, want ErrUnavailable", err)
	}
	testcluster.Soon(t, "the client is not ready", func() bool { return w.pub.Ready() != nil })
	testcluster.Soon(t, "the replica has all", func() bool { return s.Info(t, "master_link_status") == "up" })
	s.Do(t, "REPLICAOF", "NO", "ONE")
	ready(t, w.pub)
	testcluster.Soon(t, "its data has another history, and that is noticed", func() bool { return w.pub.metrics.serverChanges.Load() > 0 })
	publishSurely(t, w.pub, "finals", "2")
	w.wantPayloads(t, "finals", "1", "2")
	w.wantStanding(t, epochs)
}
