package e2e

import (
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// takeoverCluster is a router, another one that can be succeeded, two gateways, clients and traffic.
func takeoverCluster(t *testing.T, redis *testcluster.RedisServer) (c *testcluster.Cluster, socket string, a *audience, tr *traffic) {
	t.Helper()
	c = testcluster.New(t, redis.URL())
	socket = filepath.Join(t.TempDir(), "takeover")
	c.AddRouter()
	c.AddRouter("--takeover-socket", socket)
	c.AddGateway("g1")
	c.AddGateway("g2")
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(20)
	a = join(t, c, redis, topics, 60)
	return c, socket, a, publishers(t, c, redis, topics, 2, 0)
}

// TestRouterTakeover replaces a router by a new process, again and again, under load: no client notices.
func TestRouterTakeover(t *testing.T) {
	c, socket, a, tr := takeoverCluster(t, testcluster.NewRedis(t, false))
	for i := range 3 {
		old := c.Router(1)
		before, err := old.Metric(t.Context(), "ringside_router_sessions")
		if err != nil || before == 0 {
			t.Fatalf("the predecessor has %v sessions, %v", before, err)
		}
		c.Add(testcluster.NodeSpec{Role: testcluster.Router, Reuse: old, Flags: []string{"--takeover", socket, "--takeover-socket", socket}})
		if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
			t.Errorf("takeover %d: exit of the predecessor: got %d, %v, want 0", i, code, err)
		}
		c.WaitReady()
		c.WaitConverged()
		held, err := c.Router(1).Metric(t.Context(), "ringside_router_sessions")
		if err != nil || held != before {
			t.Errorf("takeover %d: the successor has %v sessions, %v, want %v", i, held, err, before)
		}
	}
	// What it has taken over can be moved.
	c.Gateway("g1").Kill()
	c.WaitConverged()
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
}

// TestRouterTakeoverBySignal replaces a router by SIGUSR2.
func TestRouterTakeoverBySignal(t *testing.T) {
	c, _, a, tr := takeoverCluster(t, testcluster.NewRedis(t, false))
	old := c.Router(1)
	signal(t, old, syscall.SIGUSR2)
	if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit of the predecessor: got %d, %v, want 0", code, err)
	}
	m := regexp.MustCompile(`"started a successor","pid":(\d+)`).FindStringSubmatch(old.Log())
	if m == nil {
		t.Fatal("the predecessor does not name its successor")
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }() // started by our router: nobody else ends it
	if err := old.Ready(t.Context()); err != nil {            // at the same address
		t.Errorf("the successor: %v", err)
	}
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
}

// TestRouterTakeoverFails has successors that can't succeed: the router goes on, with its sessions and its ports.
func TestRouterTakeoverFails(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c, socket, a, tr := takeoverCluster(t, redis)
	old := c.Router(1)
	for _, bad := range [][]string{
		{"--redis", "redis://127.0.0.1:1", "--secret", "another secret, so that it finds no gateway", "--max-sessions", "1000000"},
		{"--gossip", "192.0.2.1:7946"},
	} {
		args := append([]string{"router", "--listen", old.Addr, "--admin", old.Admin, "--gossip", old.Gossip, "--takeover", socket}, bad...)
		p, err := testcluster.StartProcess("bad successor", testcluster.Binary(t), args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		if code, err := p.Wait(testcluster.Limit()); code == 0 || err != nil {
			t.Errorf("exit of a successor with %v: got %d, %v", bad, code, err)
		}
		c.WaitReady()
		c.WaitConverged()
	}
	tr.end()
	late := join(t, c, redis, topicNames(20), 20)
	tr = publishers(t, c, redis, topicNames(20), 2, 50)
	tr.wait()
	for _, a := range []*audience{a, late} {
		a.verify(t)
		a.nobodyNoticed(t)
	}
}
