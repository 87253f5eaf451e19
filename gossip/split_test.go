package gossip

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringside-edge/ringside/ring"
)

// simulate runs a test in simulated time, on one P: all timers of a bubble share one context of the race detector, which
// Go 1.26 uses from several threads at once when it can, and then dies of a SIGSEGV.
func simulate(t *testing.T, f func(t *testing.T, s *simNet)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		// Time stops with the test: memberlist's last probes, for which its Shutdown does not wait, must end before.
		t.Cleanup(func() { <-time.After(time.Minute) })
		f(t, newSimNet())
	})
}

func TestSplitHeals(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 2, 4)
		here, there := rs[1:4], append([]*runner{rs[0]}, rs[4:]...)
		for _, length := range []time.Duration{25 * time.Second, 30 * time.Minute} {
			s.split(here...)
			simAgree(t, 3, 2, here...)
			simAgree(t, 3, 2, there...)
			<-time.After(length)
			s.split()
			simAgree(t, 6, 4, rs...)
		}
		still(t, 5*time.Minute, rs...)
		for _, r := range rs {
			if n := r.view.lostSize(); n != 0 {
				t.Errorf("%s still looks for %d nodes", r.cfg.Self.ID, n)
			}
		}
	})
}

func TestSplitHealsWithoutItsSeeds(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 1, 4)
		rs[0].stop() // the only seed of all
		rs = rs[1:]
		simAgree(t, 4, 4, rs...)
		s.split(rs[0], rs[1])
		simAgree(t, 2, 2, rs[:2]...)
		simAgree(t, 2, 2, rs[2:]...)
		<-time.After(5 * time.Minute)
		s.split()
		simAgree(t, 4, 4, rs...)
	})
}

func TestALossyNetworkChangesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 2, 5)
		s.mu.Lock()
		s.loss = 0.1
		s.mu.Unlock()
		still(t, 10*time.Minute, rs...)
		rs[3].SetState(ring.StateDraining)
		simAgree(t, 7, 4, rs...)
	})
}

// TestDepartedStaysAway lets somebody who has slept through a leave tell of the departed node, long after memberlist has
// forgotten it.
func TestDepartedStaysAway(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 1, 3)
		mc := memberlist.DefaultLANConfig()
		mc.Name, mc.Label, mc.Transport = "sleeper", "ringside", s.host("10.0.3.1:7946")
		mc.ProbeInterval, mc.PushPullInterval, mc.GossipInterval = 0, 0, 0
		mc.LogOutput = t.Output()
		sleeper, err := memberlist.Create(mc)
		if err != nil {
			t.Fatal(err)
		}
		defer sleeper.Shutdown()
		if _, err := sleeper.Join([]string{rs[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		s.split(&runner{Node: &Node{addr: "10.0.3.1:7946"}})
		rs[1].stop()
		rs = append(rs[:1:1], rs[2:]...)
		simAgree(t, 3, 2, rs...)
		<-time.After(5 * time.Minute)
		s.split()
		if len(sleeper.Members()) != 5 {
			t.Fatalf("the sleeper knows %d nodes, want 5: it should have slept through the leave", len(sleeper.Members()))
		}
		if _, err := sleeper.Join([]string{rs[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		still(t, time.Minute, rs...)
		if rs[0].metrics.ghosts.Load() == 0 {
			t.Error("no ghost was seen: the test shows nothing")
		}
	})
}

func TestReturnUnderTheSameID(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 1, 2)
		f := func(addr string, shard string) {
			t.Helper()
			rs[2].crash()
			m := gatewayMember("g2")
			m.Addr = shard
			rs[2] = s.start(t, addr, m, "10.0.1.1:7946")
			simEventually(t, "the later boot is seen", func() bool {
				got, _ := rs[0].Ring().Member("g2")
				return got.Addr == shard && got.Gossip == addr
			})
			for range 600 { // and the death of the earlier one takes nothing away
				<-time.After(100 * time.Millisecond)
				if got, _ := rs[0].Ring().Member("g2"); got.Addr != shard || len(rs[0].Ring().Shards()) != 2 {
					t.Fatalf("back at %s: got %+v", addr, got)
				}
			}
			simAgree(t, 3, 2, rs...)
			if n := rs[0].view.size(); n != 2 {
				t.Errorf("back at %s: the router knows %d others, want 2", addr, n)
			}
			if n := rs[0].view.lostSize(); n != 0 {
				t.Errorf("back at %s: the router looks for %d nodes, want none", addr, n)
			}
		}
		f("10.0.2.77:7946", "10.0.2.77:80") // on another address
		f("10.0.2.77:7947", "10.0.2.77:81") // on another port
		f("10.0.2.77:7947", "10.0.2.77:82") // where it was
		for _, r := range rs {
			if n := r.logs.FilterMessageSnippet("same ID").Len(); n != 0 {
				t.Errorf("%s takes a restart for two nodes with one ID", r.cfg.Self.ID)
			}
		}
	})
}

