package stream

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topic"
)

// numbered are n messages for each of the topics in turn, each with an id.
func numbered(n int, topics ...string) (ms []Message) {
	for i := range n {
		for _, name := range topics {
			ms = append(ms, Message{Topic: name, ID: strconv.Itoa(i), Payload: []byte(strconv.Itoa(i))})
		}
	}
	return ms
}

// wantAll holds that all of a batch stands in its streams, in order and once, at the positions that were given.
func wantAll(t *testing.T, c *Client, ms []Message, out []Outcome, duplicate bool) {
	t.Helper()
	last := map[int]position.Position{}
	want := map[string][]string{}
	for i, o := range out {
		if o.Err != nil || o.Topic != ms[i].Topic || o.Slot != topic.Slot(o.Topic) || o.Duplicate != duplicate || !last[o.Slot].ID.Less(o.Position.ID) {
			t.Fatalf("message %d of %s: got %+v behind %v", i, ms[i].Topic, o, last[o.Slot])
		}
		last[o.Slot] = o.Position
		want[o.Topic] = append(want[o.Topic], string(ms[i].Payload))
	}
	for name, payloads := range want {
		wantSame(t, entriesOf(t, c, Published{Topic: name, Slot: topic.Slot(name)}), payloads)
	}
}

func TestPublishAll(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url}))
		ms := numbered(2*scriptMessages+10, "finals", "semi", "odds")
		wantAll(t, c, ms, c.PublishAll(t.Context(), ms), false)
		wantAll(t, c, ms, c.PublishAll(t.Context(), ms), true)
		if got := c.PublishAll(t.Context(), nil); len(got) != 0 {
			t.Errorf("nothing: got %v", got)
		}
		// Large ones go in several steps too.
		large := []Message{{Topic: "large"}, {Topic: "large"}, {Topic: "large"}}
		for i := range large {
			large[i].Payload = []byte(strings.Repeat(strconv.Itoa(i), scriptBytes/2+1))
		}
		wantAll(t, c, large, c.PublishAll(t.Context(), large), false)
	})
}

// The same id twice in one batch is one message, and what can't be published keeps nothing up.
func TestPublishAllTellsOfEach(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url, MaxPayload: 10}))
		out := c.PublishAll(t.Context(), []Message{
			{Topic: "finals", ID: "a", Payload: []byte("1")},
			{Topic: "finals", ID: "a", Payload: []byte("again")},
			{Topic: "a\nb", Payload: []byte("2")},
			{Topic: "finals", Payload: make([]byte, 11)},
			{Topic: "finals", ID: "\xff"},
			{Topic: "finals", Payload: []byte("3")},
		})
		var te *topic.Error
		if out[0].Err != nil || out[0].Duplicate || out[1].Err != nil || !out[1].Duplicate || out[1].Position != out[0].Position {
			t.Errorf("an id twice: got %+v and %+v", out[0], out[1])
		}
		if !errors.As(out[2].Err, &te) || !errors.Is(out[3].Err, ErrTooLarge) || !errors.Is(out[4].Err, ErrID) || out[5].Err != nil {
			t.Errorf("got %v", out[2:])
		}
		wantSame(t, entriesOf(t, c, out[0].Published), []string{"1", "3"})
	})
}

// What Redis refuses in the middle of a batch ends it for that slot, and for no other; nothing is told as written that is not.
func TestPublishAllStopsAtWhatRedisRefuses(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url}))
		bad := idKey(topic.Slot("finals"), "finals", "bad")
		if err := linkOf(t, c).Do(t.Context(), linkOf(t, c).B().Lpush().Key(bad).Element("no string").Build()).Error(); err != nil {
			t.Fatal(err)
		}
		ms := []Message{
			{Topic: "finals", ID: "1", Payload: []byte("1")}, {Topic: "finals", ID: "bad", Payload: []byte("2")},
			{Topic: "finals", ID: "3", Payload: []byte("3")}, {Topic: "semi", ID: "4", Payload: []byte("4")},
		}
		out := c.PublishAll(t.Context(), ms)
		if out[0].Err != nil || !isAmbiguous(out[1].Err) || !strings.Contains(out[1].Err.Error(), "WRONGTYPE") || !isUnavailable(out[2].Err) || out[3].Err != nil {
			t.Errorf("got %v", out)
		}
		wantSame(t, entriesOf(t, c, out[0].Published), []string{"1"})
		if out := c.PublishAll(t.Context(), ms[1:]); !isUnavailable(out[0].Err) || !isUnavailable(out[1].Err) || !out[2].Duplicate {
			t.Errorf("with the refused one in front: got %v", out)
		}
		if err := linkOf(t, c).Do(t.Context(), linkOf(t, c).B().Del().Key(bad).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		c.PublishAll(t.Context(), ms)
		wantSame(t, entriesOf(t, c, out[0].Published), []string{"1", "2", "3"})
	})
}

