package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// sees waits until every subscriber that is told of freshness has heard that its topic is stale, or is not.
func sees(t *testing.T, a *audience, stale bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("all clients see stale: %v", stale), func() error {
		var errs []error
		for _, s := range a.subs {
			if s.Protocol() == testcluster.Raw {
				continue
			}
			if f := s.Freshness(); f.Stale != stale || f.AsOf == 0 {
				errs = append(errs, fmt.Errorf("%v: %+v", s, f))
			}
		}
		return errors.Join(errs...)
	})
}

// A Redis that hangs shows at every connected client, and at nobody who would like to come; nobody is sent away, and it clears by
// itself.
func TestStoppedRedisIsStale(t *testing.T) {
	redis := testcluster.NewRedis(t, true)
	c := testcluster.Start(t, redis.URL(), 1, 2)
	topics := topicNames(10)
	a := join(t, c, redis, topics, 30)
	if err := redis.Pause(); err != nil {
		t.Fatal(err)
	}
	sees(t, a, true)
	eventually(t, "a gateway is not ready", func() error {
		if err := c.Gateway("g1").Ready(t.Context()); err == nil {
			return errors.New("it is")
		}
		return nil
	})
	if r, err := ask(c.Router(0).Addr, "GET /t/"+topics[0], wsHeaders); err != nil || r.Status != http.StatusServiceUnavailable {
		t.Errorf("a new session: got %+v, %v, want 503", r, err)
	}
	if err := redis.Resume(); err != nil {
		t.Fatal(err)
	}
	sees(t, a, false)
	c.WaitReady()
	tr := publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	a.verify(t)
	a.nobodyNoticed(t)
}

// A gateway whose tails are stuck, while Redis and everybody else are well, tells its clients, and then has them taken over by one
// that gets on. They miss nothing.
func TestStuckTailsAreLeft(t *testing.T) {
	dir := t.TempDir()
	faulty, err := testcluster.Build(dir, testcluster.Race, "fault")
	if err != nil {
		t.Fatal(err)
	}
	stall := filepath.Join(dir, "stall")
	redis := testcluster.NewRedis(t, true)
	c := testcluster.New(t, redis.URL())
	c.AddRouter()
	c.Add(testcluster.NodeSpec{Role: testcluster.Gateway, ID: "g1", Binary: faulty, Env: []string{"RINGSIDE_FAULT_STALL=" + stall}})
	c.AddGateway("g2")
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(20)
	a := join(t, c, redis, topics, 40)
	held := func(id string) float64 {
		n, err := c.Gateway(id).Metric(t.Context(), "ringside_gateway_sessions")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if held("g1") == 0 || held("g2") == 0 {
		t.Fatalf("sessions: got %v and %v, want some at each", held("g1"), held("g2"))
	}
	if err := os.WriteFile(stall, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tr := publishers(t, c, redis, topics, 2, 50)
	eventually(t, "all sessions are at the other gateway", func() error {
		if n := held("g1"); n > 0 {
			return fmt.Errorf("%v are left", n)
		}
		return nil
	})
	if err := c.Gateway("g1").Ready(t.Context()); err == nil {
		t.Error("the gateway with stuck tails is ready")
	}
	tr.wait()
	a.verify(t)
	if err := os.Remove(stall); err != nil {
		t.Fatal(err)
	}
	c.WaitReady()
	publishers(t, c, redis, topics, 2, 20).wait()
	a.verify(t)
	a.nobodyNoticed(t)
}
