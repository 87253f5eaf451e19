package e2e

import (
	"fmt"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// The size of the cluster in the large tests.
const (
	routers     = 2
	gateways    = 3
	subscribers = 300
	topicCount  = 50
)

// TestEveryMessageOnceInOrder is the main job: a message published once, in whatever way, reaches every
// subscriber of its topic once, in order, whatever it speaks.
func TestEveryMessageOnceInOrder(t *testing.T) {
	for name, flags := range map[string][]string{"native": nil, "portable": {"--portable"}} {
		t.Run(name, func(t *testing.T) { everyMessageOnceInOrder(t, flags) })
	}
}

func everyMessageOnceInOrder(t *testing.T, flags []string) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), routers, gateways, flags...)
	topics := topicNames(topicCount)
	a := join(t, c, redis, topics, subscribers)

	tr := publishers(t, c, redis, topics, 6, 250)
	tr.wait()
	a.verify(t)
	tr.verify(t, a.redis)

	for _, s := range a.subs {
		if n := s.Connections(); n != 1 {
			t.Errorf("%v: got %d connections, want 1: %v", s, n, s.Closes())
		}
	}
}

// TestJoinAndDrainHalfWay changes the cluster under load: one gateway joins, one drains. No client notices.
func TestJoinAndDrainHalfWay(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), routers, gateways, drainWindow)
	topics := topicNames(topicCount)
	a := join(t, c, redis, topics, subscribers)

	tr := publishers(t, c, redis, topics, 4, 0)
	reach := func(n int) {
		t.Helper()
		eventually(t, "traffic", func() error {
			if got := tr.messages(); got < n {
				return fmt.Errorf("%d of %d messages", got, n)
			}
			return nil
		})
	}
	reach(200)
	c.AddGateway("g4", drainWindow)
	c.WaitReady()
	c.WaitConverged()
	reach(tr.messages() + 200)

	leaver := c.Gateway("g2")
	before, err := leaver.Metric(t.Context(), "ringside_gateway_sessions")
	if err != nil || before == 0 {
		t.Errorf("sessions of g2 before its drain: got %v, %v, want some", before, err)
	}
	c.Terminate(leaver)
	if code, err := leaver.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit of the drained gateway: got %d, %v, want 0", code, err)
	}
	c.WaitConverged()
	reach(tr.messages() + 200)
	tr.end()
	a.verify(t)
	tr.verify(t, a.redis)
	a.nobodyNoticed(t)
}

// nobodyNoticed checks that no client's connection was closed.
func (a *audience) nobodyNoticed(t *testing.T) {
	t.Helper()
	for _, s := range a.subs {
		for _, c := range s.Closes() {
			t.Errorf("%v: its connection was closed: %+v", s, c)
		}
	}
}

// TestFurtherTopics follows several topics over one session, on whatever gateway the first one led to.
func TestFurtherTopics(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, gateways)
	topics := topicNames(30)
	a := &audience{redis: redis.Dial(t), from: map[string]int{}}
	for i := range 10 {
		a.subs = append(a.subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name:  fmt.Sprintf("s%d", i),
			Base:  func() string { return c.Router(0).HTTP() },
			Topic: topics[i],
			More:  append(append([]string(nil), topics[:i]...), topics[i+1:]...),
		}))
	}
	a.waitOpen(t)
	tr := publishers(t, c, redis, topics, 2, 300)
	tr.wait()
	a.verify(t)
}

// TestLateSubscriberReplays starts in the past: what followed the position comes first, then what is live.
func TestLateSubscriberReplays(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 2)
	topics := topicNames(1)
	a := join(t, c, redis, topics, 2)
	tr := publishers(t, c, redis, topics, 2, 100)
	tr.wait()
	a.verify(t)

	start := a.subs[0].Track(topics[0])
	live := publishers(t, c, redis, topics, 2, 0)
	for i, seen := range []int{0, 17, 150} {
		for _, p := range []testcluster.Protocol{testcluster.V1, testcluster.SSE} {
			a.subs = append(a.subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
				Name:     fmt.Sprintf("late%d", i),
				Protocol: p,
				Base:     func() string { return c.Router(0).HTTP() },
				Topic:    topics[0],
				Since:    start.Seen[seen].Position,
			}))
		}
	}
	a.waitOpen(t)
	live.end()
	a.from[topics[0]] = len(start.Seen) + 1000 // each one's own start is its position
	a.verify(t)
}
