package testcluster

import (
	"fmt"
	"net"
	"strconv"
	"testing"
)

// Slot is the hash slot of a key.
func (c *RedisCluster) Slot(t testing.TB, key string) int {
	t.Helper()
	n, _ := running(c.Servers)[0].Do(t, "CLUSTER", "KEYSLOT", key).(int64)
	return int(n)
}

// Owner is the master that all nodes that run take for the owner of a hash slot. It waits until they agree.
func (c *RedisCluster) Owner(t testing.TB, slot int) *RedisServer {
	t.Helper()
	var owner *RedisServer
	Eventually(t, fmt.Sprintf("an owner of slot %d", slot), func() error {
		seen := make(map[string]bool)
		var addr string
		for _, s := range running(c.Servers) {
			nodes, err := s.clusterNodes()
			if err != nil {
				return err
			}
			for a, n := range nodes {
				if n.owns(slot) {
					addr = a
					seen[a] = true
				}
			}
		}
		if len(seen) != 1 {
			return fmt.Errorf("nodes name %d", len(seen))
		}
		var err error
		owner, err = find(running(c.Servers), addr)
		return err
	})
	return owner
}

// Other is a master that is not the given one.
func (c *RedisCluster) Other(t testing.TB, master *RedisServer) *RedisServer {
	t.Helper()
	for slot := range hashSlots {
		if slot%1000 == 0 {
			if s := c.Owner(t, slot); s != master {
				return s
			}
		}
	}
	t.Fatalf("%s is the only master", master.Addr)
	return nil
}

func (n clusterNode) owns(slot int) bool {
	for _, span := range n.slots {
		if span[0] <= slot && slot <= span[1] {
			return true
		}
	}
	return false
}

// MoveSlot moves a hash slot with its keys to another master: [RedisCluster.BeginMove], [RedisCluster.MoveKeys] and
// [RedisCluster.EndMove].
func (c *RedisCluster) MoveSlot(t testing.TB, slot int, to *RedisServer) {
	t.Helper()
	c.BeginMove(t, slot, to)
	c.MoveKeys(t, slot, to)
	c.EndMove(t, slot, to)
}

// BeginMove opens both ends of a move. From now on a command on a key that the owner has not, or has no more, is answered
// with ASK.
func (c *RedisCluster) BeginMove(t testing.TB, slot int, to *RedisServer) {
	t.Helper()
	from := c.Owner(t, slot)
	to.Do(t, "CLUSTER", "SETSLOT", strconv.Itoa(slot), "IMPORTING", c.id(t, from))
	from.Do(t, "CLUSTER", "SETSLOT", strconv.Itoa(slot), "MIGRATING", c.id(t, to))
}

// MoveKeys moves the keys of a slot, until the owner has none left.
func (c *RedisCluster) MoveKeys(t testing.TB, slot int, to *RedisServer) {
	t.Helper()
	from := c.Owner(t, slot)
	host, port, _ := net.SplitHostPort(to.Addr)
	for {
		keys, _ := from.Do(t, "CLUSTER", "GETKEYSINSLOT", strconv.Itoa(slot), "100").([]any)
		if len(keys) == 0 {
			return
		}
		args := []string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}
		for _, k := range keys {
			args = append(args, fmt.Sprint(k))
		}
		from.Do(t, args...)
	}
}

// EndMove makes the new master the owner of a slot whose keys it has, and waits until everybody knows.
func (c *RedisCluster) EndMove(t testing.TB, slot int, to *RedisServer) {
	t.Helper()
	from, id := c.Owner(t, slot), c.id(t, to)
	for _, s := range []*RedisServer{to, from} { // in this order: the slot is never without an owner
		s.Do(t, "CLUSTER", "SETSLOT", strconv.Itoa(slot), "NODE", id)
	}
	Eventually(t, fmt.Sprintf("nodes that know where slot %d is", slot), func() error {
		for _, s := range running(c.Servers) {
			nodes, err := s.clusterNodes()
			if err != nil {
				return err
			}
			if !nodes[to.Addr].owns(slot) {
				return fmt.Errorf("%s does not", s.Addr)
			}
		}
		return nil
	})
}
