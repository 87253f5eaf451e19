package stream

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

func TestTail(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		both(t, func(t *testing.T, url string) {
			c := ready(t, start(t, Config{URL: url}))
			before := publish(t, c, "finals", "before")
			h, _ := tailOf(t, c, k, allSlots()...)
			if at := h.stands(before.Slot); at != before.Position {
				t.Errorf("the tail started at %v, want %v", at, before.Position)
			}
			var wg sync.WaitGroup
			var want []string
			for i := range 200 {
				want = append(want, strconv.Itoa(i))
			}
			for _, name := range []string{"finals", "semi", "third"} {
				wg.Go(func() {
					for _, p := range want {
						publish(t, c, name, p)
					}
				})
			}
			wg.Wait()
			for _, name := range []string{"finals", "semi", "third"} {
				h.wantPayloads(name, want...)
			}
		})
	})
}

// A slot that is added while the reads are blocked begins without waiting for them to end, which would take seconds each.
func TestWantWakesABlockedRead(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		both(t, func(t *testing.T, url string) {
			c := ready(t, start(t, Config{URL: url}))
			h, tl := tailOf(t, c, k, 0)
			began := time.Now()
			const n = 20
			for i := 1; i <= n; i++ {
				slots := allSlots()[:i+1]
				k.want(tl, slots...)
				h.wait("the added slot has started", func() bool { return h.starts[i] == 1 })
			}
			if took := time.Since(began); took > n*blockFor/2 {
				t.Errorf("%d slots one after the other took %v: the reads were waited for", n, took)
			}
			// One that goes and comes again begins anew.
			k.want(tl, 0)
			k.want(tl, 0, 1)
			h.wait("the slot has started again", func() bool { return h.starts[1] == 2 })
			if h.started(0) != 1 {
				t.Errorf("the other slot was started %d times", h.started(0))
			}
		})
	})
}

func TestTailGoesOnAfterARestart(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, true)
		c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 500 * time.Millisecond}))
		h, _ := tailOf(t, c, k, allSlots()...)
		slot := topic.Slot("finals")
		publishSurely(t, c, "finals", "1")
		h.wantPayloads("finals", "1")
		s.Kill()
		h.wait("the tail is lost", func() bool { return h.lost[slot] })
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		// What is written before the tail is back is not missed.
		r := s.Dial(t)
		if _, err := r.Do("XADD", Key(slot), "*", "id", "", "topic", "finals", "payload", "2"); err != nil {
			t.Fatal(err)
		}
		h.wait("the tail is back", func() bool { return !h.lost[slot] })
		if _, err := r.Do("XADD", Key(slot), "*", "topic", "finals", "payload", "3"); err != nil {
			t.Fatal(err)
		}
		h.wantPayloads("finals", "1", "2", "3")
		if n := c.metrics.epochs.Load(); n != 0 {
			t.Errorf("epochs: got %d, want none: nothing was lost", n)
		}
	})
}

func TestTailOutlivesItsConnection(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		h, _ := tailOf(t, c, k, allSlots()...)
		r := s.Dial(t)
		var want []string
		for i := range 20 {
			if _, err := r.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); err != nil {
				t.Fatal(err)
			}
			want = append(want, strconv.Itoa(i))
			if _, err := r.Do("XADD", Key(topic.Slot("finals")), "*", "topic", "finals", "payload", want[i]); err != nil {
				t.Fatal(err)
			}
		}
		h.wantPayloads("finals", want...)
	})
}

func TestStoppedRedisIsNotWaitedForForEver(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 200 * time.Millisecond}))
		h, _ := tailOf(t, c, k, 0)
		pause(t, s)
		h.wait("the tail says that it is lost", func() bool { return h.lost[0] })
		resume(t, s)
		h.wait("the tail is back", func() bool { return !h.lost[0] })
	})
}

func TestFlushBeginsAnEpoch(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		both(t, func(t *testing.T, url string) {
			c := ready(t, start(t, Config{URL: url}))
			p := publish(t, c, "finals", "1")
			h, _ := tailOf(t, c, k, p.Slot)
			r := linkOf(t, c)
			if err := r.Do(t.Context(), r.B().Flushall().Build()).Error(); err != nil {
				t.Fatal(err)
			}
			// The blocked read does not notice; the next connection does.
			if err := r.Do(t.Context(), r.B().ClientKill().TypeNormal().SkipmeYes().Build()).Error(); err != nil {
				t.Skipf("the embedded Redis can't kill a connection: %v", err)
			}
			h.wait("the tail has begun a new epoch", func() bool { return h.at[p.Slot].Epoch != p.Position.Epoch })
			publishSurely(t, c, "finals", "2")
			h.wantPayloads("finals", "2")
		})
	})
}

// A stream that was set back, as by an old snapshot, is another one, though its epoch key says otherwise.
func TestStreamSetBackBeginsAnEpoch(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL()}))
		publish(t, c, "finals", "1")
		p := publish(t, c, "finals", "2")
		h, _ := tailOf(t, c, k, p.Slot)
		r := s.Dial(t)
		if _, err := r.Do("XDEL", Key(p.Slot), p.Position.ID.String()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); err != nil {
			t.Fatal(err)
		}
		h.wait("the tail has begun a new epoch", func() bool { return h.at[p.Slot].Epoch != p.Position.Epoch })
		publishSurely(t, c, "finals", "3")
		h.wantPayloads("finals", "3")
	})
}

