package router

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/origin"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// Config is how a router is set up. A zero field takes the default that stands beside it.
type Config struct {
	Listen    string // host:port for clients; required
	Loops     int    // event loops; GOMAXPROCS
	Portable  bool   // event loops without epoll
	NoIOUring bool   // many clients are written to one by one, also where the system has io_uring

	HandshakeTimeout time.Duration // 5s: from the first byte of a request to a gateway's answer, all dials included
	DialTimeout      time.Duration // 1s: for one gateway to take the connection
	IdleTimeout      time.Duration // 75s: a session in which nothing moves for so long is dead; three heartbeats
	WriteTimeout     time.Duration // 30s: how long a full socket may take nothing
	KeepAlive        time.Duration // 30s: TCP keep-alive
	AckTimeout       time.Duration // 20s: how long a peer may acknowledge nothing of what it was sent
	DrainWindow      time.Duration // 30s: over which a drain spreads its closes, and clients their return
	RingWait         time.Duration // 5s: how long Run may let clients wait for a ring with a gateway before it takes them

	Detect          time.Duration // 1s: how long a gateway may be silent before its sessions are moved
	RehomeWait      time.Duration // 30s: how long a session whose gateway is gone waits for another
	RehomeAtOnce    int           // 64: sessions that a gateway takes over at once, from all routers together
	RehomeRate      int           // 4000: sessions that a gateway takes over per second, likewise
	NoRebalance     bool          // sessions stay where they are when the ring would place them elsewhere
	Settle          time.Duration // 5s: how long the ring must have stood still before sessions are rebalanced
	RebalanceWindow time.Duration // 30s: over which the sessions that the ring wants elsewhere are moved
	RebalanceMin    int           // 100: sessions per second that are moved at least
	RebalanceMax    int           // 2000: and at most, whatever the window

	LoadFactor float64 // 1.25: how many times the mean a gateway's sessions may be before new ones go to the next
	LoadFloor  int     // 100: sessions of a gateway up to which locality wins, for each unit of its weight

	NoFeeds        bool          // every session has a leg, also where a gateway offers a feed
	FeedMin        int           // 4: sessions of a loop that a feed must have been offered to for it to be opened
	ParkAfter      time.Duration // 2s: for how long a client must have said nothing for its session to be parked
	FeedEntries    int           // 256: entries of a feed's log
	FeedBytes      int           // 1 MiB: bytes of a feed's log
	FeedTotalBytes int           // 64 MiB: bytes of all their logs

	MaxUnacked    int // 128 KiB: bytes of a client's that a session keeps for its gateway to acknowledge
	MaxHeader     int // 8 KiB: bytes of a request's head
	MaxURL        int // 2 KiB: bytes of a request's target
	Unsent        int // the system's: bytes that wait in a socket before it counts as full
	ReceiveBuffer int // the system's: bytes of a socket's receive buffer

	MaxSessions int // sessions, those in their handshake included; from the descriptor limit
	HTTPConns   int // connections that are no session yet; an eighth of the descriptor limit, 4096 at most

	Origins *origin.List // sites whose pages may open sessions; nil: all
	Cable   bool         // clients of Action Cable need name no topic: see cable.go
	// ProxyProtocolFrom are the balancers that begin every connection with a PROXY protocol header, and TrustedProxies
	// the HTTP proxies whose X-Forwarded-For is believed. No 4in6, no zones.
	ProxyProtocolFrom, TrustedProxies []netip.Prefix

	Admission Admission // who may open a session, and how fast
}

// Deps are what a router works with. Ring and Log are required.
type Deps struct {
	ID   string            // the router's name in the ring, for its log
	Ring func() *ring.Ring // the present placement; never nil; called for every handshake
	// Policy is by which clients come back; nil: the default. Called for every client that is sent away.
	Policy func() backoff.Policy
	Keys   *leg.Keyring // signs the handshakes towards gateways; nil: no legs, all upstreams are spliced raw
	Log    *zap.Logger
	// TLS is spoken on the public port; nil for none. Its connections, and legs over TLS, are carried by Bridges, which are run
	// by whoever has made them and which are needed then.
	TLS     *tls.Config
	Bridges *bridge.Set
	// LegTLS is what legs are dialed with; nil for legs without TLS. It is called for each.
	LegTLS func() *tls.Config
	// Linger is how long Bridges go on when a successor has the sessions.
	Linger time.Duration
	// Listener takes clients in place of one that New binds; nil as a rule. It is the router's from then on.
	Listener net.Listener
	// Fallback answers requests that name no topic and ask for no session; nil: they get a 404. It sees bodies of up
	// to 1 MiB.
	Fallback fasthttp.RequestHandler
}

const (
	// descriptorReserve is what a router keeps of its descriptors for everything but connections of clients.
	descriptorReserve = 256
	// maxHTTPConns bounds the connections that are not sessions yet, whatever the descriptor limit is, unless told otherwise.
	maxHTTPConns = 4096
	// maxFallbackBody bounds the body of a request that the fallback answers, in bytes.
	maxFallbackBody = 1 << 20
)

// httpConnsFor is how many connections that are not sessions yet a process with this descriptor limit has.
func httpConnsFor(descriptors int) int { return max(16, min(maxHTTPConns, descriptors/8)) }

