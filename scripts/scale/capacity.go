package main

import "math"

// costs are what a session and a message cost, as measured on one machine.
type costs struct {
	RouterMemory, GatewayMemory float64 // bytes of user memory per idle session, docs/BENCHMARKS.md
	RouterCPU, GatewayCPU       float64 // seconds per delivered message, docs/BENCHMARKS.md
	Socket                      float64 // bytes of kernel memory per idle TCP socket, measured here
	Handshake                   float64 // seconds of one core per session that is opened, all of the chain and the client, measured here
}

// measured are the costs that another document has: docs/BENCHMARKS.md, at one message per second.
//
//nolint:gochecknoglobals // a constant in all but name
var measured = costs{RouterMemory: 1086, GatewayMemory: 1135, RouterCPU: 12.4e-6, GatewayCPU: 9.7e-6}

// limits are those of one node.
type limits struct {
	Cores       float64
	Busy        float64 // share of them that may be busy; the rest is for the worst minute
	Memory      float64 // bytes for sessions
	Descriptors float64
	Ports       float64 // local ports of a router towards one address of a gateway
	Rate        float64 // messages per second and session
}

// need is how many sessions a node can hold by each of its limits, and how many nodes a crowd needs.
type need struct {
	RouterBy, GatewayBy map[string]float64
	Router, Gateway     float64 // the least of them
}

// capacity is the model: each limit by itself, and the least counts.
func capacity(c costs, l limits) need {
	n := need{
		RouterBy: map[string]float64{
			"CPU": l.Cores * l.Busy / (c.RouterCPU * l.Rate), "memory": l.Memory / (c.RouterMemory + 2*c.Socket), "descriptors": l.Descriptors / 2,
		},
		GatewayBy: map[string]float64{
			"CPU": l.Cores * l.Busy / (c.GatewayCPU * l.Rate), "memory": l.Memory / (c.GatewayMemory + c.Socket), "descriptors": l.Descriptors,
		},
	}
	n.Router, n.Gateway = least(n.RouterBy), least(n.GatewayBy)
	return n
}

func least(by map[string]float64) float64 {
	m := math.Inf(1)
	for _, v := range by {
		m = min(m, v)
	}
	return m
}

// nodes are how many routers and gateways a crowd needs: one more of each than it takes, so that one may be away. A router has a port for
// each of its legs to a gateway, and gets more addresses to dial by more gateways.
func (n need) nodes(clients float64, l limits) (routers, gateways int) {
	routers = int(math.Ceil(clients/n.Router)) + 1
	perRouter := clients / float64(routers-1)
	gateways = int(max(math.Ceil(clients/n.Gateway), math.Ceil(perRouter/l.Ports))) + 1
	return routers, gateways
}
