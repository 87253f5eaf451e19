package router

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/ring"
)

// crowd are routers of which each knows the loads of the gateways only as they were a while ago.
type crowd struct {
	routers []*Router
	members []ring.Member
	wishes  ring.Wishes
	present *ring.Ring
	load    map[string]int // of gateways, as it is
}

func newCrowd(t *testing.T, routers, gateways int, wishes ring.Wishes) *crowd {
	t.Helper()
	c := &crowd{wishes: wishes, load: map[string]int{}}
	for i := range gateways {
		id := fmt.Sprintf("g%d", i+1)
		c.members = append(c.members, ring.Member{ID: id, Role: ring.RoleGateway, State: ring.StateActive, Addr: "192.0.2.1:" + id[1:], Weight: 1})
	}
	for i := range routers {
		c.members = append(c.members, ring.Member{ID: fmt.Sprintf("r%d", i+1), Role: ring.RoleRouter, State: ring.StateActive})
	}
	c.gossip()
	for range routers {
		r, err := New(Config{Listen: "127.0.0.1:0", Loops: 1}, Deps{ID: "r", Ring: func() *ring.Ring { return c.present }, Keys: testKeys(t), Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		c.routers = append(c.routers, r)
		for range 2 * loadKept {
			c.sample(r)
		}
	}
	return c
}

func (c *crowd) sample(r *Router) {
	r.spread.loads()
	r.spread.sample()
}

// gossip lets everybody know the loads as they are.
func (c *crowd) gossip() {
	for i := range c.members {
		c.members[i].Load = uint64(c.load[c.members[i].ID])
	}
	c.present = ring.NewWith(c.members, c.wishes)
}

// pass lets so many samples be taken.
func (c *crowd) pass(samples int) {
	for range samples {
		for _, r := range c.routers {
			c.sample(r)
		}
	}
}

// open opens a session of a topic at a router.
func (c *crowd) open(r *Router, topic string) string {
	order, _ := r.spread.order(ring.Key(topic), time.Now())
	r.shards.of(order[0]).book.held.Add(1)
	c.load[order[0].ID]++
	return order[0].ID
}

func (c *crowd) ratio(gateways ...string) float64 {
	sum, most := 0, 0
	for _, id := range gateways {
		sum += c.load[id]
		most = max(most, c.load[id])
	}
	return float64(most) * float64(len(gateways)) / float64(sum)
}

// However the bursts fall, and however old the news of loads are, no gateway has much more than its bound.
func TestSpreadBoundsABurst(t *testing.T) {
	for _, news := range []int{50, 400, 100_000} { // sessions between two rounds of gossip
		for _, skew := range []float64{0.5, 0.9} { // share of the sessions that come to the first router
			c := newCrowd(t, 2, 4, ring.Wishes{})
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 4000 {
				topic := "finals"
				if rng.Float64() < 0.1 {
					topic = fmt.Sprint("quiet", rng.IntN(100))
				}
				r := c.routers[1]
				if rng.Float64() < skew {
					r = c.routers[0]
				}
				c.open(r, topic)
				if i%50 == 0 {
					c.pass(1)
				}
				if i%news == news-1 {
					c.gossip()
				}
			}
			if got := c.ratio("g1", "g2", "g3", "g4"); got > 1.3 {
				t.Errorf("news every %d sessions, skew %v: the largest is %.2f times the mean: %v", news, skew, got, c.load)
			}
		}
	}
}

// With few sessions a topic stays where the ring wants it.
func TestSpreadFloor(t *testing.T) {
	c := newCrowd(t, 1, 4, ring.Wishes{})
	owner, _ := c.present.Owner(ring.SlotOf(ring.Key("finals")))
	for range 100 {
		if got := c.open(c.routers[0], "finals"); got != owner.ID {
			t.Fatalf("got %s, want %s: %v", got, owner.ID, c.load)
		}
	}
	if got := c.open(c.routers[0], "finals"); got == owner.ID {
		t.Errorf("session 101 goes to %s too", got)
	}
}

// A pinned topic is balanced over its shards, and leaves none of its load to others; dedicated shards get nothing else.
func TestSpreadOfPins(t *testing.T) {
	c := newCrowd(t, 2, 4, ring.Wishes{Pins: []ring.Pin{{Topic: "finals", Shards: []string{"g4", "g2"}}}, Dedicated: []string{"g4"}})
	for i := range 2000 {
		c.open(c.routers[i%2], "finals")
		if i%20 == 0 {
			if got := c.open(c.routers[0], fmt.Sprint("quiet", i)); got == "g4" {
				t.Fatal("a quiet topic is at the dedicated shard")
			}
			c.pass(1)
		}
	}
	if c.load["g4"]+c.load["g2"] < 2000 || c.ratio("g4", "g2") > 1.3 {
		t.Errorf("got %v", c.load)
	}
}

// Sessions come home when there is room, are shed where there is far too much, and then everything stands still.
func TestPlanSettles(t *testing.T) {
	c := newCrowd(t, 1, 4, ring.Wishes{})
	r, key := c.routers[0], ring.Key("finals")
	prefs, _ := c.present.Group(key)
	at := func(i int) *shard { return r.shards.of(prefs[i]) }
	set := func(loads ...int64) {
		for i, n := range loads {
			at(i).book.held.Store(n)
			c.load[prefs[i].ID] = int(n)
		}
		c.gossip()
		c.pass(2 * loadKept)
	}
	// settle makes the moves that are wanted, each look's together, until there are none.
	settle := func() (moves int) {
		for range 100 {
			p := r.spread.plan(1)
			var list [][2]int
			for i := range prefs {
				for range c.load[prefs[i].ID] {
					if to := p.better(key, at(i)); to != nil {
						p.moves(at(i), to)
						for j := range prefs {
							if at(j) == to {
								list = append(list, [2]int{i, j})
							}
						}
					}
				}
			}
			if len(list) == 0 {
				return moves
			}
			for _, m := range list {
				c.load[prefs[m[0]].ID]--
				c.load[prefs[m[1]].ID]++
				at(m[0]).book.held.Add(-1)
				at(m[1]).book.held.Add(1)
			}
			moves += len(list)
			c.gossip()
			c.pass(2 * loadKept)
		}
		t.Fatalf("it never stands still: %v", c.load)
		return 0
	}
	f := func(what string, moves bool, loads ...int64) {
		t.Helper()
		set(loads...)
		if n := settle(); (n > 0) != moves {
			t.Errorf("%s: %d moves, to %v", what, n, c.load)
		}
		if got := c.ratio("g1", "g2", "g3", "g4"); got > 1.3 {
			t.Errorf("%s: the largest is %.2f times the mean: %v", what, got, c.load)
		}
	}
	f("spilled as new sessions are", false, 1250, 1250, 1250, 250)
	f("the owner has room", true, 400, 1200, 1200, 1200)
	f("one joins", true, 1250, 1250, 1250, 0)
	f("far too many at one", true, 3700, 100, 100, 100)
}

func TestOrderDoesNotAllocate(t *testing.T) {
	c := newCrowd(t, 2, 8, ring.Wishes{})
	r, now := c.routers[0], time.Now()
	key := ring.Key("finals")
	if n := testing.AllocsPerRun(100, func() { r.spread.order(key, now) }); n != 0 {
		t.Errorf("got %v allocations for a session that its owner takes, want 0", n)
	}
}

func BenchmarkOrder(b *testing.B) {
	var ms []ring.Member
	for i := range 30 {
		ms = append(ms, ring.Member{ID: fmt.Sprint("g", i), Role: ring.RoleGateway, State: ring.StateActive, Addr: fmt.Sprint("192.0.2.1:", i), Weight: 1})
	}
	rg := ring.New(ms)
	r, err := New(Config{Listen: "127.0.0.1:0", Loops: 1}, Deps{ID: "r", Ring: func() *ring.Ring { return rg }, Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	key, now := ring.Key("finals"), time.Now()
	r.spread.order(key, now) // places the shards
	b.ReportAllocs()
	for b.Loop() {
		r.spread.order(key, now)
	}
}
