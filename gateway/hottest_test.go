package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestHottest(t *testing.T) {
	r := start(t, nil)
	var clients []*wsClient
	for i, topic := range []string{"final", "final", "final", "odds"} {
		c := r.dial(topic, "ringside.v1")
		c.want("welcome")
		clients = append(clients, c)
		r.tailed(topic, r.publish(topic, fmt.Sprint(i)))
	}
	find := func(topic string) (HotTopic, bool) {
		list := r.g.Hottest()
		i := slices.IndexFunc(list, func(h HotTopic) bool { return h.Topic == topic })
		if i < 0 {
			return HotTopic{}, false
		}
		return list[i], true
	}
	testcluster.Soon(t, "both are named", func() bool {
		a, _ := find("final")
		b, _ := find("odds")
		return a.Sessions == 3 && b.Sessions == 1
	})
	testcluster.Soon(t, "a rate is known", func() bool {
		r.publish("odds", "x")
		h, _ := find("odds")
		return h.Rate > 0
	})
	for _, c := range clients[:3] {
		c.c.Close()
	}
	testcluster.Soon(t, "sessions that have gone don't count", func() bool {
		h, _ := find("final")
		return h.Sessions == 0
	})
	if o := r.g.Overview(); o.Opened != 4 || o.Delivered == 0 || o.Sessions != 1 || len(o.Delivery.Counts) != len(o.Delivery.Bounds)+1 {
		t.Errorf("overview: got %+v", o)
	}
}

// However many topics there are, only the busiest are named.
func TestTopIsBounded(t *testing.T) {
	var p top
	for i := range 1000 {
		p.offer(HotTopic{Topic: fmt.Sprint(i)}, float64(i*7919%1000))
	}
	var got []string
	for _, h := range p.kept() {
		got = append(got, h.Topic)
	}
	var want []string
	for score := 999; score > 999-hottestKept; score-- {
		for i := range 1000 {
			if i*7919%1000 == score {
				want = append(want, fmt.Sprint(i))
			}
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
	var none top
	none.offer(HotTopic{Topic: "quiet"}, 0)
	if len(none.kept()) != 0 {
		t.Error("a topic without a score is named")
	}
}

// A rate is a mean over a while, and unknown after a pause.
func TestRate(t *testing.T) {
	topic := &topic{}
	f := func(taken uint64, since time.Duration, least, most float64) {
		t.Helper()
		topic.taken += taken
		if got := topic.look(since); got < least || got > most {
			t.Errorf("after %d in %v: got %v, want %v to %v", taken, since, got, least, most)
		}
	}
	f(1000, time.Hour, -1, -1)
	f(10, time.Second, 10, 10)
	f(0, time.Second, 5, 9)
	f(10, time.Second, 6, 10)
	f(10, time.Minute, -1, -1)
	f(4, 2*time.Second, 2, 2)
}

// A look at 100,000 topics.
func BenchmarkHottest(b *testing.B) {
	r := start(b, nil)
	for i := range 100_000 {
		name := fmt.Sprintf("topic-%d", i)
		s := r.g.slots[r.g.slotOf(name)]
		s.mu.Lock()
		t := &topic{name: name, slot: s, taken: uint64(i), idle: time.Now()}
		t.subscribed.Store(int64(i % 1000))
		s.topics[name] = t
		s.mu.Unlock()
	}
	for b.Loop() {
		r.g.hottest.mu.Lock()
		r.g.hottest.looked = time.Now().Add(-hottestFor)
		r.g.hottest.mu.Unlock()
		r.g.Hottest()
	}
}
