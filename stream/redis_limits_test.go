package stream

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

// refusedPublish sees that a publish fails for sure, with all of words in the error.
func refusedPublish(t *testing.T, c *Client, words ...string) {
	t.Helper()
	for _, w := range words {
		if _, err := c.Publish(t.Context(), Message{Topic: "finals", ID: "refused", Payload: []byte("refused")}); !isUnavailable(err) || !strings.Contains(err.Error(), w) {
			t.Errorf("publish: got %v, want ErrUnavailable with %s", err, w)
		}
	}
}

// At maxmemory publishes are refused with the reason, and nothing is written; tails read on, even over a new connection, and all
// goes on when there is memory again.
func TestMaxMemory(t *testing.T) {
	kinds(t, func(t *testing.T, k kind) {
		s := testcluster.NewRedisWith(t, testcluster.RedisOptions{MaxMemory: "16mb"})
		c := ready(t, start(t, Config{URL: s.URL()}))
		h, tl := tailOf(t, c, k, allSlots()...)
		p := publish(t, c, "finals", "1")
		h.wantPayloads("finals", "1")
		s.Do(t, "CONFIG", "SET", "maxmemory", "1mb")
		refusedPublish(t, c, "maxmemory", "OOM")
		tl.interruptAll()
		h.wait("the tail has begun again", func() bool { return h.starts[p.Slot] == 2 && !h.lost[p.Slot] })
		// Who begins now is ready, but for a Redis that has nothing yet.
		ready(t, start(t, Config{URL: s.URL()}))
		s.Do(t, "DEL", keySlots)
		notReady(t, start(t, Config{URL: s.URL()}), "maxmemory")
		s.Do(t, "CONFIG", "SET", "maxmemory", "0")
		publish(t, c, "finals", "2")
		h.wantPayloads("finals", "1", "2")
		wantSame(t, entriesOf(t, c, p), []string{"1", "2"})
		if h.started(p.Slot) != 2 || c.metrics.epochs.Load() != 0 {
			t.Errorf("got %d starts and %d epochs, want two starts", h.started(p.Slot), c.metrics.epochs.Load())
		}
	})
}

// On a full disk publishes are refused before long, and all that were acknowledged are there once there is space, also after a kill.
func TestFullDisk(t *testing.T) {
	disk := testcluster.NewSmallDisk(t, 2<<20)
	s := testcluster.NewRedisWith(t, testcluster.RedisOptions{Dir: disk.Dir, Fsync: "everysec"})
	c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 5 * time.Second}))
	h, _ := tailOf(t, c, owned, allSlots()...)
	var want []string
	var p Published
	say := func() error {
		text := strconv.Itoa(len(want)) + strings.Repeat("x", 8192)
		got, err := c.Publish(t.Context(), Message{Topic: "finals", Payload: []byte(text)})
		if err == nil {
			p, want = got, append(want, text)
		}
		return err
	}
	for range 2 {
		if err := say(); err != nil {
			t.Fatal(err)
		}
		disk.Fill(t)
		testcluster.Eventually(t, "a publish that is refused", func() error {
			err := say()
			if isUnavailable(err) && strings.Contains(err.Error(), "can't write to its disk") {
				return nil
			}
			return notYetError("accepted")
		})
		disk.Free(t)
		testcluster.Eventually(t, "publishes with space again", say)
		s.Kill()
		s.Revive(t)
		testcluster.Eventually(t, "publishes after a kill", say)
	}
	h.wantPayloads("finals", want...)
	wantSame(t, entriesOf(t, c, p), want)
	if n := c.metrics.epochs.Load(); n != 0 {
		t.Errorf("got %d new epochs, and nothing was lost", n)
	}

	// What was acknowledged before Redis noticed is not on the disk. When it is killed then, that is lost, and told.
	disk.Fill(t)
	testcluster.Eventually(t, "a publish that is refused", func() error {
		if isUnavailable(say()) {
			return nil
		}
		return notYetError("accepted")
	})
	h.wantPayloads("finals", want...)
	s.Kill()
	disk.Free(t)
	s.Revive(t)
	h.wait("the tail stands", func() bool { return !h.lost[p.Slot] })
	if left := entriesOf(t, c, p); len(left) == len(want) {
		t.Log("nothing was lost")
	} else {
		wantNewEpochOf(t, h, p)
	}
}

