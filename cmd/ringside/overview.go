package main

import (
	"github.com/ringside-edge/ringside/gateway"
	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/router"
)

// overview is what the node tells of itself on the admin port.
func (c *core) overview() admin.Node {
	n := admin.Node{Role: c.set.role.String(), Version: version(), State: c.state()}
	switch s := c.server.(type) {
	case *gateway.Gateway:
		ofGateway(&n, s)
	case *router.Router:
		ofRouter(&n, s)
	}
	n.Counts.Published = c.published.Load()
	return n
}

// state is where the node stands in its life.
func (c *core) state() string {
	switch {
	case c.leave.has():
		return ring.StateDraining.String()
	case c.active.has():
		return ring.StateActive.String()
	}
	return ring.StateJoining.String()
}

func ofGateway(n *admin.Node, g *gateway.Gateway) {
	o := g.Overview()
	n.Sessions, n.Limit, n.Blocked, n.Leaving, n.Refused = o.Sessions, o.Limit, o.Blocked, o.Leaving, o.Refused
	n.Counts = admin.Counts{
		Opened: o.Opened + o.Resumed, Closed: o.Closed, Moved: o.Resumed, Delivered: o.Delivered, Sent: o.Sent, Gaps: o.Gaps,
	}
	n.Gateway = &admin.GatewayNode{
		Topics: o.Topics, LogBytes: o.LogBytes, LogLimit: o.LogLimit, MissingTails: o.MissingTails, StaleSlots: o.StaleSlots,
		Tails: []admin.SlotTail{}, Hottest: []admin.HotTopic{}, Delivery: admin.Delivery(o.Delivery),
	}
	for _, t := range g.Tails() {
		n.Gateway.Tails = append(n.Gateway.Tails, admin.SlotTail{
			Slot: t.Slot, Owned: t.Owned, Stands: t.Stands, Stale: t.Stale, AsOf: t.AsOf, Lag: t.Age, Unread: t.Tail.Lag, Pending: t.Pending,
		})
	}
	for _, h := range g.Hottest() {
		n.Gateway.Hottest = append(n.Gateway.Hottest, admin.HotTopic(h))
	}
}

func ofRouter(n *admin.Node, r *router.Router) {
	o := r.Overview()
	n.Sessions, n.Limit, n.Blocked, n.Leaving, n.Refused = o.Sessions, o.Limit, o.Blocked, o.Moving, o.Refused
	n.Counts = admin.Counts{Opened: o.Opened, Closed: o.Closed, Moved: o.Moved, Sent: o.Sent}
	n.Router = &admin.RouterNode{Homeless: o.Homeless, Queue: o.Queue, Silent: o.Silent, Frozen: o.Frozen}
}
