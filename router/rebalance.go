package router

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/ring"
)

const (
	rebalanceTick = 100 * time.Millisecond
	// rebalanceLook is how often sessions are looked over while the ring stands still: one may have found its gateway
	// full, or out of reach.
	rebalanceLook = 5 * time.Second
	// rebalanceRest is how often it is looked whether the ring is another, while nothing has to move.
	rebalanceRest = 5 * rebalanceTick
)

// rebalance takes sessions to the gateways that the ring prefers, once it has stood still, at the pace of a drain.
func (r *Router) rebalance(ctx context.Context) {
	if r.deps.Keys == nil || r.cfg.NoRebalance {
		return
	}
	tick := time.NewTimer(rebalanceTick)
	defer tick.Stop()
	var look, now time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
		tick.Reset(rebalanceTick)
		if r.draining.Load() || r.placement.stoodStill() < r.cfg.Settle {
			continue
		}
		due, version, rest := !now.Before(look), r.ring().Version(), true
		if due {
			look = now.Add(rebalanceLook)
		}
		for _, w := range r.workers {
			if at := w.placedBy.Load(); due || at == nil || *at != version { // else its loop need not wake
				w.loop.Post(eventloop.NoteFunc(w.rebalance))
				rest = false
			}
		}
		if rest {
			tick.Reset(rebalanceRest)
		}
	}
}

// rebalancing is how far a worker is.
type rebalancing struct {
	placedBy atomic.Pointer[string] // version of the ring by which all its sessions were well placed; nil when some are not
	version  string                 // of the ring that its sessions are being placed by
	rate     float64                // sessions per tick
	owed     float64
}

// rebalance begins the moves of one tick.
func (w *worker) rebalance() {
	b, rg := &w.rebalancing, w.r.ring()
	version := rg.Version()
	strays := w.strays(rg)
	if len(strays) == 0 {
		b.version, b.rate, b.owed = version, 0, 0
		b.placedBy.Store(&version)
		return
	}
	b.placedBy.Store(nil)
	if b.rate == 0 || b.version != version {
		cfg, n := &w.r.cfg, float64(len(w.r.workers))
		perSecond := min(max(float64(len(strays))/cfg.RebalanceWindow.Seconds(), float64(cfg.RebalanceMin)/n), float64(cfg.RebalanceMax)/n)
		b.version, b.rate = version, perSecond*rebalanceTick.Seconds()
	}
	for b.owed += b.rate; b.owed >= 1 && len(strays) > 0; b.owed-- {
		strays[0].of.moveTo(strays[0].to, moveRebalance)
		strays = strays[1:]
	}
	b.owed = min(b.owed, 1)
}

// stray is a session, or a feed, that is better placed elsewhere.
type stray struct {
	of interface {
		moveTo(to *shard, reason moveReason)
	}
	to *shard
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
		if s.home == nil || s.has(parked) || s.home.move != nil || !s.movable() || draining[s.home.shard.id] {
			continue
		}
		if to := p.better(s.key, s.home.shard); to != nil {
			p.moves(s.home.shard, to)
			list = append(list, stray{s, to})
		}
	}
	for _, f := range w.feeds {
		if !f.live() || f.home.move != nil || draining[f.home.shard.id] {
			continue
		}
		if to := p.better(f.key, f.home.shard); to != nil {
			p.moves(f.home.shard, to)
			list = append(list, stray{f, to})
		}
	}
	return list
}
