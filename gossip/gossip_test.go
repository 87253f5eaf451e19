package gossip

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/ring"
)

// memberlist's Shutdown does not wait for its last probes, which run into their time-outs.
func TestMain(m *testing.M) { goleak.VerifyTestMain(testcluster.Settling(m)) }

// runner is a node that runs.
type runner struct {
	*Node
	stop func() // ends Run, as a process that leaves
	logs *observer.ObservedLogs
}

func gatewayMember(id string) ring.Member {
	return ring.Member{ID: id, Role: ring.RoleGateway, State: ring.StateActive, Addr: "127.0.0.1:9101", Admin: "127.0.0.1:9201", Weight: 1}
}

// start runs a node on loopback until the test ends.
func start(t *testing.T, self ring.Member, join []string, change func(*Config)) *runner {
	t.Helper()
	cfg := Config{Bind: "127.0.0.1:0", Join: join, Secret: "a secret of the tests", Self: self}
	if change != nil {
		change(&cfg)
	}
	core, logs := observer.New(zap.InfoLevel)
	n, err := New(cfg, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r := &runner{Node: n, logs: logs}
	stopped := false
	r.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(r.stop)
	return r
}

// crash ends the node without a word to anybody.
func (r *runner) crash() {
	r.Vanish()
	r.stop()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never came true: %s", what)
		}
	}
}

// agree waits until all nodes have a ring of n shards, and the same.
func agree(t *testing.T, n int, nodes ...*runner) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d nodes agree on %d shards", len(nodes), n), func() bool {
		for _, r := range nodes {
			if len(r.Ring().Shards()) != n || r.Ring().Version() != nodes[0].Ring().Version() {
				return false
			}
		}
		return true
	})
}

// cluster starts a router and n gateways.
func cluster(t *testing.T, n int) []*runner {
	t.Helper()
	rs := []*runner{start(t, ring.Member{ID: "r1", Role: ring.RoleRouter, State: ring.StateActive, Addr: "127.0.0.1:8080", Weight: 1}, nil, nil)}
	for i := range n {
		rs = append(rs, start(t, gatewayMember(fmt.Sprintf("g%d", i+1)), []string{rs[0].Addr()}, nil))
	}
	agree(t, n, rs...)
	return rs
}

