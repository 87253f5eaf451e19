package config

import (
	"errors"
	"fmt"
	"time"
)

// Router is how `ringside router` is set up.
type Router struct {
	File

	// Where it listens.
	Listen Addr `default:"127.0.0.1:8080" help:"Address for clients."`
	Admin  Addr `default:"127.0.0.1:8081" help:"Address of the admin port: ring, metrics, publish, drain. Keep it inside."`
	Gossip Addr `default:"127.0.0.1:7946" help:"Address for gossip, TCP and UDP."`
	// A router owns nothing, so that its name need not be stable.
	ID ID `placeholder:"NAME" example:"router-1" help:"Name of this router in the ring; by default the host's name and a random part."`

	AdminTrust
	AdminLimits
	Cluster
	Streams
	Origins

	// A client's connection costs two descriptors; 0 takes what the descriptor limit allows.
	MaxSessions int `group:"Sessions" default:"0" min:"0" help:"Sessions at most; 0 for as many as the descriptor limit allows."`
	// From the first byte of a request to the answer of a gateway, all dials included.
	HandshakeTimeout time.Duration `group:"Sessions" default:"5s" min:"100ms" max:"5m" help:"Whole time for a client's handshake."`
	// Part of the handshake's time: a gateway that does not answer costs this much before the next is tried.
	DialTimeout time.Duration `group:"Sessions" default:"1s" min:"10ms" max:"1m" help:"Time for one gateway to take a connection."`
	// Three heartbeats of a gateway: a session with no byte in either direction for so long is dead.
	IdleTimeout time.Duration `group:"Sessions" default:"75s" min:"100ms" max:"24h" help:"Silence after which a session ends; keep it above three heartbeats of the gateways."`
	// A client that reads nothing at all for so long is gone, or not worth its socket buffer.
	WriteTimeout time.Duration `group:"Sessions" default:"30s" min:"100ms" max:"1h" help:"How long a full socket may take nothing."`
	// Finds peers that died without a word while nothing is sent.
	KeepAlive time.Duration `group:"Sessions" default:"30s" min:"1s" max:"2h" help:"TCP keep-alive of idle sockets."`
	// Finds them while something is. A peer that reads slowly, or not at all, acknowledges; one that is gone does not.
	AckTimeout time.Duration `group:"Sessions" default:"20s" min:"1s" max:"1h" help:"How long a peer may acknowledge nothing of what it was sent; on Linux only."`
	// How long a stop waits for sessions that are told to go elsewhere.
	DrainWindow time.Duration `group:"Sessions" default:"30s" min:"10ms" max:"1h" help:"Time over which a drain spreads its closes."`
	// Clients that come meanwhile wait in the system's backlog: whoever was at the door of a router that has come back is not refused. It ends
	// with the first gateway that gossip tells of.
	RingWait time.Duration `group:"Sessions" default:"5s" min:"1ms" max:"20s" help:"How long a router that starts without a gateway has clients wait, before it refuses them."`

	// Five heartbeats are sent in this time; a gateway that answers none of them has its sessions moved.
	Detect time.Duration `group:"Re-homing" default:"1s" min:"100ms" max:"1m" help:"How long a gateway may be silent before its sessions are moved."`
	// Its client is then closed with 1012 and a delay for its return.
	RehomeWait time.Duration `group:"Re-homing" default:"30s" min:"100ms" max:"1h" help:"How long a session whose gateway is gone waits for another."`
	// All routers together: each takes its share.
	RehomeAtOnce int `group:"Re-homing" default:"64" min:"1" max:"65536" help:"Sessions that one gateway takes over at once."`
	// So that the survivors of a crash are not the next victims.
	RehomeRate int `group:"Re-homing" default:"4000" min:"1" max:"1000000" help:"Sessions that one gateway takes over per second."`
	// Off, only new sessions go where a changed ring wants them.
	Rebalance bool `group:"Re-homing" default:"true" negatable:"" help:"Move live sessions to where the ring wants them."`
	// A flapping member moves nobody.
	Settle time.Duration `group:"Re-homing" default:"5s" min:"100ms" max:"1h" help:"How long the ring must have stood still before sessions are rebalanced."`
	// Within the two rates below.
	RebalanceWindow time.Duration `group:"Re-homing" default:"30s" min:"10ms" max:"1h" help:"Time over which sessions are rebalanced."`
	RebalanceMin    int           `group:"Re-homing" default:"100" min:"1" max:"1000000" help:"Sessions rebalanced per second at least."`
	RebalanceMax    int           `group:"Re-homing" default:"2000" min:"1" max:"1000000" help:"Sessions rebalanced per second at most."`

	// What a gateway sends of a topic that many sessions of this router follow comes once for all of them. Off, it comes once for each.
	SharedFeeds bool `group:"Shared feeds" default:"true" negatable:"" help:"Serve sessions that only listen from feeds which they share."`
	// A feed is a connection to a gateway, for each event loop.
	FeedMin int `group:"Shared feeds" default:"4" min:"1" max:"1000000" help:"Sessions of an event loop that a feed is worth."`
	// Each time that its client speaks it gets longer, up to four minutes.
	ParkAfter time.Duration `group:"Shared feeds" default:"2s" min:"100ms" max:"4m" help:"How long a client must have been silent to be served from a feed."`
	// A client that falls behind gets a connection to a gateway of its own, whose log reaches back further.
	FeedEntries int  `group:"Shared feeds" default:"256" min:"1" max:"1000000" help:"Messages of a feed that are kept in memory."`
	FeedBytes   Size `group:"Shared feeds" default:"1MiB" min:"64KiB" max:"1GiB" help:"Bytes of a feed that are kept in memory."`
	// Beyond it feeds keep less. The newest message always stays.
	FeedTotalBytes Size `group:"Shared feeds" default:"64MiB" min:"1MiB" max:"64GiB" help:"Bytes of all feeds together that are kept in memory."`

	Hot

	// Kept for the next gateway. Keep it above the gateways' max-frame: a client that has sent more is not read on.
	MaxUnacked Size `group:"Limits" default:"128KiB" min:"4KiB" max:"16MiB" help:"Bytes of a client that a gateway has not acknowledged."`
	// Larger heads are answered with 431.
	MaxHeader Size `group:"Limits" default:"8KiB" min:"1KiB" max:"64KiB" help:"Largest head of a request."`
	// Longer ones are answered with 414.
	MaxURL Size `name:"max-url" group:"Limits" default:"2KiB" min:"256B" max:"16KiB" help:"Longest request target."`

	Connections
	CableRoute
	ClientAddr
	Admission
	AddrConnections
	PublicTLS
	LegTLS

	// A successor connects there; it must be of the same user. SIGUSR2 needs none: it starts the successor itself.
	TakeoverSocket string `group:"Takeover" placeholder:"PATH" example:"/run/ringside/takeover" help:"Where a new process may take this one's place: a UNIX socket."`
	// Everything else in the configuration is read anew; the listeners stay as they are.
	Takeover string `group:"Takeover" placeholder:"PATH" example:"/run/ringside/takeover" help:"Take the place of the router whose takeover-socket this is, with its listeners and sessions."`

	Buffers

	Engine

	Logging
}

