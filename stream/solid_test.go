package stream

import (
	"strconv"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

// Beacons that a failover loses are no loss: the epoch stays, and what is added then is above what was seen, though the new
// master's IDs go on below. A message in the place of one is a loss.
func TestLostBeacons(t *testing.T) {
	// As a failover does it: the stream goes on behind its last message, without the beacons behind that.
	const lose = `
		local all = redis.call('XRANGE', KEYS[1], '-', '+')
		redis.call('DEL', KEYS[1])
		local last = #all
		while all[last][2][1] == 'beacon' do last = last - 1 end
		for i = 1, last do redis.call('XADD', KEYS[1], all[i][1], unpack(all[i][2])) end
		redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0')
		return #all - last`
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		slot, r := topic.Slot("finals"), s.Dial(t)
		publish(t, c, "finals", "0")
		far := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10) // a clock that is ahead of what comes after it
		do(t, r, "XADD", Key(slot), far+"-0", "topic", "finals", "payload", "ahead")
		h := newHeard(t)
		tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Beacon: 50 * time.Millisecond})
		k.want(tl, slot)
		run(t, h, tl, 1)
		message, err := position.ParseID(far + "-0") // the last one that is no beacon
		if err != nil {
			t.Fatal(err)
		}
		want := []string{}
		for i := range 5 {
			starts := 0
			h.wait("there are beacons behind the last message", func() bool { starts = h.starts[slot]; return message.Next().Less(h.at[slot].ID) })
			epoch := h.stands(slot).Epoch
			if n := do(t, r, "EVAL", lose, "1", Key(slot), finalsGroup); n == int64(0) {
				t.Fatal("there were no beacons to lose")
			}
			h.wait("the tail has begun again", func() bool { return h.starts[slot] > starts && !h.lost[slot] })
			want = append(want, strconv.Itoa(i))
			message = publish(t, c, "finals", want[i]).Position.ID
			h.wantPayloads("finals", want...)
			if got := h.stands(slot).Epoch; got != epoch || c.metrics.epochs.Load() != 0 {
				t.Fatalf("got epoch %x, want %x: only beacons were lost", got, epoch)
			}
		}
		starts, epoch := h.started(slot), h.stands(slot).Epoch
		h.wait("there are beacons", func() bool { return message.Next().Less(h.at[slot].ID) }) // so that the next entry is below the last
		do(t, r, "EVAL", lose, "1", Key(slot), finalsGroup)
		do(t, r, "XADD", Key(slot), "*", "topic", "finals", "payload", "unseen")
		h.wait("the tail has begun again", func() bool { return h.starts[slot] > starts && !h.lost[slot] })
		if got := h.stands(slot).Epoch; got == epoch {
			t.Error("the epoch is the same, and an entry below the tail's position was never seen")
		}
	})
}

// Where beacons were deleted from a stream that remembers their IDs, the next one comes without anybody's publish.
func TestDeletedBeacons(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		p := publish(t, c, "finals", "0")
		h := newHeard(t)
		tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Beacon: 50 * time.Millisecond})
		k.want(tl, p.Slot)
		run(t, h, tl, 1)
		r := s.Dial(t)
		for range 3 {
			h.wait("there is a beacon", func() bool { return p.Position.ID.Next().Less(h.at[p.Slot].ID) })
			do(t, r, "EVAL", `
				for _, e in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+')) do redis.call('XDEL', KEYS[1], e[1]) end`,
				"1", Key(p.Slot), p.Position.ID.Next().String())
			at := h.stands(p.Slot)
			h.wait("the watermark goes on", func() bool { return !h.lost[p.Slot] && at.ID.Less(h.at[p.Slot].ID) })
		}
		if got := h.stands(p.Slot).Epoch; got != p.Position.Epoch {
			t.Errorf("got epoch %x, want %x: only beacons were lost", got, p.Position.Epoch)
		}
	})
}

// A tail that begins at a beacon knows the message before it, without having read it.
func TestTailThatBeginsAtABeacon(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	p := publish(t, c, "finals", "0")
	first, tl := tailOf(t, c, owned, p.Slot)
	first.wait("there is a beacon", func() bool { return p.Position.ID.Less(first.at[p.Slot].ID) })
	h := newHeard(t)
	second := c.NewTailer(TailConfig{Sink: h, Shard: "g2", Beacon: time.Hour})
	second.Want([]int{p.Slot}, nil)
	run(t, h, second, 1)
	tl.Want(nil, nil)
	r := s.Dial(t)
	drop := func(last string) {
		t.Helper()
		starts := h.started(p.Slot)
		do(t, r, "EVAL", `
			for _, e in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+')) do redis.call('XDEL', KEYS[1], e[1]) end`, "1", Key(p.Slot), last)
		second.interruptAll()
		h.wait("the tail has begun again", func() bool { return h.starts[p.Slot] > starts && !h.lost[p.Slot] })
	}
	drop(p.Position.ID.Next().String())
	if got := h.stands(p.Slot).Epoch; got != p.Position.Epoch {
		t.Errorf("got epoch %x without a loss, want %x", got, p.Position.Epoch)
	}
	drop(p.Position.ID.String())
	if got := h.stands(p.Slot).Epoch; got == p.Position.Epoch {
		t.Error("the epoch is the same, and the message before the beacon is lost")
	}
}
