package stream

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

// wantNewEpoch waits until the tail stands in another epoch than p's, and sees that what is published then comes.
func wantNewEpoch(t *testing.T, c *Client, h *heard, p Published, entries ...string) {
	t.Helper()
	h.wait("the tail has begun a new epoch", func() bool { return h.at[p.Slot].Epoch != p.Position.Epoch && !h.lost[p.Slot] })
	publishSurely(t, c, p.Topic, "live")
	h.wantPayloads(p.Topic, append(entries, "live")...)
}

// Nobody's connection breaks when Redis is emptied, and a plain read that is blocked notices nothing.
func TestFlushIsNoticedByItself(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		h, _ := tailOf(t, c, k, allSlots()...)
		p := publish(t, c, "finals", "1")
		h.wantPayloads("finals", "1")
		do(t, s.Dial(t), "FLUSHALL")
		wantNewEpoch(t, c, h, p, "1")
	})
}

// The first message after Redis was emptied begins the epoch, and is not passed over.
func TestNothingOfTheNewEpochIsMissed(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		h, _ := tailOf(t, c, k, allSlots()...)
		p := publish(t, c, "finals", "1")
		h.wantPayloads("finals", "1")
		r := s.Dial(t)
		do(t, r, "FLUSHALL")
		do(t, r, "EVAL", "for i = 1, 1000000 do end", "0") // so that the new IDs are of a later millisecond than the old
		want := []string{"1"}
		for i := range 200 {
			want = append(want, "new "+strconv.Itoa(i))
			publish(t, c, "finals", want[len(want)-1])
		}
		h.wantPayloads("finals", want...)
		if h.stands(p.Slot).Epoch == p.Position.Epoch {
			t.Error("the epoch is the same")
		}
	})
}

// What was written without us to a Redis that had just been emptied must not pass for a message of the old life.
func TestPlainWritesAfterAFlush(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		h := newHeard(t)
		tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Beacon: time.Hour})
		k.want(tl, allSlots()...)
		run(t, h, tl, topic.Slots)
		p := publish(t, c, "finals", "1")
		h.wantPayloads("finals", "1")
		r := s.Dial(t)
		for _, cmd := range [][]string{{"MULTI"}, {"FLUSHALL"}, {"XADD", Key(p.Slot), "*", "topic", "finals", "payload", "plain"}, {"EXEC"}} {
			do(t, r, cmd...)
		}
		wantNewEpoch(t, c, h, p, "1")
	})
}

// A master whose clock is behind hands out smaller IDs than were seen: a read behind those finds nothing, for ever, and no error.
func TestSmallerIDsAreNoticed(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		slot := publish(t, c, "finals", "0").Slot
		r := s.Dial(t)
		far := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)
		do(t, r, "XADD", Key(slot), far+"-0", "topic", "finals", "payload", "1") // as by a clock that is ahead
		h, _ := tailOf(t, c, k, slot)
		p := publish(t, c, "finals", "2")
		if p.Position.ID.Ms < uint64(time.Now().Add(30*time.Minute).UnixMilli()) {
			t.Fatalf("the ID %v is not ahead", p.Position.ID)
		}
		h.wantPayloads("finals", "2")
		// The promoted replica has neither, and the right time.
		do(t, r, "EVAL", `
			local id = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
			redis.call('DEL', KEYS[1])
			redis.call('XADD', KEYS[1], id, 'epoch', '0')
			redis.call('XADD', KEYS[1], '*', 'topic', 'finals', 'payload', 'below')`, "1", Key(slot))
		h.wait("the tail has begun a new epoch", func() bool { return h.at[slot].Epoch != p.Position.Epoch && !h.lost[slot] })
		q := publish(t, c, "finals", "live")
		if !q.Position.ID.Less(p.Position.ID) {
			t.Fatalf("the new ID %v is not below the old %v", q.Position.ID, p.Position.ID)
		}
		h.wait("the live message has come", func() bool {
			es := h.entries["finals"]
			return len(es) > 0 && es[len(es)-1] == "live"
		})
	})
}

// After an interruption the last entry has to stand there with the content that it had.
func TestSameIDOfOtherContent(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		slot := publish(t, c, "finals", "0").Slot
		h := newHeard(t)
		tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Beacon: time.Hour})
		k.want(tl, slot)
		run(t, h, tl, 1)
		p := publish(t, c, "finals", "1")
		h.wantPayloads("finals", "1")
		r := s.Dial(t)
		// Nothing has changed: it goes on.
		tl.interruptAll()
		h.wait("the tail is back", func() bool { return h.starts[slot] >= 2 && !h.lost[slot] })
		if got := h.stands(slot).Epoch; got != p.Position.Epoch {
			t.Fatalf("epoch %x without a loss, want %x", got, p.Position.Epoch)
		}
		do(t, r, "EVAL", `
			local all = redis.call('XRANGE', KEYS[1], '-', '+')
			redis.call('DEL', KEYS[1])
			for i, e in ipairs(all) do
				redis.call('XADD', KEYS[1], e[1], 'topic', 'finals', 'payload', 'other')
			end
			redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$')`, "1", Key(slot), finalsGroup)
		tl.interruptAll()
		h.wait("the tail has begun a new epoch", func() bool { return h.at[slot].Epoch != p.Position.Epoch && !h.lost[slot] })
	})
}

