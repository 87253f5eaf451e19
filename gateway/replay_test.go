package gateway

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/stream"
)

// wantNumbers reads messages whose data are the numbers from..to, and fails on anything else.
func (c *wsClient) wantNumbers(from, to int) (last string) {
	c.t.Helper()
	for i := from; i <= to; i++ {
		m := c.want("message")
		if string(m.Data) != strconv.Itoa(i) {
			c.t.Fatalf("got message %s, want %d", m.Data, i)
		}
		last = m.ID
	}
	return last
}

func (r *rig) publishNumbers(topic string, from, to int) (first, last string) {
	r.t.Helper()
	for i := from; i <= to; i++ {
		last = r.publish(topic, strconv.Itoa(i))
		if i == from {
			first = last
		}
	}
	return first, last
}

func TestResumeFromMemory(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		holder := r.dial("finals") // keeps the log
		holder.want("welcome")
		first, _ := r.publishNumbers("finals", 1, 100)
		holder.wantNumbers(1, 100)
		c := r.dial("finals?since=" + first)
		if w := c.want("welcome"); w.Position != first {
			t.Errorf("welcome: got position %s, want %s", w.Position, first)
		}
		r.publishNumbers("finals", 101, 110)
		c.wantNumbers(2, 110)
		if n := r.g.metrics.replayReads.Load(); n != 0 {
			t.Errorf("reads of the stream: got %d, want 0", n)
		}
	})
}

func TestResumeFromStream(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		first, _ := r.publishNumbers("finals", 1, 1500) // more than a page, and nobody here
		r.publish(otherTopic(t, "finals"), "not for finals")
		c := r.dial("finals?since=" + first)
		c.want("welcome")
		c.wantNumbers(2, 1500)
		r.publishNumbers("finals", 1501, 1510)
		c.wantNumbers(1501, 1510)
	})
}

// The replay comes strictly before anything live, whatever is published meanwhile.
func TestResumeUnderLoad(t *testing.T) {
	r := start(t, nil)
	first, _ := r.publishNumbers("finals", 1, 600)
	const last = 1500
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 601; i <= last; i++ {
			if _, err := r.stream.Publish(t.Context(), stream.Message{Topic: "finals", Payload: []byte(strconv.Itoa(i))}); err != nil {
				t.Errorf("publish: %v", err)
				return
			}
		}
	})
	for range 8 {
		wg.Go(func() {
			c := r.dial("finals?since=" + first)
			c.want("welcome")
			c.wantNumbers(2, last)
		})
	}
	wg.Wait()
}

// Sessions that wait for the same stretch share its reads.
func TestResumersShareReads(t *testing.T) {
	r := start(t, nil)
	var ids []string
	for i := 1; i <= 300; i++ {
		ids = append(ids, r.publish("finals", strconv.Itoa(i)))
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			c := r.dial("finals?since=" + ids[i])
			c.want("welcome")
			c.wantNumbers(i+2, 300)
		})
	}
	wg.Wait()
	if n := r.g.metrics.replayReads.Load(); n == 0 || n > 20 {
		t.Errorf("reads for 100 sessions: got %d, want a few", n)
	}
}

func TestGapWhenTrimmed(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		first, last := r.publishNumbers("finals", 1, 10)
		r.tailed("finals", last)
		at, err := position.Parse(first)
		if err != nil {
			t.Fatal(err)
		}
		// Trim by hand, all but the last 3.
		key := stream.Key(r.g.slotOf("finals"))
		r.redisDo("XTRIM", key, "MAXLEN", "3")
		c := r.dial("finals?since=" + at.String())
		c.want("welcome")
		g := c.want("gap")
		if g.Reason != "trimmed" || g.After != first || g.Topic != "finals" {
			t.Errorf("got %+v", g)
		}
		c.wantNumbers(8, 10)
	})
}

// A page that was trimmed as a whole while it was read tells of a gap beyond its end, from where the session goes on.
func TestGapBeyondThePage(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		var ids []position.Position
		for _, payload := range []string{"1", "2", "3"} {
			p, err := position.Parse(r.publish("finals", payload))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, p)
		}
		r.tailed("finals", ids[2].String())
		r.dial("finals").want("welcome")
		s := r.g.slots[r.g.slotOf("finals")]
		s.mu.Lock()
		s.topics["finals"].replay.keep(&page{epoch: ids[0].Epoch, from: ids[0].ID, to: ids[1].ID, first: ids[2].ID, ids: []position.ID{ids[0].ID, ids[1].ID}})
		s.mu.Unlock()
		r.redisDo("XTRIM", stream.Key(s.n), "MINID", ids[2].ID.String())
		c := r.dial("finals?since=" + ids[0].String())
		c.want("welcome")
		if g := c.want("gap"); g.Reason != "trimmed" || g.Position != (position.Position{Epoch: ids[2].Epoch, ID: ids[2].ID.Prev()}).String() {
			t.Errorf("got %+v", g)
		}
		c.wantNumbers(3, 3)
	})
}