func TestConvergeJoinAndLeave(t *testing.T) {
	rs := cluster(t, 4)
	m, ok := rs[0].Ring().Member("g3")
	want := gatewayMember("g3")
	want.Gossip = rs[3].Addr()
	if !ok || m != want {
		t.Errorf("g3 as the router sees it: got %+v, want %+v", m, want)
	}
	rs = append(rs, start(t, gatewayMember("g5"), []string{rs[2].Addr()}, nil))
	agree(t, 5, rs...)
	if err := rs[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	agree(t, 4, append(rs[2:], rs[0])...)
	rs[1].stop()
	rs[2].stop() // Run's end leaves as well
	agree(t, 3, append(rs[3:], rs[0])...)
}

func TestCrash(t *testing.T) {
	rs := cluster(t, 3)
	rs[3].crash()
	agree(t, 2, rs[:3]...)
	if lost := rs[0].view.lostAddrs(time.Now()); len(lost) != 1 {
		t.Errorf("lost nodes: got %v, want the crashed one", lost)
	}
}

func TestStatesSpread(t *testing.T) {
	rs := cluster(t, 3)
	changed, cancel := rs[0].Changed()
	defer cancel()
	rs[2].SetState(ring.StateDraining)
	if m, _ := rs[2].Ring().Member("g2"); m.State != ring.StateDraining {
		t.Errorf("one's own state: got %v", m.State)
	}
	agree(t, 2, rs...)
	<-changed
	m, _ := rs[0].Ring().Member("g2")
	if m.State != ring.StateDraining {
		t.Errorf("the draining one: got %+v", m)
	}
	rs[2].SetState(ring.StateActive)
	agree(t, 3, rs...)
}

func TestLoadsSpread(t *testing.T) {
	rs := cluster(t, 2)
	version := rs[0].Ring().Version()
	changed, cancel := rs[0].Changed()
	defer cancel()
	rs[1].SetLoad(17)
	rs[2].SetLoad(4)
	load := func(r *runner, id string) uint64 {
		m, _ := r.Ring().Member(id)
		return m.Load
	}
	for _, r := range rs {
		eventually(t, "loads are known", func() bool { return load(r, "g1") == 17 && load(r, "g2") == 4 })
	}
	rs[1].SetLoad(0)
	eventually(t, "a load can fall", func() bool { return load(rs[0], "g1") == 0 })
	if v := rs[0].Ring().Version(); v != version {
		t.Error("a load changes the ring's version")
	}
	select {
	case <-changed:
		t.Error("a load is told as a change of the membership")
	default:
	}
	// One that comes later learns them at once, with the full state.
	late := start(t, gatewayMember("g3"), []string{rs[0].Addr()}, nil)
	eventually(t, "a newcomer knows the loads", func() bool { return load(late, "g2") == 4 })
}

func TestAnotherSecretOrClusterIsRefused(t *testing.T) {
	rs := cluster(t, 1)
	f := func(reason string, change func(*Config)) {
		t.Helper()
		intruder := start(t, gatewayMember("intruder"), []string{rs[0].Addr()}, change)
		eventually(t, reason+" is counted", func() bool {
			return testutil.ToFloat64(rs[0].metrics.rejected.WithLabelValues(reason)) > 0
		})
		eventually(t, "the intruder is not ready", func() bool { return intruder.Ready() != nil })
		if n := intruder.logs.FilterMessageSnippet("the seeds don't take this node").Len(); n != 1 {
			t.Errorf("another %s: %d clear lines of the intruder, want 1", reason, n)
		}
		if err := rs[0].Ready(); err != nil {
			t.Errorf("another %s: who refuses is not ready: %v", reason, err)
		}
		if _, ok := rs[0].Ring().Member("intruder"); ok {
			t.Errorf("another %s: it was let in", reason)
		}
		if rs[0].logs.FilterMessageSnippet("another "+reason).Len() != 1 {
			t.Errorf("another %s: no clear line", reason)
		}
	}
	f("secret", func(c *Config) { c.Secret = "another secret" })
	f("secret", func(c *Config) { c.Secret = "" })
	f("cluster", func(c *Config) { c.Cluster = "another" })
}

// TestSecretIsRotated walks through a rotation: the new secret is accepted everywhere, then used, then the old one goes.
func TestSecretIsRotated(t *testing.T) {
	const before, after = "the secret before", "the secret after"
	secrets := func(secret string, accept ...string) func(*Config) {
		return func(c *Config) { c.Secret, c.Accept = secret, accept }
	}
	a := start(t, gatewayMember("g1"), nil, secrets(before, after))
	b := start(t, gatewayMember("g2"), []string{a.Addr()}, secrets(before, after))
	agree(t, 2, a, b)
	c := start(t, gatewayMember("g3"), []string{a.Addr()}, secrets(after, before))
	agree(t, 3, a, b, c)
	b.stop()
	d := start(t, gatewayMember("g4"), []string{c.Addr()}, secrets(after, before))
	agree(t, 3, a, c, d)
	a.stop()
	e := start(t, gatewayMember("g5"), []string{c.Addr()}, secrets(after))
	agree(t, 3, c, d, e)
	old := start(t, gatewayMember("g6"), []string{e.Addr()}, secrets(before))
	eventually(t, "the old secret alone is refused", func() bool {
		return testutil.ToFloat64(e.metrics.rejected.WithLabelValues("secret")) > 0 &&
			testutil.ToFloat64(old.metrics.joinErrors.WithLabelValues(joinSecret)) > 0
	})
	agree(t, 3, c, d, e)
}

// TestAddrWhileTheStateChanges has something to say under the race detector: memberlist writes to the node that it
// hands out.
func TestAddrWhileTheStateChanges(t *testing.T) {
	n := start(t, gatewayMember("g1"), nil, nil)
	addr := n.Addr()
	done := make(chan error)
	go func() {
		var err error
		for range 1000 {
			err = errors.Join(err, n.update(time.Second))
		}
		done <- err
	}()
	for range 1000 {
		if got := n.Addr(); got != addr {
			t.Fatalf("got %s, want %s", got, addr)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestStatic(t *testing.T) {
	legacy := ring.Member{ID: "legacy", Role: ring.RoleGateway, State: ring.StateActive, Addr: "10.0.0.9:80", Weight: 1, Static: true}
	n := start(t, gatewayMember("g1"), nil, func(c *Config) { c.Static = []ring.Member{legacy} })
	agree(t, 2, n)
	if m, _ := n.Ring().Member("legacy"); m != legacy {
		t.Errorf("got %+v", m)
	}
}
