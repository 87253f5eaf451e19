package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// Flags for how long a drain takes: short where the test waits for its end, endless where it must not end by
// itself.
const (
	drainWindow = "--drain-window=3s"
	drainLong   = "--drain-window=1h"
)

// state waits until a node's ring has a member in a state.
func state(t *testing.T, n *testcluster.Node, id, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is %s in the ring of %s", id, want, n.Name), func() error {
		ring, err := n.Ring(t.Context())
		if err != nil {
			return err
		}
		if m, _ := ring.Member(id); m.State != want {
			return fmt.Errorf("it is %q", m.State)
		}
		return nil
	})
}

// TestSecondSignalEndsADrain drains a gateway whose window is an hour: it turns draining, gets no new session
// and keeps those that it has; a second SIGTERM ends it.
func TestSecondSignalEndsADrain(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	leaver := c.AddGateway("g2", drainLong, "--drain-min=1")
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(20)
	a := join(t, c, redis, topics, 20)
	if held, err := leaver.Metric(t.Context(), "ringside_gateway_sessions"); err != nil || held == 0 {
		t.Fatalf("sessions of the leaver: got %v, %v, want some", held, err)
	}

	c.Terminate(leaver)
	state(t, c.Router(0), "g2", "draining")
	if err := leaver.Ready(t.Context()); err == nil {
		t.Error("a draining gateway says that it is ready")
	}
	if r, err := ask(leaver.Addr, "GET /t/late", wsHeaders); err == nil && r.Status != http.StatusServiceUnavailable {
		t.Errorf("a session at the draining gateway: got %d, want 503 or no connection", r.Status)
	}
	late := join(t, c, redis, topics, 20) // all of them find a place
	if leaver.Exited() {
		t.Fatal("it ended long before its window")
	}

	c.Terminate(leaver)
	if _, err := leaver.Wait(testcluster.Limit()); err != nil {
		t.Fatal(err)
	}
	tr := publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	for _, a := range []*audience{a, late} {
		a.verify(t)
		a.nobodyNoticed(t)
	}
}

// TestDrainByRequest drains by POST /drain at the gateway itself.
func TestDrainByRequest(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 2, drainWindow)
	topics := topicNames(20)
	a := join(t, c, redis, topics, 40)
	g1 := c.Gateway("g1")
	if r, err := g1.Post(t.Context(), "/drain", ""); err != nil || r.Status/100 != 2 {
		t.Fatalf("POST /drain: got %d %s, %v", r.Status, r.Body, err)
	}
	if code, err := g1.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit: got %d, %v, want 0", code, err)
	}
	c.WaitConverged()
	tr := publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	a.verify(t)
	a.nobodyNoticed(t)
}

// TestRouterTerminates ends a router: its clients go to the other one and miss nothing.
func TestRouterTerminates(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 2, 1, drainWindow)
	topics := topicNames(10)
	a := join(t, c, redis, topics, 20)
	tr := publishers(t, c, redis, topics, 2, 50)
	tr.wait() // later ones may talk to the router that goes
	first := c.Router(0)
	c.Terminate(first)
	if code, err := first.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit: got %d, %v, want 0", code, err)
	}
	tr = publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	a.verify(t)
}

// TestGatewayKilled kills a gateway without a word: its clients go on elsewhere and notice nothing, and the same shard can
// come back on the same addresses.
func TestGatewayKilled(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 2)
	topics := topicNames(20)
	a := join(t, c, redis, topics, 40)
	tr := publishers(t, c, redis, topics, 2, 0)
	old := c.Gateway("g1")
	old.Kill()
	c.WaitConverged()
	c.Add(testcluster.NodeSpec{Role: testcluster.Gateway, ID: "g1", Reuse: old})
	c.WaitReady()
	c.WaitConverged()
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
}

// TestGatewayStopped stops a gateway so that its connections stay and nothing comes over them: its clients go on elsewhere.
// When it wakes up it finds that they have left.
func TestGatewayStopped(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 2)
	topics := topicNames(20)
	a := join(t, c, redis, topics, 40)
	g1 := c.Gateway("g1")
	signal(t, g1, syscall.SIGSTOP)
	eventually(t, "its sessions have moved", func() error {
		held, err := c.Gateway("g2").Metric(t.Context(), "ringside_gateway_sessions")
		if err == nil && held != 40 {
			err = fmt.Errorf("g2 has %v of 40 sessions", held)
		}
		return err
	})
	tr := publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	signal(t, g1, syscall.SIGCONT)
	c.WaitConverged()
	eventually(t, "it knows that they have left, or come back", func() error {
		var sum float64
		for _, n := range c.Running(testcluster.Gateway) {
			held, err := n.Metric(t.Context(), "ringside_gateway_sessions")
			if err != nil {
				return err
			}
			sum += held
		}
		if sum != 40 {
			return fmt.Errorf("the gateways have %v sessions, want 40", sum)
		}
		return nil
	})
	tr = publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	a.verify(t)
	a.nobodyNoticed(t)
}