// A publish waits for as many replicas as it is told to. When they are away it is ambiguous, and the same id confirms it later.
func TestWaitForReplicas(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	r := testcluster.NewRedisWith(t, testcluster.RedisOptions{ReplicaOf: s})
	s.WaitReplicas(t, r)
	c := ready(t, start(t, Config{URL: s.URL(), MinReplicas: 1, WaitTimeout: time.Second}))
	p := publishSurelyAs(t, c, Message{Topic: "finals", ID: "1", Payload: []byte("1")})
	if n, _ := r.Do(t, "XLEN", Key(p.Slot)).(int64); n != 2 {
		t.Errorf("entries at the replica: got %d, want the mark and one", n)
	}
	if _, err := c.Publish(t.Context(), Message{Topic: "finals", Replicas: 2}); !isAmbiguous(err) || !strings.Contains(err.Error(), "of 2 replicas") {
		t.Errorf("for two replicas: got %v", err)
	}
	// One that hangs is still connected: who asks over a connection that has written nothing would be told that it has all.
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	m := Message{Topic: "semi", ID: "goal", Payload: []byte("2")}
	for _, c := range []*Client{c, ready(t, start(t, Config{URL: s.URL(), MinReplicas: 1, WaitTimeout: time.Second}))} {
		if _, err := c.Publish(t.Context(), m); !isAmbiguous(err) || !strings.Contains(err.Error(), "0 of 1 replicas") {
			t.Errorf("with a replica that hangs: got %v, want ErrAmbiguous", err)
		}
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	if p := publishSurelyAs(t, c, m); !p.Duplicate {
		t.Error("the retry is no duplicate: it was written twice")
	}
	s.CutReplicas(t)
	m.ID = "another goal"
	for range 2 {
		began := time.Now()
		if _, err := c.Publish(t.Context(), m); !isAmbiguous(err) || !strings.Contains(err.Error(), "0 of 1 replicas") {
			t.Errorf("without a replica: got %v, want ErrAmbiguous", err)
		}
		if took := time.Since(began); took < time.Second {
			t.Errorf("without a replica: answered after %v", took)
		}
	}
	s.JoinReplicas(t)
	q := publishSurelyAs(t, c, m)
	if !q.Duplicate {
		t.Error("the retry is no duplicate: it was written twice")
	}
	wantSame(t, entriesOf(t, c, q), []string{"2", "2"})
	if n, _ := r.Do(t, "XLEN", Key(q.Slot)).(int64); n != 3 {
		t.Errorf("entries at the replica: got %d, want the mark and two", n)
	}
	if err := c.Ready(); err != nil {
		t.Errorf("ready: got %v", err)
	}
}

// What is older than the retention goes with what is published, and the window that is left shows.
func TestRetentionByTime(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	const retention = 500 * time.Millisecond
	c := ready(t, start(t, Config{URL: s.URL(), Retention: retention}))
	slot := topic.Slot("finals")
	h := newHeard(t)
	tl := c.NewTailer(TailConfig{Sink: h, Shard: "g1", Beacon: 20 * time.Millisecond})
	owned.want(tl, slot)
	run(t, h, tl, 1)
	first := publish(t, c, "finals", "first")
	var last Published
	testcluster.Soon(t, "the first is gone", func() bool {
		last = publish(t, c, "finals", "x")
		e, err := c.Edges(t.Context(), slot)
		return err == nil && first.Position.ID.Less(e.First)
	})
	if lasted := last.Position.ID.Ms - first.Position.ID.Ms; lasted < uint64(retention.Milliseconds()) {
		t.Errorf("the first was trimmed after %d ms, want %v at least", lasted, retention)
	}
	page, err := c.Range(t.Context(), slot, position.ID{}, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	old := slices.IndexFunc(page.Entries, func(e Entry) bool { return e.ID.Ms+uint64(retention.Milliseconds()) >= last.Position.ID.Ms })
	if old > 100 { // Redis trims by whole nodes of up to so many
		t.Errorf("%d entries are older than the retention", old)
	}
	testcluster.Soon(t, "the window shows", func() bool {
		st, ok := tl.Stats(slot)
		return ok && first.Position.ID.Less(st.First) && st.Length < int64(len(page.Entries))+200
	})
	if n := c.metrics.braked.Load(); n != 0 {
		t.Errorf("braked: got %d, want none", n)
	}
}

// The length of a stream is bounded at each publish, and what that costs within the retention is counted.
func TestRetentionByLength(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL(), MaxLen: 300}))
	var p Published
	const n = 1000
	for range n {
		p = publish(t, c, "finals", "x")
		if got := s.Do(t, "XLEN", Key(p.Slot)).(int64); got > 400 {
			t.Fatalf("the stream has %d entries, want 300 and one node of 100 at most", got)
		}
	}
	left := s.Do(t, "XLEN", Key(p.Slot)).(int64)
	if got := c.metrics.braked.Load(); int64(got) != n+1-left {
		t.Errorf("braked: got %d, want %d", got, n+1-left)
	}
}
