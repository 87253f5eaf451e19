package testcluster

import (
	"strings"
	"testing"
)

func TestSentinel(t *testing.T) {
	s := NewSentinel(t, 2)
	if !strings.HasPrefix(s.URL(), "redis-sentinel://127.0.0.1:") || strings.Count(s.URL(), ",") != 2 || !strings.HasSuffix(s.URL(), "#mymaster") {
		t.Errorf("URL: got %s", s.URL())
	}
	if got := s.Master(t); got != s.Servers[0] {
		t.Errorf("master: got %s, want the first", got.Addr)
	}
	var first, lost any
	first = s.Master(t).Do(t, "XADD", "log", "*", "n", "1")
	old, promoted := s.LoseTail(t, func(master *RedisServer) {
		lost = master.Do(t, "XADD", "log", "*", "n", "2")
	})
	if old != s.Servers[0] || promoted == old {
		t.Errorf("promoted: got %s after %s", promoted.Addr, old.Addr)
	}
	entries, _ := promoted.Do(t, "XRANGE", "log", "-", "+").([]any)
	if len(entries) != 1 || entries[0].([]any)[0] != first {
		t.Errorf("the log: got %v, want %v without %v", entries, first, lost)
	}
	promoted.Do(t, "SET", "a", "1")

	old.Revive(t) // it comes back as a replica
	Eventually(t, "an old master that follows the new one", func() error { return role(old, "slave") })
	s.WaitReplicas(t)
	holds(t, old, "a", "1")

	from, to := s.Failover(t)
	if from != promoted || to == from {
		t.Errorf("failover: got %s after %s, want another after %s", to.Addr, from.Addr, promoted.Addr)
	}
	holds(t, to, "a", "1")
	Eventually(t, "a master that steps back", func() error { return role(from, "slave") })
	s.WaitReplicas(t)
}
