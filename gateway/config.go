package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/origin"
	"github.com/ringside-edge/ringside/internal/topicrule"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/stream"
)

// Config is how a gateway is set up. A zero field takes the default that stands beside it.
type Config struct {
	ID        string // shard ID, stable over restarts; required
	Listen    string // host:port for routers and for clients that come directly; required
	Loops     int    // event loops; GOMAXPROCS
	Portable  bool   // event loops without epoll
	NoIOUring bool   // many clients are written to one by one, also where the system has io_uring

	Heartbeat        time.Duration // 25s: between two heartbeats of a session
	HandshakeTimeout time.Duration // 5s: for the whole request of a client
	WriteTimeout     time.Duration // 30s: how long a full socket may take nothing
	ReplayTimeout    time.Duration // 10s: how long a session waits for Redis before it is closed with 1013
	KeepAlive        time.Duration // 30s: TCP keep-alive
	AckTimeout       time.Duration // 20s: how long a peer may acknowledge nothing of what it was sent
	DrainWindow      time.Duration // 30s: over which a drain sends the sessions away
	DrainMin         int           // 100: sessions per second that a drain sends away at least
	DrainMax         int           // 2000: and at most, whatever the window
	MoveGrace        time.Duration // 5s: how long a session that was told to go elsewhere may take
	StaleAfter       time.Duration // 4s: age of what a slot can vouch for from which it is stale
	Beacon           time.Duration // 1s: after which a quiet slot gets a beacon
	ReadLinger       time.Duration // 0: how long a read of Redis may wait, where messages come one by one and fast, to bring several
	Plain            bool          // the slots that it owns are read without a consumer group and acknowledgements
	CountEvery       time.Duration // 500ms: between two reports of the sessions of topics to other gateways
	ViewersEvery     time.Duration // 5s: at most so often sessions that asked are told how many follow their topic

	Origins *origin.List // sites whose pages may open sessions; nil: all

	MaxHeader   int // 8 KiB: bytes of a request's head
	MaxFrame    int // 64 KiB: bytes of a client's message
	MaxTopics   int // 64: topics of a session
	MaxSessions int // sessions of this gateway; from the descriptor limit
	HTTPConns   int // connections that are no session yet; an eighth of the descriptor limit, 4096 at most
	MaxControl  int // 16 KiB: answers that wait for a session which does not read

	ClientRate    int // 50: frames that a client may send per second
	ClientBurst   int // 200: frames that it may send at once
	MaxNodeTopics int // 131072: topics of all sessions together

	LogEntries    int           // 1024: entries of a topic kept in memory
	LogBytes      int           // 4 MiB: bytes of a topic's log, encodings included
	LogTotalBytes int           // 256 MiB: bytes of all logs
	Unsent        int           // the system's: bytes that wait in a socket before it counts as full
	ReceiveBuffer int           // the system's: bytes of a socket's receive buffer
	LatestKeys    int           // 4096: messages kept behind a topic's log because they are the newest of their key
	LogLinger     time.Duration // 1m: how long a topic's log outlives its last session

	Rules *topicrule.Rules // none: how topics differ; the same on all gateways
	Cable *Cable           // nil: Action Cable is not spoken

	// Of tests.
	firstBeat  time.Duration // 1s: until the first heartbeat of a session that was taken over
	firstProbe time.Duration // 1s: until the first session of a stale slot is offered: when it is Redis that hangs, all gateways have noticed by then
}

// Deps are what a gateway works with. All are required but the policy.
type Deps struct {
	Ring          func() *ring.Ring                // the present placement; never nil
	Changed       func() (<-chan struct{}, func()) // a subscription to changes of Ring, and its end
	Policy        func() backoff.Policy            // by which clients come back; nil: the default
	PolicyChanged func() (<-chan struct{}, func()) // like Changed, for Policy; nil: it never does
	Stream        *stream.Client                   // run by the caller
	Keys          *leg.Keyring                     // what makes a router's headers credible
	Log           *zap.Logger
	Access        *Access // who may follow what; nil: everybody everything
	// TLS is spoken by who connects; nil for none. The connections are carried by Bridges, which are run by whoever has made them and
	// which are needed then.
	TLS     *tls.Config
	Bridges *bridge.Set
	LegTLS  func() *tls.Config // with which other gateways are dialed; nil without TLS
}

// descriptorReserve is what a gateway keeps of its descriptors for everything but sessions.
const descriptorReserve = 256

// maxHTTPConns bounds the connections that are no session yet, whatever the descriptor limit is, unless told otherwise.
const maxHTTPConns = 4096

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// descriptors are what a session needs: its connection, and what a bridge adds to one that TLS is spoken on.
func (d *Deps) descriptors() int {
	if d.TLS != nil {
		return 1 + bridge.Descriptors
	}
	return 1
}