func signal(t *testing.T, n *testcluster.Node, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(n.PID(), s); err != nil {
		t.Fatal(err)
	}
}

// TestRollingRestarts restarts every gateway, several times in a row, under load.
func TestRollingRestarts(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	flags := []string{"--drain-min=500", "--drain-window=1s"}
	c := testcluster.New(t, redis.URL())
	for range routers {
		c.AddRouter("--settle=500ms", "--rebalance-window=1s")
	}
	for i := range 3 {
		c.AddGateway(fmt.Sprintf("g%d", i+1), flags...)
	}
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(30)
	a := join(t, c, redis, topics, 120)
	tr := publishers(t, c, redis, topics, 2, 0)
	for i := range 10 {
		old := c.Gateway(fmt.Sprintf("g%d", i%3+1))
		c.Terminate(old)
		if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
			t.Errorf("restart %d: exit: got %d, %v, want 0", i, code, err)
		}
		c.Add(testcluster.NodeSpec{Role: testcluster.Gateway, ID: old.ID, Reuse: old, Flags: flags})
		c.WaitReady()
		c.WaitConverged()
	}
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
}

// TestRouterKilled kills a router without a word: its clients come back by the other one and miss nothing.
func TestRouterKilled(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 2, 1)
	topics := topicNames(10)
	a := join(t, c, redis, topics, 20)
	tr := publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	c.Router(0).Kill()
	tr = publishers(t, c, redis, topics, 2, 50)
	tr.wait()
	a.verify(t)
}

// TestWrongSettings starts nodes that can't be right: each ends at once and names the setting.
func TestWrongSettings(t *testing.T) {
	binary := testcluster.Binary(t)
	f := func(want string, args ...string) {
		t.Helper()
		p, err := testcluster.StartProcess(args[0], binary, args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		code, err := p.Wait(testcluster.Limit())
		if err != nil || code == 0 || !strings.Contains(p.Log(), want) {
			t.Errorf("%v: got exit %d, %v, %q; want a failure that names %q", args, code, err, p.Log(), want)
		}
	}
	f("--listen", "router", "--listen", "nonsense")
	f("--id", "gateway")
	f("--redis", "router", "--redis", "http://127.0.0.1:1")
	f("--heartbeet", "gateway", "--id", "g1", "--heartbeet", "1s")
	f("--to", "publish", "--to", "nonsense", "finals", "1")
}

// TestSlotCountDisagrees has a Redis that was set up for another slot count: the nodes refuse to work and say
// so.
func TestSlotCountDisagrees(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	if _, err := redis.Dial(t).Do("SET", "ringside:slots", "64"); err != nil {
		t.Fatal(err)
	}
	addr, err := testcluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p, err := testcluster.StartProcess("gateway", testcluster.Binary(t), "gateway", "--id", "g1", "--redis", redis.URL(),
		"--listen", addr, "--admin", "127.0.0.1:0", "--gossip", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if code, err := p.Wait(testcluster.Limit()); err != nil || code == 0 || !strings.Contains(p.Log(), "slot") {
		t.Errorf("got exit %d, %v, %q; want a failure that names the slots", code, err, p.LogTail(5))
	}
}

// TestHalfOpenClient opens a connection and says nothing, or half a request: it is closed, and counted.
func TestHalfOpenClient(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	c.AddRouter("--handshake-timeout=200ms", "--dial-timeout=100ms")
	c.AddGateway("g1", "--handshake-timeout=200ms")
	c.WaitReady()
	for _, n := range c.Nodes() {
		for _, half := range []string{"GET /t/a HTTP/1.1\r\nHost: x\r\n", ""} {
			start := time.Now()
			if r, err := askRaw(n.Addr, half); err != nil {
				t.Errorf("%s, %q: %v after %v, want an end", n.Name, half, err, time.Since(start))
			} else if r != "" && !strings.HasPrefix(r, "HTTP/1.1 408") && !strings.HasPrefix(r, "HTTP/1.1 400") {
				t.Errorf("%s, %q: got %q", n.Name, half, r)
			}
		}
	}
}