// sessionsFor is how many sessions it has, with so many descriptors each, beside so many connections that are none yet.
func sessionsFor(descriptors, each, conns int) int {
	return max(1, (descriptors-descriptorReserve-conns)/each)
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c *Config) setDefaults(deps *Deps) error {
	orElse(&c.Loops, runtime.GOMAXPROCS(0))
	orElse(&c.HandshakeTimeout, 5*time.Second)
	orElse(&c.DialTimeout, time.Second)
	orElse(&c.IdleTimeout, 75*time.Second)
	orElse(&c.WriteTimeout, 30*time.Second)
	orElse(&c.KeepAlive, 30*time.Second)
	orElse(&c.AckTimeout, 20*time.Second)
	orElse(&c.DrainWindow, 30*time.Second)
	orElse(&c.RingWait, 5*time.Second)
	orElse(&c.Detect, time.Second)
	orElse(&c.RehomeWait, 30*time.Second)
	orElse(&c.RehomeAtOnce, 64)
	orElse(&c.RehomeRate, 4000)
	orElse(&c.Settle, 5*time.Second)
	orElse(&c.RebalanceWindow, 30*time.Second)
	orElse(&c.RebalanceMin, 100)
	orElse(&c.RebalanceMax, 2000)
	orElse(&c.LoadFactor, 1.25)
	orElse(&c.LoadFloor, 100)
	orElse(&c.FeedMin, 4)
	orElse(&c.ParkAfter, 2*time.Second)
	orElse(&c.FeedEntries, 256)
	orElse(&c.FeedBytes, 1<<20)
	orElse(&c.FeedTotalBytes, 64<<20)
	orElse(&c.MaxUnacked, 128<<10)
	orElse(&c.MaxHeader, 8<<10)
	orElse(&c.MaxURL, 2<<10)
	if err := c.Admission.setDefaults(); err != nil {
		return err
	}
	limit := eventloop.DescriptorLimit()
	each := deps.descriptors()
	orElse(&c.HTTPConns, httpConnsFor(limit))
	orElse(&c.MaxSessions, sessionsFor(limit, each, c.HTTPConns))
	if err := c.validate(); err != nil {
		return err
	}
	if most := sessionsFor(limit, each, c.HTTPConns); c.MaxSessions > most {
		return fmt.Errorf("%d sessions, beside %d connections that are none yet, are more than the %d that the descriptor limit of %d allows: raise it (ulimit -n)",
			c.MaxSessions, c.HTTPConns, most, limit)
	}
	return nil
}

// descriptors are what a session needs: its two connections, and what a bridge adds to one that TLS is spoken on.
func (d *Deps) descriptors() int {
	n := 2
	if d.TLS != nil {
		n += bridge.Descriptors
	}
	if d.LegTLS != nil {
		n += bridge.Descriptors
	}
	return n
}

func (c *Config) validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen address %q: %w", c.Listen, err)
	}
	for name, v := range map[string]int64{
		"loops": int64(c.Loops), "handshake time-out": int64(c.HandshakeTimeout), "dial time-out": int64(c.DialTimeout),
		"idle time-out": int64(c.IdleTimeout), "write time-out": int64(c.WriteTimeout), "keep-alive": int64(c.KeepAlive),
		"acknowledgement time-out": int64(c.AckTimeout), "drain window": int64(c.DrainWindow), "wait for a ring": int64(c.RingWait), "header limit": int64(c.MaxHeader),
		"detection time": int64(c.Detect), "re-homing wait": int64(c.RehomeWait), "re-homing limit": int64(c.RehomeAtOnce),
		"re-homing rate": int64(c.RehomeRate), "settling time": int64(c.Settle), "rebalancing window": int64(c.RebalanceWindow),
		"least rebalancing rate": int64(c.RebalanceMin), "largest rebalancing rate": int64(c.RebalanceMax),
		"load floor": int64(c.LoadFloor), "limit of unacknowledged bytes": int64(c.MaxUnacked), "URL limit": int64(c.MaxURL), "session limit": int64(c.MaxSessions),
		"limit of connections": int64(c.HTTPConns), "sessions of a feed": int64(c.FeedMin), "parking time": int64(c.ParkAfter),
		"entries of a feed": int64(c.FeedEntries), "bytes of a feed": int64(c.FeedBytes), "bytes of all feeds": int64(c.FeedTotalBytes),
	} {
		if v <= 0 {
			return fmt.Errorf("the %s must be positive", name)
		}
	}
	if c.LoadFactor < 1.05 || c.LoadFactor > 100 { // also when it is no number
		return fmt.Errorf("a load factor of %v: want 1.05 to 100", c.LoadFactor)
	}
	return nil
}

func (d Deps) validate() error {
	if d.Ring == nil || d.Log == nil || d.Bridges == nil && (d.TLS != nil || d.LegTLS != nil) {
		return errors.New("BUG: router: a dependency is missing")
	}
	return nil
}

// socketOptions are those of sessions, towards clients and gateways.
func (c *Config) socketOptions() eventloop.SocketOptions {
	return eventloop.SocketOptions{KeepAlive: c.KeepAlive, Unsent: c.Unsent, ReceiveBuffer: c.ReceiveBuffer}
}
