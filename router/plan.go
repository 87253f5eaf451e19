package router

import (
	"time"

	"github.com/ringside-edge/ringside/ring"
)

// plan finds better places for sessions that are there already. It counts what it has planned, and takes every other loop
// and router to plan the same at the same time.
type plan struct {
	spread   *spread
	loads    *loads
	now      time.Time
	parallel float64
	planned  map[*shard]float64
	groups   map[uint32]*group // of pinned topics, by key
	rest     *group            // of all others; its prefs change with the slot
}

// group is what one mean counts for.
type group struct {
	prefs      []*ring.Member
	share      int
	home, shed float64 // bounds per unit of weight
}

// plan makes a plan for one of so many loops.
func (sp *spread) plan(loops int) *plan {
	v := sp.loads()
	return &plan{
		spread: sp, loads: v, now: sp.r.now(), parallel: float64(v.routers) * float64(max(1, loops)),
		planned: map[*shard]float64{}, groups: map[uint32]*group{},
	}
}

// group is that of a key.
func (p *plan) group(key uint32) *group {
	pinned := p.loads.ring.Pinned(key)
	g := p.rest
	if pinned {
		g = p.groups[key]
	}
	prefs, share := p.loads.ring.Group(key)
	if g == nil {
		mean, _ := p.loads.mean(prefs[:share], p.now)
		g = &group{share: share, home: p.spread.bound(mean, toBringHome), shed: p.spread.bound(mean, toShed)}
		if pinned {
			p.groups[key] = g
		} else {
			p.rest = g
		}
	}
	g.prefs = prefs
	return g
}

// load is the shard's, for each unit of its weight, as it will be.
func (p *plan) load(m *ring.Member, more float64) float64 {
	sh := p.loads.of[m]
	return (p.loads.estimate(m) + p.planned[sh] - float64(sh.book.going.Load()) + more) / float64(m.Weight)
}

// can reports whether a session can be moved to the shard.
func (p *plan) can(m *ring.Member) bool {
	sh := p.loads.of[m]
	return !m.Static && sh.alive(p.now) && !sh.isSpared(p.now)
}

// better is where a session of the topics with this key, which is at a shard, is better placed; nil when it stays.
func (p *plan) better(key uint32, at *shard) *shard {
	g := p.group(key)
	var here *ring.Member
	for _, m := range g.prefs[:g.share] {
		if p.loads.of[m] == at {
			here = m
			break
		}
		if p.can(m) && p.load(m, p.parallel) <= g.home {
			return p.loads.of[m]
		}
	}
	switch {
	case here == nil: // it is where it belongs only when nobody else can take it
		return p.least(g)
	case p.load(here, 0) <= g.shed:
		return nil
	}
	for _, m := range g.prefs[:g.share] {
		if m != here && p.can(m) && p.load(m, p.parallel) <= g.home {
			return p.loads.of[m]
		}
	}
	return nil
}

// least is the shard of the group that has least; nil when none can take a session.
func (p *plan) least(g *group) (to *shard) {
	var least float64
	for _, m := range g.prefs[:g.share] {
		if load := p.load(m, 0); p.can(m) && (to == nil || load < least) {
			to, least = p.loads.of[m], load
		}
	}
	return to
}

// moves counts a session that will go.
func (p *plan) moves(from, to *shard) {
	p.planned[from] -= p.parallel
	p.planned[to] += p.parallel
}