// An old snapshot has an old epoch: what was valid then is not valid again.
func TestRestoredSnapshot(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		first := publish(t, c, "finals", "0")
		slot := first.Slot
		r := s.Dial(t)
		dump := func(key string) string { return do(t, r, "DUMP", key).(string) }
		oldStream, oldEpoch := dump(Key(slot)), dump(epochKey(slot))
		do(t, r, "FLUSHALL")
		p := publish(t, c, "finals", "1")
		h, tl := tailOf(t, c, k, slot)
		do(t, r, "DEL", Key(slot), epochKey(slot))
		do(t, r, "RESTORE", Key(slot), "0", oldStream)
		do(t, r, "RESTORE", epochKey(slot), "0", oldEpoch)
		tl.interruptAll()
		h.wait("the tail has begun a new epoch", func() bool {
			e := h.at[slot].Epoch
			return e != p.Position.Epoch && !h.lost[slot]
		})
		if e := h.stands(slot).Epoch; e == first.Position.Epoch {
			t.Error("the epoch of the snapshot is valid again")
		}
		publishSurely(t, c, "finals", "live")
		h.wait("the live message has come", func() bool {
			es := h.entries["finals"]
			return len(es) > 0 && es[len(es)-1] == "live"
		})
	})
}

// Two gateways that notice one loss agree on one epoch.
func TestOneLossIsOneEpoch(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	a, b := ready(t, start(t, Config{URL: s.URL()})), ready(t, start(t, Config{URL: s.URL()}))
	publish(t, a, "finals", "0")
	p := publish(t, a, "finals", "1")
	ha, ta := tailOf(t, a, owned, p.Slot)
	hb, tb := tailOf(t, b, followed, p.Slot)
	do(t, s.Dial(t), "XDEL", Key(p.Slot), p.Position.ID.String())
	ta.interruptAll()
	tb.interruptAll()
	for _, h := range []*heard{ha, hb} {
		h.wait("the tail has begun a new epoch", func() bool { return h.at[p.Slot].Epoch != p.Position.Epoch && !h.lost[p.Slot] })
	}
	publishSurely(t, a, "finals", "live")
	ha.wantPayloads("finals", "live")
	hb.wantPayloads("finals", "live")
	if ha.stands(p.Slot).Epoch != hb.stands(p.Slot).Epoch {
		t.Errorf("epochs: got %x and %x, want the same", ha.stands(p.Slot).Epoch, hb.stands(p.Slot).Epoch)
	}
	if n := a.metrics.epochs.Load() + b.metrics.epochs.Load(); n != 2 {
		t.Errorf("epochs entered: got %d, want one by each", n)
	}
}

// What was trimmed while the tail was away shows as a jump within the epoch.
func TestTrimmedWhileAway(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	slot := publish(t, c, "finals", "0").Slot
	h, tl := tailOf(t, c, followed, slot)
	r := s.Dial(t)
	do(t, r, "EVAL", `
		for i = 1, 1000 do redis.call('XADD', KEYS[1], '*', 'topic', 'finals', 'payload', 'x') end
		redis.call('XTRIM', KEYS[1], 'MAXLEN', 10)
		redis.call('XADD', KEYS[1], '*', 'topic', 'finals', 'payload', 'last')`, "1", Key(slot))
	tl.interruptAll()
	h.wait("the last has come", func() bool {
		es := h.entries["finals"]
		return len(es) > 0 && es[len(es)-1] == "last"
	})
	e, err := c.Edges(t.Context(), slot)
	if err != nil || h.stands(slot).Epoch != e.Epoch || c.metrics.epochs.Load() != 0 {
		t.Errorf("got %v, %v, want no new epoch", h.stands(slot), err)
	}
}

// meddler does something as soon as the first tail has been placed, before that is read.
type meddler struct {
	*heard
	once sync.Once
	do   func()
}

func (m *meddler) TailStarted(slot int, at position.Position, begin position.ID) {
	m.once.Do(m.do)
	m.heard.TailStarted(slot, at, begin)
}

