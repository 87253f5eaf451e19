package config

import (
	"errors"
	"fmt"
	"time"
)

// Gateway is how `ringside gateway` is set up.
type Gateway struct {
	File

	// The ring places slots by it: give a gateway that comes back the same ID.
	ID ID `required:"" placeholder:"NAME" help:"Shard ID of this gateway, stable over restarts."`
	// Where it listens.
	Listen Addr `default:"127.0.0.1:9101" help:"Address for routers, and for clients that come directly."`
	Admin  Addr `default:"127.0.0.1:9201" help:"Address of the admin port: ring, metrics, publish, drain. Keep it inside."`
	Gossip Addr `default:"127.0.0.1:7947" help:"Address for gossip, TCP and UDP."`

	AdminTrust
	AdminLimits
	Cluster
	// A gateway of weight 2 gets twice the slots of one with weight 1.
	Weight int `group:"Cluster" default:"1" min:"1" max:"16" help:"Share of the ring."`

	Streams
	// Only where a connection brings messages more often than once in that time: one that comes alone waits for nothing. 0 reads on at once.
	ReadLinger time.Duration `group:"Redis" default:"2ms" min:"0" max:"10ms" help:"How long a read of Redis may be put off, where messages come one by one and fast, so that it brings several."`
	// Without, a gateway costs Redis less, and XINFO GROUPS does not show how far it has come; its own metrics do.
	Acks bool `group:"Redis" default:"true" negatable:"" help:"Read the slots that the gateway owns through a consumer group, and acknowledge what was handed on."`
	Auth
	Origins
	Cable Cable `embed:""`

	// 0 takes what the descriptor limit allows.
	MaxSessions int `group:"Sessions" default:"0" min:"0" help:"Sessions at most; 0 for as many as the descriptor limit allows."`
	// Told to clients in the welcome. Heartbeats carry the position, so that quiet topics keep up.
	Heartbeat time.Duration `group:"Sessions" default:"25s" min:"50ms" max:"10m" help:"Time between two heartbeats of a session."`
	// From the first byte of a request to its end.
	HandshakeTimeout time.Duration `group:"Sessions" default:"5s" min:"100ms" max:"5m" help:"Whole time for a client's request."`
	// A client that reads nothing at all for so long is gone, or not worth its socket buffer.
	WriteTimeout time.Duration `group:"Sessions" default:"30s" min:"100ms" max:"1h" help:"How long a full socket may take nothing."`
	// Then the session is closed with 1013 and comes back.
	ReplayTimeout time.Duration `group:"Sessions" default:"10s" min:"100ms" max:"5m" help:"How long a session waits for Redis to replay."`
	// Clients are told at once, new ones go to the next gateway, and the others are offered to it. Three beacons or more.
	StaleAfter time.Duration `group:"Freshness" default:"4s" min:"100ms" max:"10m" help:"Age of what is known of a slot from which it is stale."`
	// A sign of life in a stream in which nothing else happens.
	Beacon time.Duration `group:"Freshness" default:"1s" min:"20ms" max:"1m" help:"How long a stream may be quiet before its owner adds a beacon to it."`
	// Finds peers that died without a word while nothing is sent.
	KeepAlive time.Duration `group:"Sessions" default:"30s" min:"1s" max:"2h" help:"TCP keep-alive of idle sockets."`
	// Finds them while something is. A peer that reads slowly, or not at all, acknowledges; one that is gone does not.
	AckTimeout time.Duration `group:"Sessions" default:"20s" min:"1s" max:"1h" help:"How long a peer may acknowledge nothing of what it was sent; on Linux only."`
	// Routers take their sessions to other gateways; clients that came directly get a reconnect delay spread over the same
	// time.
	DrainWindow time.Duration `group:"Sessions" default:"30s" min:"10ms" max:"1h" help:"Time over which a drain sends the sessions away."`
	// A few sessions are gone sooner than the window is over.
	DrainMin int `group:"Sessions" default:"100" min:"1" max:"1000000" help:"Sessions that a drain sends away per second at least."`
	// Very many take longer.
	DrainMax int `group:"Sessions" default:"2000" min:"1" max:"1000000" help:"Sessions that a drain sends away per second at most."`
	// When it is over the leg ends, and the router sees to the session on its own.
	MoveGrace time.Duration `group:"Sessions" default:"5s" min:"10ms" max:"10m" help:"How long a router may take to find another gateway for a session."`

	// Larger heads are answered with 431.
	MaxHeader Size `group:"Limits" default:"8KiB" min:"1KiB" max:"64KiB" help:"Largest head of a request."`
	// Larger ones close the session with 1009.
	MaxFrame Size `group:"Limits" default:"64KiB" min:"128B" max:"1MiB" help:"Largest message of a client."`
	// A client that asks and asks and never reads is closed.
	MaxControl Size `group:"Limits" default:"16KiB" min:"1KiB" max:"1MiB" help:"Answers that may wait for a client which does not read."`
	// Further subscribe messages are answered with an error.
	MaxTopics int `group:"Limits" default:"64" min:"1" max:"65536" help:"Topics of one session."`

	ClientLimits

	Connections

	// A session that does not read and falls off the log's end is told of a gap.
	LogEntries int `group:"Memory" default:"1024" min:"1" help:"Messages of a topic that are kept in memory."`
	// Counted with the encodings of each wire format that somebody uses.
	LogBytes Size `group:"Memory" default:"4MiB" min:"64KiB" help:"Bytes of a topic's log."`
	// Above it a log that grows gives up its oldest messages, whatever its own bounds say.
	LogTotalBytes Size `group:"Memory" default:"256MiB" min:"1MiB" help:"Bytes of all logs."`
	// So that a client that comes back finds it.
	LogLinger time.Duration `group:"Memory" default:"1m" min:"1s" max:"24h" help:"How long a topic's log outlives its last session."`

	Counts

	Latest
	TopicRules

	Buffers

	Engine

	LegTLS

	Logging
}

