// Package testcluster runs Ringside as it will be run: the built binary, routers and gateways as processes
// of their own with ports of their own, and a real redis-server. On top of that it has subscribers that behave
// like good clients, publishers that use no code of ours, and a checker that compares what every subscriber
// saw with what stands in Redis.
//
// Redis can be had in every way that it is run in: alone with any [RedisOptions], with sentinels ([NewSentinel]) and as a
// cluster ([NewRedisCluster]); each can be broken on purpose.
//
// It is for tests and for the benchmark. It decides nothing about what is right beyond delivery: each message
// once, in order.
package testcluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// secret is what the nodes of the tests share.
const secret = "no secret at all, for tests only"

// tailLines is how much of each process's output a failed test shows.
const tailLines = 25

// Cluster is a set of nodes that gossip with each other. It belongs to one test and ends with it.
type Cluster struct {
	Redis string // redis://host:port

	t testing.TB

	mu    sync.Mutex
	nodes []*Node // guarded by mu; those that have ended too
}

// New makes a cluster without nodes on the Redis server at the given URL.
func New(t testing.TB, redis string) *Cluster {
	c := &Cluster{Redis: redis, t: t}
	t.Cleanup(c.end)
	return c
}

// Start makes a cluster of routers and gateways g1, g2, … and waits until all of them are ready and agree on
// the ring.
func Start(t testing.TB, redis string, routers, gateways int, flags ...string) *Cluster {
	t.Helper()
	c := New(t, redis)
	c.AddRouter(flags...)
	var wg sync.WaitGroup
	for range routers - 1 {
		wg.Go(func() { c.AddRouter(flags...) })
	}
	for i := range gateways {
		wg.Go(func() { c.AddGateway(fmt.Sprintf("g%d", i+1), flags...) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	c.WaitReady()
	c.WaitConverged()
	return c
}

// end kills what still runs and shows the end of every log when the test has failed.
func (c *Cluster) end() {
	for _, n := range c.Nodes() {
		n.Kill()
		if fault := n.Faults(); fault != "" {
			c.t.Errorf("%s: %s", n.Name, fault)
		}
		if c.t.Failed() {
			c.t.Logf("---- the last lines of %s (pid %d, %v)\n%s", n.Name, n.PID(), n.Args()[1:], n.LogTail(tailLines))
		}
	}
}

// AddRouter starts a router and waits until it answers, not until it is ready.
func (c *Cluster) AddRouter(flags ...string) *Node {
	c.t.Helper()
	return c.Add(NodeSpec{Role: Router, Flags: flags})
}

// AddGateway starts a gateway and waits until it answers, not until it is ready.
func (c *Cluster) AddGateway(id string, flags ...string) *Node {
	c.t.Helper()
	return c.Add(NodeSpec{Role: Gateway, ID: id, Flags: flags})
}

// Add starts a node of this cluster; binary, Redis and a node to join are filled in when empty.
func (c *Cluster) Add(spec NodeSpec) *Node {
	c.t.Helper()
	if spec.Binary == "" {
		spec.Binary = Binary(c.t)
	}
	if !slices.ContainsFunc(spec.Flags, func(f string) bool { return strings.HasPrefix(f, "--secret") }) {
		spec.Flags = append([]string{"--secret", secret}, spec.Flags...)
	}
	if spec.Redis == "" {
		spec.Redis = c.Redis
	}
	for _, n := range c.Nodes() {
		if !n.Exited() && spec.Join == "" {
			spec.Join = n.Gossip
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), Limit())
	defer cancel()
	n, err := StartNode(ctx, spec)
	if err != nil {
		c.t.Error(err)
		runtime.Goexit() // not Fatal: Start calls this on goroutines of its own
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, n)
	return n
}

// Nodes are all nodes that were started.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Node(nil), c.nodes...)
}

// Running are the nodes of a role that have not ended.
func (c *Cluster) Running(role string) []*Node {
	var list []*Node
	for _, n := range c.Nodes() {
		if n.Role == role && !n.Exited() {
			list = append(list, n)
		}
	}
	return list
}

// Router is the i-th of the running routers, counted round.
func (c *Cluster) Router(i int) *Node {
	list := c.Running(Router)
	return list[i%len(list)]
}

// Gateway is the gateway with that ID which was started last.
func (c *Cluster) Gateway(id string) *Node {
	var found *Node
	for _, n := range c.Nodes() {
		if n.ID == id {
			found = n
		}
	}
	return found
}

// WaitReady waits until every running node is ready.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	Eventually(c.t, "all nodes ready", func() error {
		var errs []error
		for _, n := range c.Nodes() {
			if !n.Exited() {
				errs = append(errs, n.Ready(context.Background()))
			}
		}
		return errors.Join(errs...)
	})
}

// WaitConverged waits until every running node has the same ring and exactly the running gateways are active
// in it.
func (c *Cluster) WaitConverged() {
	c.t.Helper()
	Eventually(c.t, "all nodes agree", func() error {
		version := ""
		for _, n := range c.Nodes() {
			if n.Exited() {
				continue
			}
			ring, err := n.Ring(context.Background())
			if err != nil {
				return err
			}
			if version == "" {
				version = ring.Version
			}
			if ring.Version != version {
				return fmt.Errorf("%s has ring %s, others %s", n.Name, ring.Version, version)
			}
			if err := c.complete(ring); err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
		}
		return nil
	})
}

// complete says which running gateway is not active in the ring, or which active one has ended.
func (c *Cluster) complete(ring Ring) error {
	running := map[string]bool{}
	for _, n := range c.Running(Gateway) {
		running[n.ID] = true
	}
	for _, n := range c.Nodes() {
		if n.Role != Gateway {
			continue
		}
		m, _ := ring.Member(n.ID)
		if active := m.State == "active"; active != running[n.ID] {
			return fmt.Errorf("%s is %q; it runs: %v", n.ID, m.State, running[n.ID])
		}
	}
	return nil
}

// Terminate sends SIGTERM.
func (c *Cluster) Terminate(n *Node) {
	c.t.Helper()
	if err := n.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatalf("cannot signal %s: %v", n.Name, err)
	}
}