func TestGapInAnotherEpoch(t *testing.T) {
	realRedis(t, usual, func(t *testing.T, r *rig) {
		id := r.publish("finals", "1")
		r.tailed("finals", id)
		e, err := r.stream.Edges(t.Context(), r.g.slotOf("finals"))
		if err != nil {
			t.Fatal(err)
		}
		begin := position.Position{Epoch: e.Epoch, ID: e.Begin}.String()
		p, _ := position.Parse(id)
		p.Epoch++
		c := r.dial("finals?since=" + p.String())
		c.want("welcome")
		// Nothing of the present epoch can have been seen by a client of another.
		if g := c.want("gap"); g.Reason != "epoch" || g.After != p.String() || g.Position != begin {
			t.Errorf("got %+v, want a gap up to %s", g, begin)
		}
		r.publish("finals", "2")
		c.wantNumbers(1, 2)
	})
}

// A session that has kept up is told as well when its stream begins anew.
func TestGapWhenAnEpochBegins(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		c := r.dial("finals")
		at := c.want("welcome").Position
		p, _ := position.Parse(at)
		p.Epoch++
		r.g.slots[r.g.slotOf("finals")].started(p, p.ID)
		if g := c.want("gap"); g.Reason != "epoch" || g.After != at || g.Position != p.String() {
			t.Errorf("got %+v", g)
		}
	})
}

// A client that was ahead of this gateway's tail gets nothing twice.
func TestPositionAheadOfTheTail(t *testing.T) {
	r := start(t, nil)
	holder := r.dial("finals")
	at := holder.want("welcome").Position
	p, _ := position.Parse(at)
	s := r.g.slots[r.g.slotOf("finals")]
	ids := []position.ID{{Ms: p.ID.Ms + 1000}, {Ms: p.ID.Ms + 2000}, {Ms: p.ID.Ms + 3000}}
	ahead := position.Position{Epoch: p.Epoch, ID: ids[1]}
	c := r.dial("finals?since=" + ahead.String())
	c.want("welcome")
	for i, id := range ids {
		s.append([]stream.Entry{{ID: id, Topic: "finals", Payload: []byte(strconv.Itoa(i + 1))}})
	}
	c.wantNumbers(3, 3)
	holder.wantNumbers(1, 3)
	s.append([]stream.Entry{{ID: ids[0], Topic: "finals", Payload: []byte("late")}, {ID: ids[2].Next(), Topic: "finals", Payload: []byte("4")}})
	c.wantNumbers(4, 4)
	holder.wantNumbers(4, 4)
	if n := r.g.metrics.stale.Load(); n != 1 {
		t.Errorf("stale entries: got %d, want 1", n)
	}
}

// A client that was told of a new epoch by another gateway waits here until this one's tail has come to it as well: it is not taken
// back into the old one, all of which it would get once more.
func TestPositionOfAnEpochToCome(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		r.publish("finals", "old")
		holder := r.dial("finals")
		old, err := position.Parse(holder.want("welcome").Position)
		if err != nil {
			t.Fatal(err)
		}
		begin := position.Position{Epoch: old.Epoch + 1, ID: position.ID{Ms: old.ID.Ms + 1000}}
		knows := position.Position{Epoch: begin.Epoch, ID: position.ID{Ms: old.ID.Ms + 2000}}
		c := r.dial("finals?since=" + knows.String())
		c.want("welcome")
		s := r.g.slots[r.g.slotOf("finals")]
		s.started(begin, begin.ID)
		if g := holder.want("gap"); g.Reason != "epoch" || g.Position != begin.String() {
			t.Errorf("got %+v, want the gap up to %v", g, begin)
		}
		s.append([]stream.Entry{{ID: knows.ID, Topic: "finals", Payload: []byte("1")}, {ID: knows.ID.Next(), Topic: "finals", Payload: []byte("2")}})
		holder.wantNumbers(1, 2)
		c.wantNumbers(2, 2)
	})
}

