package testcluster

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// clusterMasters is how many nodes share the hash slots; each has one replica.
const clusterMasters = 3

// hashSlots is how many a Redis Cluster has.
const hashSlots = 16384

// RedisCluster is a Redis Cluster of three masters with a replica each. A master that is silent for a second is replaced.
type RedisCluster struct {
	Servers []*RedisServer // masters to begin with, then their replicas in the same order
}

// NewRedisCluster starts a cluster and waits until all its nodes take it for well.
func NewRedisCluster(t testing.TB) *RedisCluster {
	t.Helper()
	c := &RedisCluster{}
	for range 2 * clusterMasters {
		c.Servers = append(c.Servers, NewRedisWith(t, RedisOptions{cluster: true, Config: []string{
			"cluster-node-timeout 1000",
			"cluster-replica-validity-factor 0", // a replica that was cut off is promoted nevertheless
			"cluster-migration-barrier 10",      // and stays with its master
		}}))
	}
	for i, s := range c.Servers {
		s.Do(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if i < clusterMasters {
			first, last := i*hashSlots/clusterMasters, (i+1)*hashSlots/clusterMasters-1
			s.Do(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		}
		for _, other := range c.Servers[:i] {
			host, port, _ := net.SplitHostPort(other.Addr)
			_, bus, _ := net.SplitHostPort(other.Bus)
			s.Do(t, "CLUSTER", "MEET", host, port, bus)
		}
	}
	for i, s := range c.Servers[clusterMasters:] {
		master := c.id(t, c.Servers[i])
		Eventually(t, "a replica that knows its master", func() error {
			_, err := s.ask("CLUSTER", "REPLICATE", master)
			return err
		})
	}
	c.WaitOK(t)
	for i, s := range c.Servers[clusterMasters:] {
		c.Servers[i].WaitReplicas(t, s)
	}
	return c
}

// URL is the address as the flags take it.
func (c *RedisCluster) URL() string { return "redis-cluster://" + addrs(c.Servers) }

// WaitOK waits until all nodes that run take the cluster for well, and each other for what they are.
func (c *RedisCluster) WaitOK(t testing.TB) {
	t.Helper()
	Eventually(t, "a cluster that is well", func() error {
		for _, s := range running(c.Servers) {
			if err := c.well(s); err != nil {
				return err
			}
		}
		return nil
	})
}

// well says what a node thinks is wrong with the cluster.
func (c *RedisCluster) well(s *RedisServer) error {
	v, err := s.ask("CLUSTER", "INFO")
	if err != nil {
		return err
	}
	if state := fields(v)["cluster_state"]; state != "ok" {
		return fmt.Errorf("%s: the cluster's state is %s", s.Addr, state)
	}
	nodes, err := s.clusterNodes()
	if err != nil {
		return err
	}
	replicas := 0
	for _, other := range running(c.Servers) {
		n, ok := nodes[other.Addr]
		if !ok || !n.alive() {
			return fmt.Errorf("%s sees %s as %v", s.Addr, other.Addr, n.flags)
		}
		if n.master != "" {
			replicas++
		}
	}
	if want := len(running(c.Servers)) - clusterMasters; replicas < want {
		return fmt.Errorf("%s sees %d replicas, want %d", s.Addr, replicas, want)
	}
	return nil
}

// Replica is the replica of a master that runs. It waits until there is one.
func (c *RedisCluster) Replica(t testing.TB, master *RedisServer) *RedisServer {
	t.Helper()
	id := c.id(t, master)
	var replica *RedisServer
	Eventually(t, "a replica of "+master.Addr, func() error {
		nodes, err := master.clusterNodes()
		if err != nil {
			return err
		}
		for _, s := range running(c.Servers) {
			if n := nodes[s.Addr]; n.master == id && n.alive() {
				replica = s
				return nil
			}
		}
		return fmt.Errorf("none among %v", nodes)
	})
	return replica
}

// KillMaster kills a master and waits until its replica has taken its place and the cluster is well again. After
// [RedisServer.Revive] the old one becomes its replica. To lose a tail, [RedisServer.CutReplicas] and write before.
func (c *RedisCluster) KillMaster(t testing.TB, master *RedisServer) (promoted *RedisServer) {
	t.Helper()
	promoted = c.Replica(t, master)
	master.Kill()
	Eventually(t, "a promoted replica", func() error {
		for _, s := range running(c.Servers) {
			nodes, err := s.clusterNodes()
			if err != nil {
				return err
			}
			if n := nodes[promoted.Addr]; n.master != "" || len(n.slots) == 0 {
				return fmt.Errorf("%s sees %s as %v", s.Addr, promoted.Addr, n)
			}
		}
		return nil
	})
	c.WaitOK(t)
	return promoted
}

// id is a node's name in the cluster.
func (c *RedisCluster) id(t testing.TB, s *RedisServer) string {
	t.Helper()
	return fmt.Sprint(s.Do(t, "CLUSTER", "MYID"))
}

// clusterNode is what a node knows of another.
type clusterNode struct {
	flags  []string
	master string   // the name of its master; of a master itself: empty
	link   string   // connected, or not
	slots  [][2]int // first and last
}

func (n clusterNode) alive() bool {
	for _, f := range n.flags {
		switch f {
		case "fail", "fail?", "handshake", "noaddr":
			return false
		}
	}
	return n.link == "connected"
}

// clusterNodes is what the server knows of the nodes, by their address.
func (s *RedisServer) clusterNodes() (map[string]clusterNode, error) {
	v, err := s.ask("CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	nodes := make(map[string]clusterNode)
	for line := range strings.Lines(fmt.Sprint(v)) {
		// <id> <ip:port@cport[,hostname]> <flags> <master> <ping-sent> <pong-recv> <config-epoch> <link-state> <slot>...
		f := strings.Fields(line)
		if len(f) < 8 {
			return nil, fmt.Errorf("cannot read %q", line)
		}
		addr, _, _ := strings.Cut(f[1], "@")
		n := clusterNode{flags: strings.Split(f[2], ","), master: strings.Trim(f[3], "-"), link: f[7]}
		for _, span := range f[8:] {
			if strings.HasPrefix(span, "[") {
				continue // one that is on the move
			}
			first, last, ok := strings.Cut(span, "-")
			if !ok {
				last = first
			}
			from, err := strconv.Atoi(first)
			if err != nil {
				return nil, err
			}
			to, err := strconv.Atoi(last)
			if err != nil {
				return nil, err
			}
			n.slots = append(n.slots, [2]int{from, to})
		}
		nodes[addr] = n
	}
	return nodes, nil
}
