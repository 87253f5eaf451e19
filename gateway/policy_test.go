package gateway

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/ring"
)

// TestPolicyChangesAgain changes the backoff policy while sessions are being told of the last change: they end up with the newest, and who comes begins
// with it.
func TestPolicyChangesAgain(t *testing.T) {
	var now atomic.Pointer[backoff.Policy]
	changed := make(chan struct{}, 1)
	set := func(least time.Duration) {
		p := backoff.Default()
		p.Min = least
		now.Store(&p)
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	set(time.Second)
	r := startOn(t, testcluster.NewRedis(t, false).Addr, ring.StateJoining, nil, func(d *Deps) {
		d.Policy = func() backoff.Policy { return *now.Load() }
		d.PolicyChanged = func() (<-chan struct{}, func()) { return changed, func() {} }
	})
	c := r.dial("finals")
	c.want("welcome")
	for i := range 20 {
		set(time.Duration(i+2) * time.Second)
	}
	for told := 0; told != 21_000; {
		var m struct {
			Type    string
			Backoff struct{ Min int }
		}
		_, text := c.raw()
		if err := json.Unmarshal([]byte(text), &m); err != nil || m.Type != "policy" || m.Backoff.Min <= told {
			t.Fatalf("got %s, %v, want a policy behind %d ms", text, err, told)
		}
		told = m.Backoff.Min
	}
	set(25 * time.Second) // once, while the last is being told
	for told := 0; told != 25_000; {
		var m struct{ Backoff struct{ Min int } }
		_, text := c.raw()
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		told = m.Backoff.Min
	}
	if s := welcomeBackoff(t, r); s != 25_000 {
		t.Errorf("who comes is told of %d ms", s)
	}
}

func welcomeBackoff(t *testing.T, r *rig) int {
	t.Helper()
	var m struct{ Backoff struct{ Min int } }
	_, text := r.dial("finals").raw()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m.Backoff.Min
}
