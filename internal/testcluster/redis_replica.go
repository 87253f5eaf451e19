package testcluster

import (
	"fmt"
	"strconv"
	"testing"
)

// WaitReplicas waits until each of the replicas has everything that the master has written so far.
func (s *RedisServer) WaitReplicas(t testing.TB, replicas ...*RedisServer) {
	t.Helper()
	Eventually(t, "replicas in sync with "+s.Addr, func() error {
		master, err := s.info()
		if err != nil {
			return err
		}
		for _, r := range replicas {
			if err := r.follows(master); err != nil {
				return err
			}
		}
		return nil
	})
}

// follows says why the server has not everything that a master with the given INFO had.
func (s *RedisServer) follows(master map[string]string) error {
	info, err := s.info()
	if err != nil {
		return err
	}
	want, err := strconv.ParseInt(master["master_repl_offset"], 10, 64)
	if err != nil {
		return err
	}
	got, err := strconv.ParseInt(info["slave_repl_offset"], 10, 64) // a master has none
	if err != nil || info["master_link_status"] != "up" || info["master_replid"] != master["master_replid"] || got < want {
		return fmt.Errorf("%s: role %s, link %s, history %s at %d, want %s at %d", s.Addr, info["role"],
			info["master_link_status"], info["master_replid"], got, master["master_replid"], want)
	}
	return nil
}

// CutReplicas ends the replication from the master: it goes on to take writes, and none of them reaches a replica until
// [RedisServer.JoinReplicas]. The replicas go on to answer, so that nobody takes them for dead.
func (s *RedisServer) CutReplicas(t testing.TB) {
	t.Helper()
	s.Do(t, "ACL", "SETUSER", "default", "-psync", "-sync") // replicas connect as this user
	s.Do(t, "CLIENT", "KILL", "TYPE", "replica")
	Eventually(t, "replicas cut off from "+s.Addr, func() error {
		info, err := s.info()
		if err != nil {
			return err
		}
		if n := info["connected_slaves"]; n != "0" {
			return fmt.Errorf("%s replicas are connected", n)
		}
		return nil
	})
}

// JoinReplicas ends what [RedisServer.CutReplicas] began.
func (s *RedisServer) JoinReplicas(t testing.TB) {
	t.Helper()
	// Not +sync: a replica that is between its attempts at both would take the old way, in which it acknowledges nothing.
	s.Do(t, "ACL", "SETUSER", "default", "+psync")
}

// role says why a server has not the given role: master or slave.
func role(s *RedisServer, want string) error {
	info, err := s.info()
	if err == nil && info["role"] != want {
		err = fmt.Errorf("%s is a %s", s.Addr, info["role"])
	}
	return err
}