func TestTwoLiveNodesWithOneID(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 1, 2)
		m := gatewayMember("g1")
		m.Addr = "10.0.2.99:80"
		rs = append(rs, s.start(t, "10.0.2.99:7946", m, "10.0.1.1:7946"))
		for _, r := range rs {
			simEventually(t, "all have the later one", func() bool {
				got, _ := r.Ring().Member("g1")
				return got.Addr == m.Addr
			})
		}
		simAgree(t, 3, 2, rs...)
		still(t, 10*time.Minute, rs...)
		for _, r := range rs {
			if n := testutil.ToFloat64(onlyMetric{r.Node, descReplaced}); n != 1 {
				t.Errorf("%s: replaced members: got %v, want 1", r.cfg.Self.ID, n)
			}
			want := "two live nodes have the same ID"
			if r == rs[1] {
				want = "replaces it"
			}
			if n := r.logs.FilterMessageSnippet(want).Len(); n != 1 {
				t.Errorf("%s says %d times %q, want once", r.cfg.Self.Addr, n, want)
			}
		}
		rs[3].stop() // and when the later one has left, the earlier one is there again
		simEventually(t, "the earlier one counts again", func() bool {
			got, _ := rs[0].Ring().Member("g1")
			return got.Gossip == rs[1].Addr()
		})
	})
}

func TestSeedsAreResolvedAnew(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		setName := func(ips ...string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.names["seeds.example"] = nil
			for _, ip := range ips {
				s.names["seeds.example"] = append(s.names["seeds.example"], netip.MustParseAddr(ip))
			}
		}
		errors := func(r *runner, reason string) int {
			return int(testutil.ToFloat64(r.metrics.joinErrors.WithLabelValues(reason)))
		}
		a := s.start(t, "10.0.1.1:7946", gatewayMember("g1"))
		b := s.start(t, "10.0.2.1:7946", gatewayMember("g2"), "seeds.example:7946")
		simEventually(t, "a name without an address is counted", func() bool { return errors(b, joinResolve) > 2 })
		setName("10.0.9.9")
		simEventually(t, "an address without a node is counted", func() bool { return errors(b, joinRefused) > 2 })
		setName("10.0.2.1") // itself: a name that stands for all nodes starts that way
		<-time.After(time.Minute)
		setName("10.0.2.1", "10.0.1.1")
		simAgree(t, 2, 2, a, b)
		for _, what := range []string{"cannot resolve a seed", "no seed answers"} {
			if n := b.logs.FilterMessageSnippet(what).Len(); n != 1 {
				t.Errorf("%q was said %d times, want once", what, n)
			}
		}
	})
}

// TestMembersAreNotJoinedAgain: the rounds must not grow with the cluster, only with what is missing.
func TestMembersAreNotJoinedAgain(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 1, 3)
		for _, r := range rs {
			if got := r.targets(t.Context()); len(got) != 0 {
				t.Errorf("%s would join %v", r.cfg.Self.ID, got)
			}
		}
		rs[3].crash()
		simAgree(t, 3, 2, rs[:3]...)
		if got := rs[0].targets(t.Context()); len(got) != 1 || got[0] != rs[3].Addr() {
			t.Errorf("after a crash: got %v, want the lost node", got)
		}
	})
}

func TestStopIsNotHeldUp(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		var seeds []string
		for i := range 50 {
			seeds = append(seeds, fmt.Sprintf("10.0.9.%d:7946", i))
		}
		s.cut = func(string, string) bool { return true }
		r := s.start(t, "10.0.2.1:7946", gatewayMember("g1"), seeds...)
		<-time.After(50 * time.Millisecond)
		begin := time.Now()
		r.stop()
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("with seeds that don't answer it took %v to stop", d)
		}
		if n := testutil.ToFloat64(r.metrics.joinErrors.WithLabelValues(joinTimeout)); n != maxJoins {
			t.Errorf("got %v time-outs, want those of %d joins", n, maxJoins)
		}
	})
}

func TestLeaveWhileRunEnds(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 1, 1)
		done := make(chan error)
		go func() { done <- rs[1].Leave(context.Background()) }()
		synctest.Wait() // it waits for its word to go out
		rs[1].stop()    // memberlist panics on a leave after the shutdown
		if err := <-done; err != nil {
			t.Errorf("Leave: %v", err)
		}
		if err := rs[1].Leave(t.Context()); err != nil {
			t.Errorf("Leave again: %v", err)
		}
		rs[1].SetState(ring.StateActive)
		if m, _ := rs[1].Ring().Member("g1"); m.State != ring.StateLeft {
			t.Errorf("state after the leave: got %v", m.State)
		}
		simAgree(t, 1, 0, rs[0])
	})
}

func TestLeaveWithoutTime(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 1, 1)
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		begin := time.Now()
		_ = rs[1].Leave(ctx)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("past its deadline it took %v", d)
		}
	})
}

func TestLoadsAreToldOnceASecond(t *testing.T) {
	simulate(t, func(t *testing.T, s *simNet) {
		rs := s.cluster(t, 1, 12)
		told := func() (n uint64) {
			rs[1].mu.Lock()
			defer rs[1].mu.Unlock()
			return rs[1].load.told
		}
		news := 0
		for last, i := uint64(0), 0; i < 1000; i++ { // ten seconds
			rs[1].SetLoad(uint64(i))
			if now := told(); now != last {
				last = now
				news++
			}
			<-time.After(10 * time.Millisecond)
		}
		if news < 5 || news > 11 {
			t.Errorf("told %d times within 10 s, want about 10", news)
		}
		simEventually(t, "the last one is told", func() bool { return told() == 1000 })
		rs[1].SetLoad(999)
		<-time.After(5 * time.Second)
		if n := told(); n != 1000 {
			t.Errorf("what has not changed was told as number %d", n)
		}
		for _, r := range rs { // more of them than the one that it concerns tells; whom nobody has told learns it by a full exchange
			simEventually(t, r.cfg.Self.ID+" knows the load of g1", func() bool {
				m, _ := r.Ring().Member("g1")
				return m.Load == 999
			})
		}
	})
}
