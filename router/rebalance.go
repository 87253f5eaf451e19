package router

import (
	"context"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/ring"
)

const (
	rebalanceTick = 100 * time.Millisecond
	// rebalanceLook is how often sessions are looked over while the ring stands still: one may have found its gateway
	// full, or out of reach.
	rebalanceLook = 5 * time.Second
)

// rebalance takes sessions to the gateways that the ring prefers, once it has stood still, at the pace of a drain.
func (r *Router) rebalance(ctx context.Context) {
	if r.deps.Keys == nil || r.cfg.NoRebalance {
		return
	}
	tick := time.NewTicker(rebalanceTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r.draining.Load() || r.placement.stoodStill() < r.cfg.Settle {
			continue
		}
		for _, w := range r.workers {
			w.loop.Post(eventloop.NoteFunc(w.rebalance))
		}
	}
}

// rebalancing is how far a worker is.
type rebalancing struct {
	version string  // of the ring that its sessions are placed by
	next    int64   // when to look again, by the loop's clock, ms
	rate    float64 // sessions per tick
	owed    float64
}

// rebalance begins the moves of one tick.
func (w *worker) rebalance() {
	b, rg := &w.rebalancing, w.r.ring()
	version := rg.Version()
	if b.version == version && w.loop.Now() < b.next {
		return
	}
	strays := w.strays(rg)
	if len(strays) == 0 {
		*b = rebalancing{version: version, next: w.loop.Now() + rebalanceLook.Milliseconds()}
		return
	}
	if b.rate == 0 || b.version != version {
		cfg, n := &w.r.cfg, float64(len(w.r.workers))
		perSecond := min(max(float64(len(strays))/cfg.RebalanceWindow.Seconds(), float64(cfg.RebalanceMin)/n), float64(cfg.RebalanceMax)/n)
		b.version, b.rate, b.next = version, perSecond*rebalanceTick.Seconds(), 0
	}
	for b.owed += b.rate; b.owed >= 1 && len(strays) > 0; b.owed-- {
		strays[0].session.moveTo(strays[0].to, moveRebalance)
		strays = strays[1:]
	}
	b.owed = min(b.owed, 1)
}

// stray is a session that is better placed elsewhere.
type stray struct {
	session *session
	to      *shard
}

// strays are the sessions that the ring, or the load, wants elsewhere, and that nobody moves yet. Those of a gateway that
// drains it sends away itself.
func (w *worker) strays(rg *ring.Ring) (list []stray) {
	p := w.r.spread.plan(len(w.r.workers))
	draining := map[string]bool{}
	for _, m := range rg.Members() {
		draining[m.ID] = draining[m.ID] || m.Role == ring.RoleGateway && m.State == ring.StateDraining
	}
	for _, s := range w.sessions {
		if s.home == nil || s.home.move != nil || !s.movable() || draining[s.home.shard.id] {
			continue
		}
		if to := p.better(s.key, s.home.shard); to != nil {
			p.moves(s.home.shard, to)
			list = append(list, stray{s, to})
		}
	}
	return list
}