func TestPoisonIsPassedOver(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		both(t, func(t *testing.T, url string) {
			c := ready(t, start(t, Config{URL: url, MaxPayload: 100}))
			slot := topic.Slot("finals")
			h, _ := tailOf(t, c, k, slot)
			other := "semi"
			if topic.Slot(other) == slot {
				t.Fatal("choose another topic")
			}
			add := func(fields ...string) {
				t.Helper()
				cmd := linkOf(t, c).B().Arbitrary("XADD").Keys(Key(slot)).Args("*").Args(fields...).Build()
				if err := linkOf(t, c).Do(t.Context(), cmd).Error(); err != nil {
					t.Fatal(err)
				}
			}
			f := func(reason string, fields ...string) {
				t.Helper()
				before := counterValue(t, c.metrics.poisoned.WithLabelValues(reason))
				add(fields...)
				testcluster.Soon(t, reason+" is counted", func() bool {
					return counterValue(t, c.metrics.poisoned.WithLabelValues(reason)) == before+1
				})
			}
			f("no_payload", "topic", "finals")
			f("no_payload", "greeting", "hello")
			f("topic", "payload", "x")
			f("topic", "topic", "a\x01b", "payload", "x")
			f("slot", "topic", other, "payload", "x")
			f("too_large", "topic", "finals", "payload", string(make([]byte, 101)))
			add("payload", "good", "extra", "field", "topic", "finals", "id", "k")
			h.wantPayloads("finals", "good")
			if _, err := c.Range(t.Context(), slot, h.stands(slot).ID, 10); err != nil {
				t.Error(err)
			}
		})
	})
}

// The connections that block are few and small.
func TestFewSmallConnections(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL(), Name: "gateway g1"}))
		tailOf(t, c, k, allSlots()...)
		r := s.Dial(t)
		blocked := func() int {
			v, err := r.Do("INFO", "clients")
			if err != nil {
				t.Fatal(err)
			}
			return infoInt(t, v, "blocked_clients")
		}
		testcluster.Soon(t, "four reads are blocked", func() bool { return blocked() == topic.Slots/readerSlots })
	})
}

func TestWantBeforeRedisIsThere(t *testing.T) {
	s := testcluster.NewRedis(t, true)
	s.Kill()
	c := start(t, Config{URL: s.URL()})
	h := newHeard(t)
	tl := c.NewTailer(TailConfig{Sink: h})
	tl.Want(nil, []int{1, 100})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tl.Run(ctx) }()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wait("the tails have started", func() bool { return h.starts[1] == 1 && h.starts[100] == 1 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A slot that is taken over while Redis hangs has not been placed: it is missing, and not decades behind.
func TestAgeOfAnUnplacedTail(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	h := newHeard(t)
	tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tl.Run(ctx) }()
	defer func() {
		cancel()
		<-done
	}()
	ages := func() int { return testutil.CollectAndCount(c, "ringside_stream_watermark_age_seconds") }
	pause(t, s)
	tl.Want([]int{7}, nil)
	testcluster.Soon(t, "the slot is taken over", func() bool { _, ok := tl.Stats(7); return ok })
	if n := ages(); n != 0 {
		t.Errorf("got %d ages of slots that are not placed, want none", n)
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	resume(t, s)
	testcluster.Soon(t, "the slot is placed, and has an age", func() bool { return ages() == 1 })
	if _, err := reg.Gather(); err != nil {
		t.Errorf("what the slots have since the registration was not announced: %v", err)
	}
}

// stuck is a Sink that takes nothing for as long as somebody holds its gate.
type stuck struct {
	*heard
	gate sync.Mutex
}

func (s *stuck) TailEntries(slot int, es []Entry) {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.heard.TailEntries(slot, es)
}

// What was trimmed before the tail had read it shows as a jump, and never as silence.
func TestTrimmedUnread(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedis(t, false)
		c := ready(t, start(t, Config{URL: s.URL(), MaxLen: 100}))
		h := &stuck{heard: newHeard(t)}
		tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1"})
		slot := topic.Slot("finals")
		k.want(tl, slot)
		run(t, h.heard, tl, 1)
		publish(t, c, "finals", "-1")
		h.wantPayloads("finals", "-1")
		// All are read in time, however far the stream is trimmed: no jump.
		for i := range 300 {
			publish(t, c, "finals", strconv.Itoa(i))
			h.wait("it has come", func() bool { return len(h.entries["finals"]) == 2+i })
		}
		if h.started(slot) != 1 {
			t.Fatalf("the tail was started %d times, want once", h.started(slot))
		}
		h.gate.Lock()
		for i := range 1000 {
			publish(t, c, "finals", strconv.Itoa(300+i))
		}
		h.gate.Unlock()
		h.wait("the last has come", func() bool { es := h.entries["finals"]; return es[len(es)-1] == "1299" })
		if h.started(slot) != 2 || c.metrics.trimmedUnread.Load() != 1 || c.metrics.epochs.Load() != 0 {
			t.Errorf("got %d starts, %d jumps, %d epochs, want 2, 1, 0", h.started(slot), c.metrics.trimmedUnread.Load(), c.metrics.epochs.Load())
		}
	})
}
