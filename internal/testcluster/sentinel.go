package testcluster

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// masterName is what the sentinels call what they watch.
const masterName = "mymaster"

// sentinels is how many watch; most of them decide.
const sentinels = 3

// Sentinel is a master with replicas, and three sentinels who put a replica into the place of a master that has been
// silent for a second.
type Sentinel struct {
	Servers   []*RedisServer // the first is the master to begin with
	Sentinels []*RedisServer
}

// NewSentinel starts a master with a number of replicas and the sentinels, and waits until they all know each other.
func NewSentinel(t testing.TB, replicas int) *Sentinel {
	t.Helper()
	master := NewRedisWith(t, RedisOptions{})
	s := &Sentinel{Servers: []*RedisServer{master}}
	for range replicas {
		s.Servers = append(s.Servers, NewRedisWith(t, RedisOptions{ReplicaOf: master}))
	}
	master.WaitReplicas(t, s.Servers[1:]...)
	for range sentinels {
		watcher := NewRedisWith(t, RedisOptions{monitor: master})
		watcher.Do(t, append([]string{"SENTINEL", "DEBUG"}, hurry...)...)
		s.Sentinels = append(s.Sentinels, watcher)
	}
	Eventually(t, "sentinels who know each other", func() error {
		for _, watcher := range s.Sentinels {
			view, err := watcher.masterView()
			if err != nil {
				return err
			}
			if view["flags"] != "master" || view["num-slaves"] != fmt.Sprint(replicas) || view["num-other-sentinels"] != fmt.Sprint(sentinels-1) {
				return fmt.Errorf("sentinel at %s sees %s, replicas %s, others %s", watcher.Addr, view["flags"], view["num-slaves"], view["num-other-sentinels"])
			}
		}
		return nil
	})
	return s
}

// hurry makes a sentinel look around more often than every ten seconds, in milliseconds; and when the machine was so busy
// that it doubts its clock, it doubts it for a second, not for thirty.
var hurry = []string{"info-period", "500", "publish-period", "250", "ask-period", "250", "tilt-period", "1000"}

// watch is the configuration of a sentinel.
func watch(master *RedisServer) []string {
	host, port, _ := net.SplitHostPort(master.Addr)
	return []string{
		fmt.Sprintf("sentinel monitor %s %s %s %d", masterName, host, port, sentinels/2+1),
		"sentinel down-after-milliseconds " + masterName + " 1000",
		"sentinel failover-timeout " + masterName + " 3000",
	}
}

// URL is the address as the flags take it.
func (s *Sentinel) URL() string {
	return "redis-sentinel://" + addrs(s.Sentinels) + "#" + masterName
}

// Master is the server that the sentinels name and that takes itself for the master. It waits until they agree.
func (s *Sentinel) Master(t testing.TB) *RedisServer {
	t.Helper()
	return s.WaitMaster(t, nil)
}

// WaitMaster waits until all sentinels that run name the same master, another than old, and it knows that it is one.
func (s *Sentinel) WaitMaster(t testing.TB, old *RedisServer) *RedisServer {
	t.Helper()
	var master *RedisServer
	Eventually(t, "a master that all sentinels name", func() error {
		var err error
		if master, err = s.named(); err != nil {
			return err
		}
		if master == old {
			return fmt.Errorf("it is still %s", old.Addr)
		}
		return role(master, "master")
	})
	return master
}

// named is the server that all sentinels that run name.
func (s *Sentinel) named() (*RedisServer, error) {
	names := make(map[string]bool)
	var addr string
	for _, watcher := range running(s.Sentinels) {
		v, err := watcher.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
		if err != nil {
			return nil, err
		}
		pair, ok := v.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("sentinel at %s names %v", watcher.Addr, v)
		}
		addr = fmt.Sprintf("%v:%v", pair...)
		names[addr] = true
	}
	if len(names) != 1 {
		return nil, fmt.Errorf("sentinels name %d masters", len(names))
	}
	return find(s.Servers, addr)
}

// KillMaster kills the master and waits until a replica has taken its place. [RedisServer.Restart] lets the old one come
// back, as a replica before long.
func (s *Sentinel) KillMaster(t testing.TB) (old, promoted *RedisServer) {
	t.Helper()
	old = s.Master(t)
	old.Kill()
	return old, s.WaitMaster(t, old)
}

// LoseTail fails over with a loss: when all replicas have what was written before, write is called, the master
// acknowledges what that writes and no replica gets it; then [Sentinel.KillMaster]. write must be done within a few
// seconds: replicas that were cut off for ten are not promoted.
func (s *Sentinel) LoseTail(t testing.TB, write func(master *RedisServer)) (old, promoted *RedisServer) {
	t.Helper()
	master := s.Master(t)
	s.WaitReplicas(t)
	master.CutReplicas(t)
	write(master)
	return s.KillMaster(t)
}

// Failover has the sentinels put a replica into the place of a master that is well: nothing that was written before is
// lost, and the old master goes on as a replica before long.
func (s *Sentinel) Failover(t testing.TB) (old, promoted *RedisServer) {
	t.Helper()
	old = s.Master(t)
	s.WaitReplicas(t)
	leader := running(s.Sentinels)[0]
	Eventually(t, "a failover on demand", func() error {
		view, err := leader.masterView()
		if err != nil || net.JoinHostPort(view["ip"], view["port"]) != old.Addr {
			return err
		}
		// One that is on its way is left alone: INPROG. Another sentinel can undo one, when the replica has just come:
		// then it takes another.
		_, err = leader.ask("SENTINEL", "FAILOVER", masterName)
		return fmt.Errorf("the master is still %s: %v", old.Addr, err)
	})
	return old, s.WaitMaster(t, old)
}

// WaitReplicas waits until all servers that run follow the master and have what it has.
func (s *Sentinel) WaitReplicas(t testing.TB) {
	t.Helper()
	master := s.Master(t)
	for _, r := range running(s.Servers) {
		if r != master {
			master.WaitReplicas(t, r)
		}
	}
}

// masterView is what a sentinel knows of the master.
func (s *RedisServer) masterView() (map[string]string, error) {
	v, err := s.ask("SENTINEL", "MASTER", masterName)
	if err != nil {
		return nil, err
	}
	list, _ := v.([]any)
	m := make(map[string]string)
	for i := 0; i+1 < len(list); i += 2 {
		m[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return m, nil
}

// running are the servers that have not ended.
func running(servers []*RedisServer) []*RedisServer {
	var list []*RedisServer
	for _, s := range servers {
		if !s.Exited() {
			list = append(list, s)
		}
	}
	return list
}

// find is the server at an address.
func find(servers []*RedisServer, addr string) (*RedisServer, error) {
	for _, s := range servers {
		if s.Addr == addr {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s is none of %s", addr, addrs(servers))
}

// addrs are the addresses of servers, as a URL has them.
func addrs(servers []*RedisServer) string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr
	}
	return strings.Join(list, ",")
}
