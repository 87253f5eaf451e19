package main

import (
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// All that stands in streams is told apart: messages of either way, marks, beacons.
func TestShot(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := redis.Dial(t)
	key := testcluster.StreamKey("x")
	slot := testcluster.Slot("x")
	add := func(fields ...string) {
		t.Helper()
		redis.Do(t, append([]string{"XADD", key, "*"}, fields...)...)
	}
	add("epoch", "17")
	add("id", "a", "topic", "x", "payload", "one", "claimed", "1")
	add("beacon", "17")
	sum := func(b []byte) uint64 { return uint64(len(b)) }
	var s shot
	if err := s.read(c, sum); err != nil {
		t.Fatal(err)
	}
	add("topic", "x", "payload", "second")
	if err := s.take(c, sum); err != nil {
		t.Fatal(err)
	}
	rows := s[slot]
	if len(rows) != 4 || rows[0].Mark != 17 || rows[1].Topic != "x" || rows[1].Sum != 3 || rows[2].Topic != "" || rows[2].Mark != 0 ||
		rows[3].Sum != 6 || !rows[2].ID.Less(rows[3].ID) {
		t.Errorf("got %+v", rows)
	}
	if n := redis.Do(t, "DBSIZE"); n != int64(0) {
		t.Errorf("%v keys are left", n)
	}
}