// A client that is gone when it is to be told of a gap ends its session, and nothing else.
func TestGapForWhoIsGone(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		for _, topic := range []string{"in memory", "in the stream"} {
			id := r.publish(topic, "1")
			r.tailed(topic, id)
			old, err := position.Parse(id)
			if err != nil {
				t.Fatal(err)
			}
			old.Epoch, old.ID = old.Epoch+1, position.ID{Ms: 1}
			if topic == "in memory" { // so that the log reaches back to where the epoch began
				s := r.g.slots[r.g.slotOf(topic)]
				s.mu.Lock()
				s.begin = s.at.ID
				s.mu.Unlock()
			}
			r.dial("finals").want("welcome")
			r.each(func(s *session) {
				if err := s.conn.CloseWrite(); err != nil {
					t.Errorf("%v", err)
				}
				sub := &sub{greeted: true}
				s.more = append(s.more, sub)
				s.subscribe(sub, topic, old, true)
			})
			testcluster.Soon(t, "the session has ended", func() bool { return r.g.Sessions() == 0 })
		}
	})
}

// Where the past can't be read, the session is told to come back instead of waiting for ever.
func TestNoReplayWithoutRedis(t *testing.T) {
	r := start(t, func(c *Config) { c.ReplayTimeout = 300 * time.Millisecond })
	first, last := r.publishNumbers("finals", 1, 5)
	r.tailed("finals", last)
	// Redis answers all else: sessions that wait for one of which it is known that it does not are told that they are stale.
	key := stream.Key(r.g.slotOf("finals"))
	r.redisDo("DEL", key)
	r.redisDo("SET", key, "no stream")
	c := r.dial("finals?since=" + first)
	c.want("welcome")
	if ce := c.closed(); ce.Code != 1013 {
		t.Errorf("got %v, want 1013", ce)
	}
}

// A client that has not read for long, on its way through the past, has not waited for Redis meanwhile: it is not closed for that when it reads on.
func TestNoReplayAfterStandingStill(t *testing.T) {
	r := start(t, nil)
	first, last := r.publishNumbers("finals", 1, 5)
	r.tailed("finals", last)
	from, err := position.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	c := r.dial("finals")
	c.want("welcome")
	r.each(func(s *session) { // as if
		s.setFull()
		s.topic.state, s.topic.last, s.topic.resumed = subReplay, from, true
		s.topic.since -= time.Hour.Milliseconds()
		s.flush()
		if s.topic.state != subReplay {
			t.Errorf("the past is not read: state %d", s.topic.state)
		}
		s.Sweep(&s.conn, s.worker.loop.Now())
	})
	c.wantNumbers(2, 5)
}

// A gateway whose tails have lost Redis says so.
func TestTailsLostAndFound(t *testing.T) {
	r := start(t, nil)
	addr := r.redis.Addr()
	r.redis.Close()
	testcluster.Soon(t, "the tails are missing", func() bool { return r.g.tails.missingNow() == 256 && r.g.Ready() != nil })
	if err := r.redis.StartAddr(addr); err != nil {
		t.Fatal(err)
	}
	testcluster.Soon(t, "the gateway is ready again", func() bool { return r.g.tails.missingNow() == 0 && r.g.Ready() == nil })
}

// A tail that is started anew, further on, is no reason for a gap: the stream has what lies between.
func TestTailStartedAnew(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		c := r.dial("finals")
		c.want("welcome")
		r.publishNumbers("finals", 1, 10)
		c.wantNumbers(1, 10)
		// As if it had not heard of some entries, and then was told that it stands behind them.
		slot := r.g.slots[r.g.slotOf("finals")]
		slot.mu.Lock()
		slot.warm = false
		slot.mu.Unlock()
		at, err := position.Parse(r.publish("finals", "11"))
		if err != nil {
			t.Fatal(err)
		}
		slot.started(at, at.ID)
		r.publishNumbers("finals", 12, 20)
		c.wantNumbers(11, 20)
	})
}

// What pages and logs are charged with is given back when nobody needs them any more.
func TestBytesAreGivenBack(t *testing.T) {
	r := start(t, func(c *Config) { c.LogLinger = time.Millisecond })
	first, last := r.publishNumbers("finals", 1, 1500)
	r.tailed("finals", last)
	for range 3 {
		var cs []*wsClient
		for range 5 {
			c := r.dial("finals?since=" + first)
			c.want("welcome")
			c.wantNumbers(2, 1500)
			cs = append(cs, c)
		}
		if r.g.logBytes.Load() <= 0 {
			t.Error("pages and logs are charged with nothing")
		}
		r.publish("finals", "more")
		for _, c := range cs {
			c.c.Close()
		}
		testcluster.Soon(t, "all is given back", func() bool {
			r.g.slots[r.g.slotOf("finals")].sweep(time.Now())
			return r.g.logBytes.Load() == 0 && r.g.topicCount.Load() == 0
		})
	}
}
