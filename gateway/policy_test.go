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
		kind, least := c.policy()
		if kind != "policy" || least <= told {
			t.Fatalf("got %s of %d ms, want a policy behind %d ms", kind, least, told)
		}
		told = least
	}
	set(25 * time.Second) // once, while the last is being told
	for told := 0; told != 25_000; {
		_, told = c.policy()
	}
	if _, least := r.dial("finals").policy(); least != 25_000 {
		t.Errorf("who comes is told of %d ms", least)
	}
}

// policy reads a message, and what it says of the policy: the least delay, in ms.
func (c *wsClient) policy() (kind string, least int) {
	c.t.Helper()
	var m struct {
		Type    string
		Backoff struct{ Min int }
	}
	_, text := c.raw()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	return m.Type, m.Backoff.Min
}
