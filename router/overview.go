package router

import export "github.com/ringside-edge/ringside/internal/metrics"

// Overview is what there is to know of a router at a glance. Counts are since its start.
type Overview struct {
	Sessions, Limit  uint64
	Blocked          uint64 // sessions of which a socket takes nothing
	Moving, Homeless uint64 // on their way to another gateway; those of them whose client waits
	Queue            int    // handshakes that wait to begin
	Silent           int    // active gateways whose heartbeat is gone
	Frozen           bool   // the last good ring stands in for a view that has lost too much

	Opened, Closed, Moved, Sent uint64 // sessions; sessions that changed gateways; bytes handed to clients
	Refused                     map[string]uint64
}

// Overview is that of now. Safe for concurrent use.
func (r *Router) Overview() Overview {
	o := Overview{
		Sessions: r.Sessions(), Limit: uint64(r.cfg.MaxSessions),
		Moving:   r.sum(func(c *counts) *count { return &c.moving }),
		Homeless: r.sum(func(c *counts) *count { return &c.homeless }),
		Silent:   r.silent(), Frozen: r.placement.look().frozen,
		Sent:    r.sum(func(c *counts) *count { return &c.bytes[toClient] }),
		Refused: export.ByLabel(r.metrics.refusals),
	}
	if r.gate.door != nil {
		o.Queue = r.gate.door.Stats(r.now()).Queued
	}
	for to := range sides {
		o.Blocked += r.sum(func(c *counts) *count { return &c.blocked[to] })
	}
	for kind := range isWebSocket | isLeg + 1 {
		o.Opened += r.sum(func(c *counts) *count { return &c.opened[kind] })
	}
	for reason := range closeReasons {
		o.Closed += r.metrics.closed[reason].Load()
	}
	for reason := range moveReasons {
		o.Moved += r.metrics.moves[reason][movedOK].Load()
	}
	return o
}

// silent is how many of the ring's gateways give no heartbeat any more. Those that have gone are none of them.
func (r *Router) silent() (n int) {
	members := r.deps.Ring().Shards()
	r.shards.mu.RLock()
	defer r.shards.mu.RUnlock()
	for _, m := range members {
		if sh := r.shards.by[m.Addr]; sh != nil && sh.id == m.ID && sh.down() {
			n++
		}
	}
	return n
}