// Validate checks what concerns more than one setting.
func (r *Router) Validate() error {
	if err := r.Cluster.validate(); err != nil {
		return err
	}
	if err := r.AdminTrust.validate(r.Admin); err != nil {
		return err
	}
	if err := errors.Join(r.PublicTLS.validate(), r.LegTLS.validate()); err != nil {
		return err
	}
	if r.DialTimeout > r.HandshakeTimeout {
		return fmt.Errorf("dial-timeout (%v) is longer than handshake-timeout (%v), which it is part of", r.DialTimeout, r.HandshakeTimeout)
	}
	if r.MaxURL > r.MaxHeader {
		return fmt.Errorf("max-url (%v) is larger than max-header (%v), which it is part of", r.MaxURL, r.MaxHeader)
	}
	if r.LoadFactor < 1.05 || r.LoadFactor > 100 {
		return fmt.Errorf("load-factor (%v) must be 1.05 to 100", r.LoadFactor)
	}
	if r.RebalanceMin > r.RebalanceMax {
		return fmt.Errorf("rebalance-min (%d) is above rebalance-max (%d)", r.RebalanceMin, r.RebalanceMax)
	}
	if err := r.Admission.validate(); err != nil {
		return err
	}
	return distinct([]string{"listen", "admin", "gossip"}, []Addr{r.Listen, r.Admin, r.Gossip})
}