func (c *Config) setDefaults(deps *Deps) error {
	orElse(&c.Loops, runtime.GOMAXPROCS(0))
	orElse(&c.Heartbeat, 25*time.Second)
	orElse(&c.HandshakeTimeout, 5*time.Second)
	orElse(&c.WriteTimeout, 30*time.Second)
	orElse(&c.ReplayTimeout, 10*time.Second)
	orElse(&c.KeepAlive, 30*time.Second)
	orElse(&c.AckTimeout, 20*time.Second)
	orElse(&c.DrainWindow, 30*time.Second)
	orElse(&c.CountEvery, 500*time.Millisecond)
	orElse(&c.ViewersEvery, 5*time.Second)
	orElse(&c.DrainMin, 100)
	orElse(&c.DrainMax, 2000)
	orElse(&c.MoveGrace, 5*time.Second)
	orElse(&c.StaleAfter, 4*time.Second)
	orElse(&c.Beacon, time.Second)
	orElse(&c.MaxHeader, 8<<10)
	orElse(&c.MaxFrame, 64<<10)
	orElse(&c.MaxTopics, 64)
	limit := eventloop.DescriptorLimit()
	orElse(&c.HTTPConns, max(16, min(maxHTTPConns, limit/8)))
	orElse(&c.MaxSessions, max(1, (limit-descriptorReserve-c.HTTPConns)/deps.descriptors()))
	orElse(&c.MaxControl, 16<<10)
	orElse(&c.ClientRate, 50)
	orElse(&c.ClientBurst, 200)
	orElse(&c.MaxNodeTopics, 1<<17)
	orElse(&c.LogEntries, 1024)
	orElse(&c.LogBytes, 4<<20)
	orElse(&c.LogTotalBytes, 256<<20)
	orElse(&c.LatestKeys, 4096)
	orElse(&c.LogLinger, time.Minute)
	orElse(&c.firstBeat, time.Second)
	orElse(&c.firstProbe, time.Second)
	return c.validate()
}

func (c *Config) validate() error {
	if c.ID == "" {
		return errors.New("a gateway needs an ID")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen address %q: %w", c.Listen, err)
	}
	for name, v := range map[string]int64{
		"loops": int64(c.Loops), "heartbeat": int64(c.Heartbeat), "handshake time-out": int64(c.HandshakeTimeout),
		"write time-out": int64(c.WriteTimeout), "replay time-out": int64(c.ReplayTimeout),
		"drain window": int64(c.DrainWindow), "least drain rate": int64(c.DrainMin), "largest drain rate": int64(c.DrainMax),
		"move grace": int64(c.MoveGrace), "header limit": int64(c.MaxHeader), "frame limit": int64(c.MaxFrame),
		"topic limit": int64(c.MaxTopics), "session limit": int64(c.MaxSessions), "limit of connections": int64(c.HTTPConns), "control limit": int64(c.MaxControl),
		"client rate": int64(c.ClientRate), "client burst": int64(c.ClientBurst), "limit of all topics": int64(c.MaxNodeTopics),
		"log entries": int64(c.LogEntries), "log bytes": int64(c.LogBytes), "total log bytes": int64(c.LogTotalBytes),
		"keys kept": int64(c.LatestKeys), "log linger": int64(c.LogLinger), "age of what is stale": int64(c.StaleAfter), "beacon interval": int64(c.Beacon),
		"interval of counts": int64(c.CountEvery), "interval of viewers": int64(c.ViewersEvery),
	} {
		if v <= 0 {
			return fmt.Errorf("the %s must be positive", name)
		}
	}
	if least := max(c.MaxTopics, frameCost(c.MaxFrame)) + 1; c.ClientBurst < least {
		return fmt.Errorf("a client burst of %d frames: %d topics and a message of %d bytes need %d", c.ClientBurst, c.MaxTopics, c.MaxFrame, least)
	}
	if c.StaleAfter < 3*c.Beacon {
		return fmt.Errorf("what is %v old is stale, and beacons come every %v: want three of them in that time", c.StaleAfter, c.Beacon)
	}
	if c.DrainMin > c.DrainMax {
		return fmt.Errorf("the least drain rate (%d/s) is above the largest (%d/s)", c.DrainMin, c.DrainMax)
	}
	return nil
}

func (d Deps) validate() error {
	if d.Ring == nil || d.Changed == nil || d.Stream == nil || d.Keys == nil || d.Log == nil || d.TLS != nil && d.Bridges == nil {
		return errors.New("BUG: gateway: a dependency is missing")
	}
	return nil
}

// socketOptions are those of sessions.
func (c *Config) socketOptions() eventloop.SocketOptions {
	return eventloop.SocketOptions{KeepAlive: c.KeepAlive, Unsent: c.Unsent, ReceiveBuffer: c.ReceiveBuffer}
}
