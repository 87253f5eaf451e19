package gateway

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/tally"
	"github.com/ringside-edge/ringside/internal/testcluster"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// ringOf are gateways that know each other.
type ringOf struct {
	t       *testing.T
	redis   string
	now     atomic.Pointer[ring.Ring]
	rigs    map[string]*rig
	members []ring.Member
}

func newRing(t *testing.T, change func(*Config), ids ...string) *ringOf {
	c := &ringOf{t: t, redis: testcluster.NewRedis(t, false).Addr, rigs: map[string]*rig{}}
	c.now.Store(ring.New(nil))
	for _, id := range ids {
		c.add(id, change)
	}
	return c
}

// add starts a gateway, and puts it into the ring.
func (c *ringOf) add(id string, change func(*Config)) *rig {
	c.t.Helper()
	r := startOn(c.t, c.redis, ring.StateJoining, func(cfg *Config) {
		quickly(cfg)
		cfg.ID = id
		if change != nil {
			change(cfg)
		}
	}, func(d *Deps) { d.Ring = c.now.Load })
	c.rigs[id] = r
	c.set(id, ring.StateActive)
	return r
}

func (c *ringOf) set(id string, state ring.State) {
	c.members = slices.DeleteFunc(c.members, func(m ring.Member) bool { return m.ID == id })
	if state != ring.StateLeft {
		c.members = append(c.members, ring.Member{ID: id, Role: ring.RoleGateway, State: state, Weight: 1, Addr: c.rigs[id].g.Addr()})
	}
	c.now.Store(ring.New(c.members))
}

func (c *ringOf) counter(topic string) *rig {
	return c.rigs[tally.Counter(c.now.Load(), topics.Slot(topic)).ID]
}

// counts waits for a complete count, by whoever adds up.
func (c *ringOf) counts(topic string, want int64) (got tally.Count) {
	c.t.Helper()
	testcluster.Eventually(c.t, fmt.Sprintf("%d in %s", want, topic), func() error {
		var ok bool
		if got, ok = c.counter(topic).g.Count(topic); !ok || !got.Complete || got.Sessions != want {
			return fmt.Errorf("got %+v, %v", got, ok)
		}
		return nil
	})
	return got
}

// A topic's sessions are added up by one gateway, wherever they are, and those who asked are told the same number everywhere.
func TestCounts(t *testing.T) {
	c := newRing(t, nil, "g1", "g2", "g3")
	var clients []*wsClient
	for _, id := range []string{"g1", "g2", "g3", "g1"} {
		w := c.rigs[id].dial("finals?viewers=1", "ringside.v1")
		w.want("welcome")
		clients = append(clients, w)
	}
	got := c.counts("finals", 4)
	if len(got.Shards) != 3 || len(got.Missing) != 0 || got.Shards[0].Shard != "g1" || got.Shards[0].Sessions != 2 {
		t.Errorf("got %+v", got)
	}
	for _, w := range clients {
		w.sees("finals", 4)
	}
	clients[3].c.Close()
	for _, w := range clients[:3] {
		w.sees("finals", 3)
	}
	// Any gateway can be asked, and says who knows.
	dialer := tally.Dialer{Keys: c.rigs["g1"].keys}
	for _, m := range c.now.Load().Shards() {
		n, err := dialer.Ask(t.Context(), m, "finals")
		if m.ID == got.By && (err != nil || n.Sessions != 3 || n.By != m.ID) || m.ID != got.By && err == nil {
			t.Errorf("%s: got %+v, %v", m.ID, n, err)
		}
	}
	other, err := leg.NewKeyring("another secret")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := (tally.Dialer{Keys: other}).Ask(t.Context(), tally.Counter(c.now.Load(), topics.Slot("finals")), "finals"); err == nil {
		t.Errorf("with another secret: got %+v", n)
	}
	c.rigs["g1"].g.counts.all(func(tp *topic) {
		if tp.name == "finals" && tp.wanted.Load() != 1 {
			t.Errorf("g1: %d want to know, want 1", tp.wanted.Load())
		}
	})
}

// The gateway that adds up dies; another takes its place, and hears what all have.
func TestCountsWithoutTheirCounter(t *testing.T) {
	c := newRing(t, nil, "g1", "g2", "g3")
	was := c.counter("finals").g.cfg.ID
	var clients []*wsClient
	for id, r := range c.rigs {
		w := r.dial("finals?viewers=1", "ringside.v1")
		w.want("welcome")
		if id != was {
			clients = append(clients, w)
		}
	}
	c.counts("finals", 3)
	for _, w := range clients {
		w.sees("finals", 3)
	}
	c.rigs[was].g.Kill()
	c.set(was, ring.StateLeft)
	if got := c.counts("finals", 2); got.By == was || len(got.Shards) != 2 {
		t.Errorf("got %+v", got)
	}
	for _, w := range clients {
		w.sees("finals", 2)
	}
	delete(c.rigs, was)
	back := c.add(was, nil)
	c.counts("finals", 2)
	w := back.dial("finals?viewers=1", "ringside.v1")
	w.want("welcome")
	w.sees("finals", 3)
	c.counts("finals", 3)
	// One that drains adds up nothing any more, but has its sessions.
	c.set(was, ring.StateDraining)
	if got := c.counts("finals", 3); got.By == was {
		t.Errorf("got %+v", got)
	}
}

// While a gateway is missing a count says so, and its sessions are told nothing that would soon be wrong; for some time.
func TestCountsThatAreNotComplete(t *testing.T) {
	c := newRing(t, nil, "g1", "g2")
	for _, r := range c.rigs {
		w := r.dial("finals", "ringside.v1")
		w.want("welcome")
	}
	c.counts("finals", 2)
	by := c.counter("finals")
	for id, r := range c.rigs {
		if r != by {
			r.g.Kill()
			testcluster.Soon(t, "it is missed", func() bool {
				n, _ := by.g.Count("finals")
				return n.Sessions == 1 && !n.Complete && slices.Equal(n.Missing, []string{id})
			})
		}
	}
	w := by.dial("finals?viewers=1", "ringside.v1")
	w.want("welcome")
	w.sees("finals", 2) // when it has not come back
}

// A gateway that says nothing any more, though its connection stands, is gone too.
func TestCountsOfASilentGateway(t *testing.T) {
	c := newRing(t, nil, "g1")
	r := c.rigs["g1"]
	c.rigs["mute"] = r // for its address
	c.set("mute", ring.StateDraining)
	dialer := tally.Dialer{Keys: r.keys}
	self := tally.Counter(c.now.Load(), topics.Slot("finals"))
	conn, err := dialer.Open(t.Context(), self, "mute")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Report(c.now.Load().Version(), []tally.Entry{{Topic: "finals", Count: 7}}, time.Minute); err != nil {
		t.Fatal(err)
	}
	c.counts("finals", 7)
	testcluster.Soon(t, "its sessions do not count any more", func() bool {
		n, _ := r.g.Count("finals")
		return n.Sessions == 0 && !n.Complete
	})
	if _, err := dialer.Open(t.Context(), self, "stranger"); err == nil {
		t.Error("a gateway that nobody knows is heard")
	}
}
