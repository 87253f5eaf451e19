package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// parked waits until all of a's sessions are served from feeds.
func (a *audience) parked(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	testcluster.Eventually(t, "everybody is parked", func() error {
		n := 0.0
		var errs []error
		for _, r := range c.Running(testcluster.Router) {
			v, err := r.Metric(t.Context(), "ringside_router_sessions_parked")
			n, errs = n+v, append(errs, err)
		}
		if n != float64(len(a.subs)) {
			errs = append(errs, fmt.Errorf("%v of %d are", n, len(a.subs)))
		}
		return errors.Join(errs...)
	})
}

// TestSharedFeeds takes sessions that routers serve from feeds through everything that a cluster goes through: nobody notices.
func TestSharedFeeds(t *testing.T) {
	redis := testcluster.NewRedis(t, true)
	c := testcluster.New(t, redis.URL())
	socket := filepath.Join(t.TempDir(), "takeover")
	flags := []string{"--feed-min", "1", "--park-after", "100ms"}
	c.AddRouter(flags...)
	c.AddRouter(append(flags, "--takeover-socket", socket)...)
	for _, id := range []string{"g1", "g2", "g3"} {
		c.AddGateway(id, "--heartbeat", "1s")
	}
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(6)
	a := join(t, c, redis, topics, 90)
	for i := range 12 { // who follow several
		a.subs = append(a.subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name: fmt.Sprintf("more%d", i), Base: func() string { return c.Router(i).HTTP() },
			Topic: topics[i%6], More: []string{topics[(i+1)%6], topics[(i+3)%6]},
		}))
	}
	a.waitOpen(t)
	a.parked(t, c)
	for i := range 24 { // for whom there are feeds already
		a.subs = append(a.subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name: fmt.Sprintf("late%d", i), Base: func() string { return c.Router(i).HTTP() }, Topic: topics[i%6],
		}))
	}
	a.waitOpen(t)
	a.parked(t, c)
	begun := 0.0
	for _, r := range c.Running(testcluster.Router) {
		n, err := r.Metric(t.Context(), `ringside_router_greeted_total{outcome="feed"}`)
		if begun += n; err != nil {
			t.Error(err)
		}
	}
	if begun == 0 {
		t.Error("no session has begun on a feed")
	}
	eventually(t, "the gateways know for how many sessions their feeds stand", func() error {
		n := 0.0
		for _, g := range c.Running(testcluster.Gateway) {
			v, err := g.Metric(t.Context(), "ringside_gateway_sessions_shared")
			if n += v; err != nil {
				return err
			}
		}
		if n != float64(len(a.subs)) {
			return fmt.Errorf("for %v, want %d", n, len(a.subs))
		}
		return nil
	})
	tr := publishers(t, c, redis, topics, 2, 0)

	c.Gateway("g1").Kill()
	c.WaitConverged()
	a.parked(t, c)
	c.AddGateway("g4", "--heartbeat", "1s")
	c.WaitReady()
	c.WaitConverged()
	a.parked(t, c)
	c.Terminate(c.Gateway("g2"))
	a.parked(t, c)
	// A gateway that hangs.
	g3 := c.Gateway("g3")
	signal(t, g3, syscall.SIGSTOP)
	a.parked(t, c)
	signal(t, g3, syscall.SIGCONT)
	// Another process of the router.
	old := c.Router(1)
	c.Add(testcluster.NodeSpec{Role: testcluster.Router, Reuse: old, Flags: append(flags, "--takeover", socket)})
	if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit of the predecessor: got %d, %v, want 0", code, err)
	}
	c.WaitReady()
	a.parked(t, c)
	c.WaitConverged()
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
	tr.verify(t, redis.Dial(t))

	for _, s := range a.subs {
		s.Stop()
	}
	eventually(t, "gateways have counted every end", func() error {
		n := 0.0
		for _, g := range c.Running(testcluster.Gateway) {
			for _, reason := range []string{"client", "error", "at_router"} {
				v, err := g.Metric(t.Context(), `ringside_gateway_closed_total{reason="`+reason+`"}`)
				if n += v; err != nil {
					return err
				}
			}
		}
		if n < float64(len(a.subs)) {
			return fmt.Errorf("%v, want %d", n, len(a.subs))
		}
		return nil
	})
}
