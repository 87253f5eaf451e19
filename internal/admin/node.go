package admin

import (
	"net/http"
	"time"
	"unicode/utf8"
)

// Node is what a node tells of itself at a glance. Counts are since its start, so that whoever asks twice knows the rates.
type Node struct {
	ID      string `json:"id"`
	Role    string `json:"role"`
	Version string `json:"version"`
	Life    string `json:"life"` // another one after each start: counts have begun anew
	At      int64  `json:"at"`   // when this was, ms since the node's start
	Ring    string `json:"ring"` // version of its ring
	State   string `json:"state"`

	Checks   []checkResult     `json:"checks"` // those of /readyz
	Sessions uint64            `json:"sessions"`
	Limit    uint64            `json:"limit"`
	Blocked  uint64            `json:"blocked"` // sessions of which a socket takes nothing
	Leaving  uint64            `json:"leaving"` // sessions on their way to another gateway
	Counts   Counts            `json:"counts"`
	Refused  map[string]uint64 `json:"refused"` // handshakes by reason, those that there were

	Router  *RouterNode  `json:"router,omitempty"`
	Gateway *GatewayNode `json:"gateway,omitempty"`
}

// Counts are counts of both roles.
type Counts struct {
	Opened    uint64 `json:"opened"`    // sessions, those taken over included
	Closed    uint64 `json:"closed"`    // sessions, those that went on elsewhere left out
	Moved     uint64 `json:"moved"`     // sessions that came from another gateway (gateway) or changed gateways (router)
	Delivered uint64 `json:"delivered"` // messages handed to sockets, by gateways
	Sent      uint64 `json:"sent"`      // bytes handed to sockets
	Gaps      uint64 `json:"gaps"`
	Published uint64 `json:"published"` // by this node's admin port
}

// RouterNode is what only a router has.
type RouterNode struct {
	Homeless uint64 `json:"homeless"` // sessions that wait for a gateway
	Queue    int    `json:"queue"`    // handshakes that wait
	Silent   int    `json:"silent"`   // gateways whose heartbeat is gone
	Frozen   bool   `json:"frozen"`   // it goes by the last good ring
}

// GatewayNode is what only a gateway has.
type GatewayNode struct {
	Topics       int64      `json:"topics"`
	LogBytes     int64      `json:"logBytes"`
	LogLimit     int64      `json:"logLimit"`
	MissingTails int        `json:"missingTails"`
	StaleSlots   int64      `json:"staleSlots"`
	Tails        []SlotTail `json:"tails"` // owned slots, and stale ones
	Hottest      []HotTopic `json:"hottest"`
	Delivery     Delivery   `json:"delivery"`
}

// SlotTail is how far a gateway has read a slot.
type SlotTail struct {
	Slot    int   `json:"slot"`
	Owned   bool  `json:"owned"`
	Stands  bool  `json:"stands"`
	Stale   bool  `json:"stale"`
	AsOf    int64 `json:"asOf"` // watermark, ms since the epoch by the clock of Redis
	Lag     int64 `json:"lag"`  // how long ago that was, ms
	Unread  int64 `json:"unread"`
	Pending int64 `json:"pending"`
}

// HotTopic is one of the topics that a gateway is busiest with.
type HotTopic struct {
	Topic    string  `json:"topic"`
	Sessions int     `json:"sessions"`
	Rate     float64 `json:"rate"` // messages per second; -1 when not known yet
}

// Delivery is how often a message took how long from its stream to the sockets: Counts[i] those that took at most Bounds[i]
// seconds, and the last one all.
type Delivery struct {
	Bounds []float64 `json:"bounds"`
	Counts []uint64  `json:"counts"`
}

// What is taken of another node's word; more of it is left out.
const (
	maxTails   = 512
	maxHottest = 20
	maxReasons = 100
	maxChecks  = 20
	maxText    = 300 // bytes
)

// bound cuts a node's word to what a node of ours can have to say.
func (n *Node) bound() {
	n.Version, n.Life, n.Ring, n.State = cut(n.Version), cut(n.Life), cut(n.Ring), cut(n.State)
	n.Checks = n.Checks[:min(len(n.Checks), maxChecks)]
	for i := range n.Checks {
		n.Checks[i].Name, n.Checks[i].Message = cut(n.Checks[i].Name), cut(n.Checks[i].Message)
	}
	refused := make(map[string]uint64, min(len(n.Refused), maxReasons))
	for reason, v := range n.Refused {
		if len(refused) < maxReasons {
			refused[cut(reason)] = v
		}
	}
	n.Refused = refused
	if g := n.Gateway; g != nil {
		g.Tails = g.Tails[:min(len(g.Tails), maxTails)]
		g.Hottest = g.Hottest[:min(len(g.Hottest), maxHottest)]
		for i := range g.Hottest {
			g.Hottest[i].Topic = cut(g.Hottest[i].Topic)
		}
		g.Delivery.Bounds = g.Delivery.Bounds[:min(len(g.Delivery.Bounds), maxChecks)]
		g.Delivery.Counts = g.Delivery.Counts[:min(len(g.Delivery.Counts), maxChecks+1)]
	}
}

// cut is the beginning of a text, whole characters of it.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	for n := maxText; ; n-- {
		if utf8.RuneStart(s[n]) {
			return s[:n]
		}
	}
}

// self is what this node tells of itself.
func (s *Server) self() Node {
	n := Node{ID: s.cfg.Self}
	if s.deps.Node != nil {
		n = s.deps.Node()
	}
	n.ID, n.Life, n.At = s.cfg.Self, s.life, time.Since(s.started).Milliseconds()
	n.Ring = s.deps.Ring().Version()
	n.Checks = s.checkAll()
	return n
}

// serveNode tells of this node.
func (s *Server) serveNode(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	answer(w, http.StatusOK, s.self())
	return nil
}