// Validate checks what concerns more than one setting.
func (g *Gateway) Validate() error {
	if err := g.Cluster.validate(); err != nil {
		return err
	}
	if err := g.AdminTrust.validate(g.Admin); err != nil {
		return err
	}
	if err := g.LegTLS.validate(); err != nil {
		return err
	}
	if err := g.ClientLimits.validate(g.MaxTopics, g.MaxFrame); err != nil {
		return err
	}
	if g.LogBytes > g.LogTotalBytes {
		return fmt.Errorf("log-bytes (%v) is larger than log-total-bytes (%v)", g.LogBytes, g.LogTotalBytes)
	}
	if g.LogBytes < 2*g.MaxPayload {
		return fmt.Errorf("log-bytes (%v) must hold two messages of max-payload (%v)", g.LogBytes, g.MaxPayload)
	}
	if g.DrainMin > g.DrainMax {
		return fmt.Errorf("drain-min (%d) is above drain-max (%d)", g.DrainMin, g.DrainMax)
	}
	if g.StaleAfter < 3*g.Beacon {
		return fmt.Errorf("stale-after (%v) must be three times beacon (%v) or more", g.StaleAfter, g.Beacon)
	}
	if err := errors.Join(g.Auth.validate(g.HandshakeTimeout, g.MaxHeader), g.Auth.validateOrigins(g.Origins)); err != nil {
		return err
	}
	if err := g.Cable.validate(len(g.RPC.Host) > 0); err != nil {
		return err
	}
	for _, s := range g.Static {
		if s.Name == string(g.ID) {
			return fmt.Errorf("static: %s is this gateway's own id", s.Name)
		}
	}
	return distinct([]string{"listen", "admin", "gossip"}, []Addr{g.Listen, g.Admin, g.Gossip})
}
