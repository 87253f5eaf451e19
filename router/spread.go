package router

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

// spread bounds how many sessions a gateway is given, so that a hot topic spills over to as many gateways as it needs. A
// new session goes to the first shard of its group, in the order of preference, that has room: whose load is below
// LoadFactor times the mean of those that share the load, weights respected, or below LoadFloor. It is safe for concurrent
// use.
//
// Loads are gossiped once a second, and are up to [loadAge] old when they count. What this router has assigned meanwhile
// it knows, and takes every other active router to have assigned as much: behind one balancer they do, and where they do
// not it only sends sessions further, none too many to one.
type spread struct {
	r       *Router
	view    atomic.Pointer[loads]
	spilled atomic.Uint64
}

// loads are the shards of one ring.
type loads struct {
	ring    *ring.Ring
	of      map[*ring.Member]*shard
	routers int64 // active ones
	static  bool  // some are none of ours
}

const (
	// loadAge is how old a gossiped load is at most: a second until it is reported, one until it is told, and one until the
	// next ring has it.
	loadAge    = 3 * time.Second
	loadSample = watchEvery
	loadKept   = int(loadAge/loadSample) + 1
)

// book counts the sessions that this router has on a shard, and remembers how many there lately were.
type book struct {
	held  atomic.Int64 // with those whose handshake or move is under way
	going atomic.Int64 // of them: on their way elsewhere, because they are better placed there
	past  [loadKept]atomic.Int64
	at    atomic.Int64 // samples so far
}

// sample notes the present count; called every [loadSample] by one goroutine.
func (b *book) sample() {
	n := b.at.Load()
	b.past[n%int64(loadKept)].Store(b.held.Load())
	b.at.Store(n + 1)
}

// recent is what has been added since the gossiped load may have been counted.
func (b *book) recent() int64 {
	n := b.at.Load()
	if n < int64(loadKept) {
		return b.held.Load() // it was first seen only just now
	}
	return b.held.Load() - b.past[n%int64(loadKept)].Load()
}

// sample notes how many sessions there are on each shard.
func (sp *spread) sample() {
	for _, sh := range sp.r.shards.all() {
		sh.book.sample()
	}
}

// loads are those of the present ring.
func (sp *spread) loads() *loads {
	rg := sp.r.ring()
	if v := sp.view.Load(); v != nil && v.ring == rg {
		return v
	}
	v := &loads{ring: rg, of: make(map[*ring.Member]*shard), routers: int64(max(1, activeRouters(rg)))}
	for _, m := range rg.Shards() {
		v.of[m] = sp.r.shards.of(m)
		v.static = v.static || m.Static
	}
	sp.view.Store(v)
	return v
}

func activeRouters(rg *ring.Ring) (n int) {
	for _, m := range rg.Members() {
		if m.Role == ring.RoleRouter && m.State == ring.StateActive {
			n++
		}
	}
	return n
}

// estimate is how many sessions the shard has now, as far as can be told: never less than this router's own.
func (v *loads) estimate(m *ring.Member) float64 {
	b := &v.of[m].book
	return float64(max(b.held.Load(), int64(m.Load)+v.routers*b.recent(), 0))
}

// own is how many sessions this router has there.
func (v *loads) own(m *ring.Member) float64 { return float64(max(v.of[m].book.held.Load(), 0)) }

// mean is the load per unit of weight over those of a group that can take sessions, and this router's part of it. Static
// shards tell no load, and do not count.
func (v *loads) mean(group []*ring.Member, now time.Time) (all, own float64) {
	var weight float64
	for _, m := range group {
		if !m.Static && v.of[m].alive(now) {
			all += v.estimate(m)
			own += v.own(m)
			weight += float64(m.Weight)
		}
	}
	if weight == 0 {
		return 0, 0
	}
	return all / weight, own / weight
}

// How far above the mean a shard's load may be, as a share of what LoadFactor allows above it, for each kind of change. The
// gaps between them are what keeps sessions from going to and fro.
const (
	toBringHome = 0.5 // a session that was spilled comes home to a shard below
	toTake      = 1.0 // a new session goes to a shard below
	toShed      = 1.1 // a shard above gives sessions away
)

// bound is the most that a shard of weight 1 may have.
func (sp *spread) bound(mean, share float64) float64 {
	return max(mean*(1+(sp.r.cfg.LoadFactor-1)*share), float64(sp.r.cfg.LoadFloor))
}

// present is the bound for topics that are not pinned; 0 without a shard.
func (sp *spread) present() float64 {
	v := sp.loads()
	if len(v.ring.Shards()) == 0 {
		return 0
	}
	var ordinary []*ring.Member
	for _, m := range v.ring.Shards() {
		if !v.ring.Dedicated(m.ID) {
			ordinary = append(ordinary, m)
		}
	}
	all, _ := v.mean(ordinary, sp.r.now())
	return sp.bound(all, toTake)
}

// order is the shards in the order in which they should be asked to take a new session, and whether the load has changed
// it. It may be the ring's own list, which is not changed.
func (sp *spread) order(key uint32, now time.Time) (list []*ring.Member, spills bool) {
	v := sp.loads()
	prefs, share := v.ring.Group(key)
	if share < 2 || prefs[0].Static {
		return prefs, false
	}
	// In a burst the loads of some shards are newer than those of others, and what is counted twice raises the mean. If no
	// router has more than its bound of its own sessions on a shard, nor have all of them together.
	all, own := v.mean(prefs[:share], now)
	limit := sp.bound(all, toTake)
	ownLimit := max(own*sp.r.cfg.LoadFactor, float64(sp.r.cfg.LoadFloor)/float64(v.routers))
	room := func(m *ring.Member) bool {
		w := float64(m.Weight)
		return !m.Static && v.estimate(m) < limit*w && v.own(m) < ownLimit*w
	}
	if room(prefs[0]) || !v.of[prefs[0]].alive(now) && room(prefs[1]) {
		return prefs, false
	}
	list = make([]*ring.Member, 0, len(prefs))
	for _, m := range prefs[:share] {
		if room(m) {
			list = append(list, m)
		}
	}
	with := len(list)
	for _, m := range prefs[:share] {
		if !slices.Contains(list[:with], m) {
			list = append(list, m)
		}
	}
	if with == 0 { // while a gateway is lost nobody may seem to have room: the least loaded has most
		slices.SortStableFunc(list, func(a, b *ring.Member) int {
			return cmp.Compare(v.estimate(a)/float64(a.Weight), v.estimate(b)/float64(b.Weight))
		})
	}
	return append(list, prefs[share:]...), list[0] != prefs[0]
}