// A server that forgets its scripts between two batches, as after a failover, is taught them without a change of order.
func TestPublishAllTeachesTheScript(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL()}))
	var ms []Message
	var out []Outcome
	for i := range 3 {
		if _, err := s.Dial(t).Do("SCRIPT", "FLUSH"); err != nil {
			t.Fatal(err)
		}
		batch := numbered(scriptMessages+10, "finals", "semi")
		for j := range batch {
			batch[j].ID += "/" + strconv.Itoa(i)
		}
		ms, out = append(ms, batch...), append(out, c.PublishAll(t.Context(), batch)...)
	}
	wantAll(t, c, ms, out, false)
}

// A Redis that stops answering in the middle leaves it open what became of the batch. Repeating it settles that, and adds nothing twice.
func TestPublishAllAmbiguous(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 300 * time.Millisecond}))
	publish(t, c, "semi", "0")
	pause(t, s)
	ms := numbered(scriptMessages+10, "finals")
	out := c.PublishAll(t.Context(), ms)
	for i, o := range out {
		want := ErrAmbiguous
		if i >= scriptMessages { // it was not tried
			want = ErrUnavailable
		}
		if !errors.Is(o.Err, want) {
			t.Fatalf("message %d: got %v, want %v", i, o.Err, want)
		}
	}
	resume(t, s)
	testcluster.Soon(t, "the repetition succeeds", func() bool {
		return !slices.ContainsFunc(c.PublishAll(t.Context(), ms), func(o Outcome) bool { return o.Err != nil })
	})
	wantSame(t, entriesOf(t, c, Published{Topic: "finals", Slot: topic.Slot("finals")}), payloadsOf(ms, "finals"))
}

func payloadsOf(ms []Message, name string) (list []string) {
	for _, m := range ms {
		if m.Topic == name {
			list = append(list, string(m.Payload))
		}
	}
	return list
}

