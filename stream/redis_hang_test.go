package stream

import (
	"strconv"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// entriesOf are the payloads of a topic in its stream, as Redis has them.
func entriesOf(t *testing.T, c *Client, p Published) (payloads []string) {
	t.Helper()
	testcluster.Eventually(t, "the stream is read", func() error { // c may be one that waits for little
		page, err := c.Range(t.Context(), p.Slot, position.ID{}, 100_000)
		for _, e := range page.Entries {
			if e.Topic == p.Topic {
				payloads = append(payloads, string(e.Payload))
			}
		}
		return err
	})
	return payloads
}

// Reads through a group need the wake stream, which must not expire under a tail that nothing disturbs.
func TestQuietTailOutlivesItsWakeStream(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	h := newHeard(t)
	tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Beacon: 50 * time.Millisecond})
	tl.wakeExpiry = time.Second
	owned.want(tl, 0)
	run(t, h, tl, 1)
	testcluster.Soon(t, "the time of the wake stream has passed three times", func() bool { return c.metrics.entries.Load() >= 60 })
	if n := c.metrics.tailErrors.Load(); n != 0 || h.started(0) != 1 {
		t.Errorf("got %d errors and %d starts, want one start", n, h.started(0))
	}
}

// What was acknowledged before a kill -9 is there afterwards, and tails go on in the same epoch without a hole.
func TestKilledRedisWithAOF(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedisWith(t, testcluster.RedisOptions{Fsync: "always"}) // everysec answers before it writes while the disk is busy
		c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 500 * time.Millisecond}))
		h, _ := tailOf(t, c, k, allSlots()...)
		p := publishSurelyAs(t, c, Message{Topic: "finals", ID: "before", Payload: []byte("before")})
		pub := startPublishing(t, c, "finals", 0)
		for range 3 {
			pub.more(t, 100)
			s.Kill()
			s.Revive(t)
		}
		pub.more(t, 100)
		want := append([]string{"before"}, pub.stop()...)
		h.wantPayloads("finals", want...)
		wantSame(t, entriesOf(t, c, p), want)
		if h.stands(p.Slot).Epoch != p.Position.Epoch || c.metrics.epochs.Load() != 0 {
			t.Errorf("got epoch %x and %d new ones, want %x", h.stands(p.Slot).Epoch, c.metrics.epochs.Load(), p.Position.Epoch)
		}
		if c.metrics.duplicates.Load() != 0 {
			t.Error("something was written twice")
		}
	})
}

// A Redis that stands still for longer than any time-out: no publish is lost or written twice, and no read waits for ever.
func TestStoppedRedis(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		t.Parallel()
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 300 * time.Millisecond}))
		h, _ := tailOf(t, c, k, allSlots()...)
		p := publishSurelyAs(t, c, Message{Topic: "finals", ID: "0", Payload: []byte("0")})
		h.wantPayloads("finals", "0")
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		m := Message{Topic: "finals", ID: "goal", Payload: []byte("1")}
		if _, err := c.Publish(t.Context(), m); !isAmbiguous(err) {
			t.Errorf("publish: got %v, want ErrAmbiguous", err)
		}
		h.wait("all tails say that they are lost", func() bool {
			for _, slot := range allSlots() {
				if !h.lost[slot] {
					return false
				}
			}
			return true
		})
		if err := c.Ready(); err == nil {
			t.Error("the client is ready")
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		ready(t, c)
		publishSurelyAs(t, c, m)
		publishSurely(t, c, "finals", "2")
		h.wantPayloads("finals", "0", "1", "2")
		wantSame(t, entriesOf(t, c, p), []string{"0", "1", "2"})
		if h.stands(p.Slot).Epoch != p.Position.Epoch {
			t.Error("a new epoch has begun, and nothing was lost")
		}
	})
}

// A Redis that takes long, but less than the time-outs, is waited for.
func TestSlowRedis(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 20 * time.Second}))
	h, _ := tailOf(t, c, owned, allSlots()...)
	r := s.Dial(t)
	var want []string
	for i := range 10 {
		do(t, r, "CLIENT", "PAUSE", "200", "ALL")
		want = append(want, strconv.Itoa(i))
		publish(t, c, "finals", want[i])
	}
	h.wantPayloads("finals", want...)
	if n := c.metrics.tailErrors.Load(); n != 0 {
		t.Errorf("tails were lost %d times", n)
	}
}
