package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestRedisAwayAtStart starts the nodes first: they live, say that they are not ready and why, refuse in good
// form, and begin to work when Redis comes.
func TestRedisAwayAtStart(t *testing.T) {
	addr, err := testcluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	redis := &testcluster.RedisServer{Addr: addr, Dir: t.TempDir()}
	c := testcluster.New(t, redis.URL())
	c.AddRouter()
	c.AddGateway("g1")
	for _, n := range c.Nodes() {
		if err := n.Ready(t.Context()); err == nil {
			t.Errorf("%s: ready without Redis", n.Name)
		}
		if r, err := n.Get(t.Context(), "/healthz"); err != nil || r.Status != http.StatusOK {
			t.Errorf("%s: /healthz: got %d, %v, want 200", n.Name, r.Status, err)
		}
		_, err := publish(n, "finals", `1`, "")
		if status := (statusError{}); !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: publish: got %v, want 503", n.Name, err)
		}
	}
	r, err := ask(c.Router(0).Addr, "GET /t/finals", wsHeaders)
	if err != nil || r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("a session without a shard: got %d %v, %v, want 503 with Retry-After", r.Status, r.Header, err)
	}

	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redis.Kill)
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(10)
	a := join(t, c, redis, topics, 20)
	tr := publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	a.verify(t)
}

// TestRedisRestart kills Redis under load and starts it again: sessions stay, publishes are refused meanwhile,
// and nothing that was acknowledged is lost.
func TestRedisRestart(t *testing.T) {
	redis := testcluster.NewRedis(t, true)
	c := testcluster.Start(t, redis.URL(), 1, 2)
	topics := topicNames(20)
	a := join(t, c, redis, topics, 60)
	tr := publishers(t, c, redis, topics, 2, 100)
	tr.wait()

	redis.Kill()
	away := 0
	for _, n := range c.Nodes() {
		eventually(t, n.Name+" refuses to publish", func() error {
			away++ // it may have been applied, and is then as good as any other
			_, err := publish(n, topics[0], fmt.Sprintf(`{"away":%d}`, away), "")
			if status := (statusError{}); !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
				return fmt.Errorf("got %v, want 503", err)
			}
			return nil
		})
		eventually(t, n.Name+" says so", func() error {
			if n.Ready(context.Background()) == nil {
				return errors.New("still ready")
			}
			return nil
		})
	}
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.redis = redis.Dial(t)
	c.WaitReady()
	again := publishers(t, c, redis, topics, 2, 100)
	again.wait()
	a.verify(t)
	tr.verify(t, a.redis)
	again.verify(t, a.redis)
	for _, s := range a.subs {
		if s.Connections() != 1 {
			t.Errorf("%v: got %d connections, want 1: %v", s, s.Connections(), s.Closes())
		}
	}
}