// Redis is killed again and again under a publisher that repeats what is not known to be written: all of it is there, once and in order.
func TestPublishAllAcrossKills(t *testing.T) {
	s := testcluster.NewRedisWith(t, testcluster.RedisOptions{Fsync: "always"})
	c := ready(t, start(t, Config{URL: s.URL(), OpTimeout: 500 * time.Millisecond}))
	topics := []string{"finals", "semi", "odds"}
	done, failed, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for range 3 {
			for range 5 { // batches go well before each kill
				<-done
			}
			s.Kill()
			<-failed
			if err := s.Restart(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	over := time.After(testcluster.Limit())
	var all, rest []Message
	for n := 0; ; n++ {
		tell := done
		select {
		case <-ended:
			tell = nil
		default:
			more := numbered(30, topics...)
			for i := range more {
				more[i].ID = strconv.Itoa(n) + "/" + more[i].ID
				more[i].Payload = []byte(more[i].ID)
			}
			all, rest = append(all, more...), append(rest, more...)
		}
		if len(rest) == 0 {
			break
		}
		batch := rest[:min(len(rest), 90)]
		var again []Message
		for i, o := range c.PublishAll(t.Context(), batch) {
			switch {
			case isAmbiguous(o.Err), isUnavailable(o.Err):
				again = append(again, batch[i])
				tell = failed
			case o.Err != nil:
				t.Fatal(o.Err)
			}
		}
		rest = append(again, rest[len(batch):]...)
		select {
		case tell <- struct{}{}:
		case <-over:
			t.Fatalf("%d of %d are still not published", len(rest), len(all))
		case <-time.After(time.Millisecond): // as nobody tries again at once
		}
	}
	ready(t, c)
	for _, name := range topics {
		wantSame(t, entriesOf(t, c, Published{Topic: name, Slot: topic.Slot(name)}), payloadsOf(all, name))
	}
}

// Each message of a batch waits for as many replicas as it asks for.
func TestPublishAllWaitsForReplicas(t *testing.T) {
	s := testcluster.NewRedis(t, false)
	s.WaitReplicas(t, testcluster.NewRedisWith(t, testcluster.RedisOptions{ReplicaOf: s}))
	c := ready(t, start(t, Config{URL: s.URL(), WaitTimeout: time.Second}))
	ms := []Message{{Topic: "finals", ID: "1"}, {Topic: "semi", ID: "2", Replicas: 1}, {Topic: "odds", ID: "3", Replicas: 2}, {Topic: "finals", ID: "4", Replicas: 1}}
	for range 2 { // repeated they are duplicates, and confirmed all the same
		out := c.PublishAll(t.Context(), ms)
		if out[0].Err != nil || out[1].Err != nil || !isAmbiguous(out[2].Err) || !strings.Contains(fmt.Sprint(out[2].Err), "1 of 2 replicas") || out[3].Err != nil {
			t.Errorf("got %v", out)
		}
	}
}

// A batch goes to all nodes of a Cluster. While a hash slot is moved its messages may be refused, for sure, and no others; in the end all is there in order.
func TestClusterPublishAll(t *testing.T) {
	rc := testcluster.NewRedisCluster(t)
	c := ready(t, start(t, Config{URL: rc.URL()}))
	topics := topicsOfGroups()
	first := numbered(20, topics...)
	wantAll(t, c, first, c.PublishAll(t.Context(), first), false)

	moved := topics[3]
	hash := rc.Slot(t, Key(3*groupSize))
	to := rc.Other(t, rc.Owner(t, hash))
	rc.BeginMove(t, hash, to)
	var second []Message
	for i := range 40 {
		for _, name := range topics {
			second = append(second, Message{Topic: name, ID: "second " + strconv.Itoa(i), Payload: []byte("second " + strconv.Itoa(i)), Replicas: i % 2})
		}
	}
	refused := 0
	for i, o := range c.PublishAll(t.Context(), second) {
		switch {
		case o.Err == nil:
		case second[i].Topic == moved && isUnavailable(o.Err):
			refused++
		default:
			t.Errorf("%s: got %v", second[i].Topic, o.Err)
		}
	}
	if refused != 0 && refused != 40 {
		t.Errorf("of the topic whose slot is moved %d were refused, want all or none", refused)
	}
	t.Logf("refused while the slot was moved: %d", refused)
	rc.MoveKeys(t, hash, to)
	rc.EndMove(t, hash, to)
	testcluster.Soon(t, "all are published", func() bool {
		return !slices.ContainsFunc(c.PublishAll(t.Context(), second), func(o Outcome) bool { return o.Err != nil })
	})
	for _, name := range topics {
		wantSame(t, entriesOf(t, c, Published{Topic: name, Slot: topic.Slot(name)}), append(payloadsOf(first, name), payloadsOf(second, name)...))
	}
}

// BenchmarkPublish is what a message costs that is published alone, by 64 publishers at once, and in batches of 1,000 to 1 and to 100 topics; and how
// long one run of the script holds Redis up.
func BenchmarkPublish(b *testing.B) {
	s := testcluster.NewRedis(b, false)
	c := ready(b, start(b, Config{URL: s.URL()}))
	payload := []byte(strings.Repeat("x", 200))
	b.Run("single", func(b *testing.B) {
		b.SetParallelism(32) // for each of the cores
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Publish(b.Context(), Message{Topic: "finals", Payload: payload}); err != nil {
					b.Error(err)
				}
			}
		})
	})
	for _, topics := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch/topics=%d", topics), func(b *testing.B) {
			ms := make([]Message, 1000)
			for i := range ms {
				ms[i] = Message{Topic: "topic " + strconv.Itoa(i%topics), Payload: payload}
			}
			if _, err := s.Dial(b).Do("CONFIG", "RESETSTAT"); err != nil {
				b.Fatal(err)
			}
			for n := 0; n < b.N; n += len(ms) {
				for _, o := range c.PublishAll(b.Context(), ms[:min(len(ms), b.N-n)]) {
					if o.Err != nil {
						b.Fatal(o.Err)
					}
				}
			}
			b.StopTimer()
			perCall := regexp.MustCompile(`cmdstat_evalsha:.*usec_per_call=([0-9.]+)`).FindStringSubmatch(fmt.Sprint(s.Do(b, "INFO", "commandstats")))
			if len(perCall) == 2 {
				if v, err := strconv.ParseFloat(perCall[1], 64); err == nil {
					b.ReportMetric(v, "µs/script")
				}
			}
		})
	}
}
