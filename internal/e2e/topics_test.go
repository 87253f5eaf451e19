package e2e

import (
	"fmt"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestTopicsOfGateways fills all gateways with topics. One more is refused in words that a client can read; sessions of topics that are there are not,
// and those of a gateway that leaves go on at one that is full.
func TestTopicsOfGateways(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	router := c.AddRouter()
	for _, id := range []string{"g1", "g2"} {
		c.AddGateway(id, "--max-node-topics", "2", "--drain-window", "100ms")
	}
	c.WaitReady()
	c.WaitConverged()
	follow := func(topic string) *testcluster.Subscriber {
		t.Helper()
		s := testcluster.Subscribe(t, testcluster.SubscriberConfig{Name: topic, Base: router.HTTP, Topic: topic})
		eventually(t, topic+" is followed", s.Open)
		return s
	}
	var subs []*testcluster.Subscriber
	for i := range 4 {
		subs = append(subs, follow(fmt.Sprintf("topic-%d", i)))
	}
	r, err := ask(router.Addr, "GET /t/one-more", wsHeaders)
	if err != nil || r.Status != 503 || r.Reason() != "no_shard" || r.Header.Get("Retry-After") == "" {
		t.Errorf("a topic too many: got %d %q, %v, want 503 with a time to return", r.Status, r.Body, err)
	}
	if reasonCount(t, c.Gateway("g1"), "topics_full") == 0 || reasonCount(t, c.Gateway("g2"), "topics_full") == 0 {
		t.Error("a gateway has not counted that it was full")
	}
	subs = append(subs, follow("topic-0"), follow("topic-3"))

	g1 := c.Gateway("g1")
	c.Terminate(g1)
	if code, err := g1.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Fatalf("g1 ended with %d, %v, want 0", code, err)
	}
	for _, s := range subs {
		topic := s.Topics()[0]
		if _, err := publish(router, topic, `"after"`, "after-"+topic); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range subs {
		testcluster.Soon(t, s.String()+" has the message", func() bool { return s.Count(s.Topics()[0]) == 1 })
		if s.Connections() != 1 {
			t.Errorf("%v noticed: %v", s, s.Closes())
		}
	}
}