// What is lost, together with the connections, between the placing of a tail and its first read is found out as well.
func TestLossJustAfterTheStart(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		p := publish(t, c, "finals", "seen")
		other := s.Dial(t)
		h := newHeard(t)
		tl := c.NewTailer(TailConfig{Shard: "g1", Sink: &meddler{heard: h, do: func() {
			for _, cmd := range [][]string{
				{"MULTI"}, {"XDEL", Key(p.Slot), p.Position.ID.String()}, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"},
				{"XADD", Key(p.Slot), "*", "topic", "finals", "payload", "lost from sight"}, {"EXEC"},
			} {
				if _, err := other.Do(cmd...); err != nil {
					t.Errorf("%v: %v", cmd, err)
				}
			}
		}}})
		k.want(tl, p.Slot)
		_ = run(t, h, tl, 1)
		wantNewEpoch(t, c, h, p)
	})
}

// A tail that is new to a stream has nothing to compare it with; but where that ends before its epoch's mark, that is lost.
func TestLostMark(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		p := publish(t, c, "finals", "seen")
		do(t, s.Dial(t), "EVAL", `
			local mark = redis.call('XADD', KEYS[1], '*', 'epoch', '7')
			redis.call('SET', KEYS[2], '7 ' .. mark)
			redis.call('XDEL', KEYS[1], mark)`, "2", Key(p.Slot), epochKey(p.Slot))
		h, _ := tailOf(t, c, k, p.Slot)
		at := h.stands(p.Slot)
		if at.Epoch == 7 || at.Epoch == p.Position.Epoch || !p.Position.ID.Less(at.ID) {
			t.Errorf("got %v, want the mark of a new epoch", at)
		}
		publishSurely(t, c, "finals", "live")
		h.wantPayloads("finals", "live")
	})
}

// Who repeats an id around the publish script is not heard twice, live or in a page, whoever reads.
func TestRepetitionsAroundTheScript(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c, other := ready(t, start(t, Config{URL: url})), ready(t, start(t, Config{URL: url}))
		slot := publish(t, c, "finals", "0").Slot
		h, _ := tailOf(t, c, owned, slot)
		follower, _ := tailOf(t, other, followed, slot)
		add := func(id, payload string) {
			t.Helper()
			r := linkOf(t, c)
			cmd := r.B().Arbitrary("XADD").Keys(Key(slot)).Args("*", "id", id, "topic", "finals", "payload", payload).Build()
			if err := r.Do(t.Context(), cmd).Error(); err != nil {
				t.Fatal(err)
			}
		}
		add("a", "a1")
		add("a", "a2")
		if _, err := c.Publish(t.Context(), Message{Topic: "finals", ID: "b", Payload: []byte("b1")}); err != nil {
			t.Fatal(err)
		}
		add("b", "b2")
		add("c", "c1")
		add("", "d1")
		add("", "d2")
		want := []string{"a1", "b1", "c1", "d1", "d2"}
		h.wantPayloads("finals", want...)
		follower.wantPayloads("finals", want...)
		page, err := c.Range(t.Context(), slot, position.ID{}, 100)
		var got []string
		for _, e := range page.Entries {
			if e.Topic != "" {
				got = append(got, string(e.Payload))
			}
		}
		if err != nil || len(got) != 6 || got[1] != "a1" || got[2] != "b1" {
			t.Errorf("page: got %v, %v, want 0 and %v", got, err, want)
		}
		if n := c.metrics.duplicates.Load(); n != 2 {
			t.Errorf("duplicates: got %d, want 2, each counted once", n)
		}
		// After it was added around the script, the script knows it.
		if p, err := c.Publish(t.Context(), Message{Topic: "finals", ID: "c", Payload: []byte("c2")}); err != nil || !p.Duplicate {
			t.Errorf("got %+v, %v, want a duplicate", p, err)
		}
	})
}

// The same where nobody has read the first of them when the second comes: then it is the second that counts, for whoever reads both.
func TestRepetitionsOfWhatNobodyHasRead(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c, other := ready(t, start(t, Config{URL: url})), ready(t, start(t, Config{URL: url}))
		slot := publish(t, c, "finals", "0").Slot
		add := func(id, payload string) {
			t.Helper()
			r := linkOf(t, c)
			cmd := r.B().Arbitrary("XADD").Keys(Key(slot)).Args("*", "id", id, "topic", "finals", "payload", payload).Build()
			if err := r.Do(t.Context(), cmd).Error(); err != nil {
				t.Fatal(err)
			}
		}
		add("a", "a1")
		add("b", "b1")
		h, _ := tailOf(t, c, owned, slot) // it begins here
		add("a", "a2")
		if _, err := c.Publish(t.Context(), Message{Topic: "finals", ID: "b", Payload: []byte("b2")}); err != nil {
			t.Fatal(err)
		}
		h.wantPayloads("finals", "a2", "b2")
		page, err := other.Range(t.Context(), slot, position.ID{}, 100)
		var got []string
		for _, e := range page.Entries {
			if e.Topic != "" {
				got = append(got, string(e.Payload))
			}
		}
		if err != nil || strings.Join(got, " ") != "0 a2 b2" {
			t.Errorf("page: got %v, %v, want 0, a2 and b2", got, err)
		}
	})
}
