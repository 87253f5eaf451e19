package testcluster

import (
	"fmt"
	"strings"
	"testing"
)

// keyOf is a key of a stream of ours.
const keyOf = "ringside:{13}:218:stream"

func TestRedisCluster(t *testing.T) {
	c := NewRedisCluster(t)
	if !strings.HasPrefix(c.URL(), "redis-cluster://127.0.0.1:") || strings.Count(c.URL(), ",") != 5 {
		t.Errorf("URL: got %s", c.URL())
	}
	slot := c.Slot(t, keyOf)
	from := c.Owner(t, slot)
	to := c.Other(t, from)
	from.Do(t, "XADD", keyOf, "1-1", "n", "1")
	from.Do(t, "XGROUP", "CREATE", keyOf, "g", "0")
	_, err := to.Dial(t).Do("XLEN", keyOf)
	refused(t, "a key of another node", fmt.Sprintf("MOVED %d %s", slot, from.Addr), err)

	c.BeginMove(t, slot, to)
	if n := from.Do(t, "XLEN", keyOf); n != int64(1) {
		t.Errorf("before the keys are moved: got %v, want 1", n)
	}
	c.MoveKeys(t, slot, to)
	_, err = from.Dial(t).Do("XLEN", keyOf)
	refused(t, "while the slot is moved", fmt.Sprintf("ASK %d %s", slot, to.Addr), err)
	asking := to.Dial(t)
	if _, err := asking.Do("ASKING"); err != nil {
		t.Fatal(err)
	}
	if n, err := asking.Do("XLEN", keyOf); n != int64(1) || err != nil {
		t.Errorf("asked for: got %v, %v, want 1", n, err)
	}
	c.EndMove(t, slot, to)
	_, err = from.Dial(t).Do("XLEN", keyOf)
	refused(t, "after the slot was moved", fmt.Sprintf("MOVED %d %s", slot, to.Addr), err)
	if got := c.Owner(t, slot); got != to {
		t.Errorf("owner: got %s, want %s", got.Addr, to.Addr)
	}
	if groups, _ := to.Do(t, "XINFO", "GROUPS", keyOf).([]any); len(groups) != 1 {
		t.Errorf("groups: got %v, want the one that was there", groups)
	}

	c.MoveSlot(t, slot, from)
	from.Do(t, "XADD", keyOf, "2-1", "n", "2")
	from.WaitReplicas(t, c.Replica(t, from))
	from.CutReplicas(t)
	from.Do(t, "XADD", keyOf, "3-1", "n", "3")
	promoted := c.KillMaster(t, from)
	if got := c.Owner(t, slot); got != promoted {
		t.Errorf("owner: got %s, want the promoted %s", got.Addr, promoted.Addr)
	}
	if n := promoted.Do(t, "XLEN", keyOf); n != int64(2) {
		t.Errorf("entries: got %v, want 2: the last was on its master only", n)
	}

	from.Revive(t)
	if got := c.Replica(t, promoted); got != from {
		t.Errorf("replica: got %s, want the old master", got.Addr)
	}
	c.WaitOK(t)
	promoted.WaitReplicas(t, from)
}
