package gossip

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ringside-edge/ringside/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(settling{m}) }

// settling lets memberlist's last probes, for which its Shutdown does not wait, run into their time-outs.
type settling struct{ m *testing.M }

func (s settling) Run() int {
	code := s.m.Run()
	for range 20 {
		if goleak.Find() == nil { // it tries for about a second
			break
		}
	}
	return code
}

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
	r.vanish()
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
		start(t, gatewayMember("intruder"), []string{rs[0].Addr()}, change)
		eventually(t, reason+" is counted", func() bool {
			return testutil.ToFloat64(rs[0].metrics.rejected.WithLabelValues(reason)) > 0
		})
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

func TestStatic(t *testing.T) {
	legacy := ring.Member{ID: "legacy", Role: ring.RoleGateway, State: ring.StateActive, Addr: "10.0.0.9:80", Weight: 1, Static: true}
	n := start(t, gatewayMember("g1"), nil, func(c *Config) { c.Static = []ring.Member{legacy} })
	agree(t, 2, n)
	if m, _ := n.Ring().Member("legacy"); m != legacy {
		t.Errorf("got %+v", m)
	}
}

func TestNewRefuses(t *testing.T) {
	f := func(what, want string, cfg Config) {
		t.Helper()
		n, err := New(cfg, zap.NewNop())
		if err == nil {
			_ = n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", what, err, want)
		}
	}
	long := gatewayMember("g1")
	long.ID, long.Zone, long.Addr = strings.Repeat("i", 200), strings.Repeat("z", 200), strings.Repeat("a", 200)
	f("long metadata", "holds", Config{Bind: "127.0.0.1:0", Self: long})
	long.Zone = strings.Repeat("z", 300)
	f("a long zone", "longer than 255", Config{Bind: "127.0.0.1:0", Self: long})
	f("no ID", "ID", Config{Bind: "127.0.0.1:0"})
	f("no port", "host:port", Config{Bind: "127.0.0.1", Self: gatewayMember("g1")})
	f("a bad port", "port", Config{Bind: "127.0.0.1:http", Self: gatewayMember("g1")})
	f("a bad advertise address", "host:port", Config{Bind: "127.0.0.1:0", Advertise: "x", Self: gatewayMember("g1")})
	taken := start(t, gatewayMember("g1"), nil, nil)
	f("a port that is taken", "cannot start gossip", Config{Bind: taken.Addr(), Self: gatewayMember("g2")})
}

func TestMeta(t *testing.T) {
	m := ring.Member{ID: "g1", Role: ring.RoleGateway, State: ring.StateDraining, Addr: "[::1]:1", Admin: "x:2", Zone: "z", Weight: 7}
	b, err := encodeMeta(m, 99)
	if err != nil {
		t.Fatal(err)
	}
	got, boot, err := decodeMeta(append(b, "fields of a later version"...))
	if err != nil || got != m || boot != 99 {
		t.Errorf("got %+v, %d, %v", got, boot, err)
	}
	for i := range b {
		if _, _, err := decodeMeta(b[:i]); err == nil {
			t.Errorf("cut at %d: got no error", i)
		}
	}
	for _, i := range []int{0, 1, 2} {
		bad := append([]byte(nil), b...)
		bad[i] = 0
		if _, _, err := decodeMeta(bad); err == nil {
			t.Errorf("byte %d is 0: got no error", i)
		}
	}
	loads := []load{{"a", 1, 2}, {"b", 3, 4}}
	back := decodeLoads(appendLoads(nil, loads))
	if len(back) != 2 || back[0] != loads[0] || back[1] != loads[1] {
		t.Errorf("loads: got %+v", back)
	}
}

func FuzzDecode(f *testing.F) {
	b, _ := encodeMeta(gatewayMember("g1"), 1)
	f.Add(b)
	f.Add(appendLoads(nil, []load{{"a", 1, 2}}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = decodeMeta(b)
		_, _ = decodeLoad(b)
		_ = decodeLoads(b)
	})
}

func TestViewForgets(t *testing.T) {
	v, now := newView(), time.Unix(1763900000, 0)
	v.set(peer{name: "a", member: gatewayMember("g1")})
	v.remove("a", "addr-a", false, now)
	v.remove("b", "addr-b", true, now)
	if !v.departed("b") || v.departed("a") {
		t.Error("who has left for good: got the wrong one")
	}
	if got := v.lostAddrs(now); len(got) != 1 || got[0] != "addr-a" {
		t.Errorf("lost: got %v", got)
	}
	if got := v.lostAddrs(now.Add(keepLost + time.Second)); len(got) != 0 || v.departed("b") {
		t.Errorf("after a while: got %v lost, departed %v", got, v.departed("b"))
	}
	for i := range 2 * maxLost {
		v.remove(fmt.Sprint(i), fmt.Sprint(i), false, now)
	}
	if n := len(v.lost); n > maxLost {
		t.Errorf("lost nodes: %d are kept", n)
	}
}
