package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gossip"
	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/metrics"
	"github.com/ringside-edge/ringside/internal/safelog"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/stream"
)

// openSecret stands in for the cluster's secret when none is set: the leg is signed with what everybody can know.
// Fine on loopback; warned of elsewhere.
const openSecret = "ringside runs without a secret"

const (
	// loadEvery is how often a node tells gossip how many sessions it has.
	loadEvery = time.Second
	// leaveTimeout is what gossip has to tell the others that a node is gone.
	leaveTimeout = 3 * time.Second
)

// settings are the part of a role's settings that both roles have.
type settings struct {
	id     string
	role   ring.Role
	weight int
	admin  config.Addr
	gossip config.Addr
	listen config.Addr
	drain  time.Duration
	config.AdminTrust
	config.AdminLimits
	config.Cluster
	config.Streams

	adminListener net.Listener // a predecessor's; nil as a rule
	seeds         []string     // further gossip addresses to join, of a predecessor
}

// server is a router or a gateway.
type server interface {
	prometheus.Collector
	Addr() string
	Ready() error
	Run(ctx context.Context) error
	Drain(ctx context.Context) error // ends in time by itself
	Sessions() uint64
}

// core is a node without the one thing that it is: the stream client, gossip and the admin port.
//
//	            signals, POST /drain
//	                     │ leave
//	                     ▼
//	conduct ── joining ──► active ──► draining ──► left, and its return ends the rest
//	   │          ▲ warm      │           │
//	   ▼          │           ▼           ▼
//	gossip     server ◄────── stream     server.Drain
//	   │                        ▲
//	   └──► ring ──► server     └── POST /publish ── admin port
//
// Redis, gossip, server, admin port, the report of loads and conduct run side by side; the first that ends stops
// the others, and all are waited for.
type core struct {
	set      settings
	log      *zap.Logger
	registry *prometheus.Registry
	keys     *leg.Keyring
	secrets  []string           // of the cluster: gossip is encrypted with the first and understood with any; none for gossip in the clear
	legTLS   func() *tls.Config // with which gateways are dialed; nil without TLS
	stream   *stream.Client
	settings *clusterSettings
	server   server
	trust    admin.Trust          // who may use the admin port
	root     http.Handler         // at / of the admin port; nil for its index
	face     atomic.Pointer[face] // what others see of the node
	asides   chan aside           // requests to free the ports
	leave    *trigger             // pulled: drain, and go
	active   *trigger             // pulled once the node has told that it does its work
	closers  []func() error

	broadcasts *stream.Broadcasts // AnyCable's; nil where none are taken in
	published  atomic.Uint64      // messages, by this node's admin port
}

// newCore makes what needs no address; build adds the rest. Nothing runs.
func newCore(set settings, log *zap.Logger, leave *trigger) (*core, error) {
	secrets, err := set.Secrets()
	if err != nil {
		return nil, err
	}
	signing := secrets
	if len(secrets) == 0 {
		warnOpen(log, set.listen, set.admin, set.gossip)
		signing = []string{openSecret}
	}
	trust, err := newTrust(set.AdminTrust, log.Named("admin"))
	if err != nil {
		return nil, err
	}
	keys, err := leg.NewKeyring(signing...)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	client, err := stream.New(stream.Config{
		URL:        string(set.Redis),
		Retention:  set.Retention,
		MaxLen:     int64(set.StreamMaxLen),
		MaxPayload: int(set.MaxPayload),
		Name:       "ringside-" + set.id,
		OpTimeout:  set.RedisTimeout,
		TLS: stream.TLS{
			CA: set.RedisTLSCA, Cert: set.RedisTLSCert, Key: set.RedisTLSKey, ServerName: set.RedisTLSServerName,
		},
		MinReplicas: set.MinReplicas,
		WaitTimeout: set.WaitTimeout,
	}, log.Named("stream"))
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return &core{
		settings: newClusterSettings(set.id, client, log.Named("settings")),
		set:      set, log: log, keys: keys, secrets: secrets, stream: client, trust: trust,
		registry: metrics.New(version(), set.role.String()),
		leave:    leave, active: newTrigger(), asides: make(chan aside),
	}, nil
}

// warnOpen says so when a cluster without a secret can be reached from other machines.
func warnOpen(log *zap.Logger, addrs ...config.Addr) {
	for _, a := range addrs {
		if !a.Loopback() {
			log.Warn("no secret is set, and this address can be reached from other machines: whoever does can join the cluster and forge client addresses; set --secret-file",
				zap.String("address", string(a)))
			return
		}
	}
}

// build binds the admin port and gossip around the server, which is bound already. root is what the admin port
// serves at /, nil for its index. When it fails, [core.release] frees what was bound.
func (c *core) build(s server, root http.Handler) error {
	c.server, c.root = s, root
	f, err := c.newFace(c.set.adminListener, c.set.seeds)
	if err != nil {
		return err
	}
	c.closers = append(c.closers, f.admin.Close)
	c.show(f)
	c.registry.MustRegister(c.server, c.stream, c.settings)
	if lines := safelog.Collector(c.log); lines != nil { // tests have loggers of their own
		c.registry.MustRegister(lines)
	}
	return nil
}

func (c *core) newGossip(adminAddr string, seeds []string) (*gossip.Node, error) {
	self := ring.Member{
		ID: c.set.id, Role: c.set.role, State: ring.StateJoining, Zone: c.set.Zone, Weight: c.set.weight,
	}
	var err error
	if self.Addr, err = advertised(c.server.Addr(), c.set.Advertise); err != nil {
		return nil, err
	}
	if self.Admin, err = advertised(adminAddr, c.set.Advertise); err != nil {
		return nil, err
	}
	bind, err := numeric(string(c.set.gossip)) // memberlist takes a name for a wildcard
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	cfg := gossip.Config{
		Bind: bind, Cluster: c.set.Cluster.Cluster, Self: self, Static: c.static(),
		Settings: c.settings.Settings, Wishes: c.settings.interpret,
	}
	if len(c.secrets) > 0 {
		cfg.Secret, cfg.Accept = c.secrets[0], c.secrets[1:]
	}
	for _, p := range c.set.Join {
		cfg.Join = append(cfg.Join, string(p))
	}
	cfg.Join = append(cfg.Join, seeds...)
	if c.set.gossip.Wildcard() || c.set.Advertise != "" {
		if cfg.Advertise, err = advertised(string(c.set.gossip), c.set.Advertise); err != nil {
			return nil, err
		}
		if cfg.Advertise, err = numeric(cfg.Advertise); err != nil {
			return nil, fmt.Errorf("advertise: %w", err)
		}
	}
	node, err := gossip.New(cfg, c.log.Named("gossip"))
	if err != nil {
		return nil, notBound("gossip", c.set.gossip, err)
	}
	return node, nil
}

// static are the shards that the settings name.
func (c *core) static() []ring.Member {
	var list []ring.Member
	for _, s := range c.set.Static {
		list = append(list, ring.Member{
			ID: s.Name, Role: ring.RoleGateway, State: ring.StateActive, Addr: string(s.Addr), Weight: 1, Static: true,
		})
	}
	return list
}

// release frees what a node that is not going to run has bound.
func (c *core) release() {
	for _, f := range c.closers {
		_ = f() // the error that matters is the one that led here
	}
}

// checks are what must hold for the node to be ready.
func (c *core) checks() []admin.Check {
	return []admin.Check{
		{Name: "state", Ready: func() error {
			switch {
			case c.leave.has():
				return errors.New("draining")
			case !c.active.has():
				return errors.New("joining")
			}
			return nil
		}},
		{Name: "redis", Ready: c.stream.Ready},
		{Name: "gossip", Ready: func() error { return c.gossip().Ready() }},
		{Name: c.set.role.String(), Ready: c.server.Ready},
	}
}

// run runs the node until it has left or ctx ends. warm is closed when the server can do its work.
func (c *core) run(ctx context.Context, warm <-chan struct{}) error {
	c.log.Info("started", zap.String("role", c.set.role.String()), zap.String("id", c.set.id), zap.String("version", version()),
		zap.String("listen", c.server.Addr()), zap.String("admin", c.face.Load().admin.Addr()), zap.String("gossip", c.gossip().Addr()),
		zap.String("redis", c.set.Redis.Redacted()))
	return runAll(ctx,
		part{"redis", c.stream.Run},
		part{"", c.runFace},
		part{c.set.role.String(), c.server.Run},
		part{"", c.settings.run},
		part{"", c.reportLoad},
		part{"", c.reclaim},
		part{"broadcasts", c.readBroadcasts},
		part{"", func(ctx context.Context) error { return c.conduct(ctx, warm) }},
	)
}

// conduct takes the node through its states. It returns when the node has left.
func (c *core) conduct(ctx context.Context, warm <-chan struct{}) error {
	select {
	case <-warm:
		c.settings.await(ctx)
		c.gossip().SetState(ring.StateActive)
		c.active.pull()
		c.notify(daemon.SdNotifyReady)
		c.log.Info("active")
	case <-c.leave.pulled():
	case <-ctx.Done():
		return nil
	}
	select {
	case <-c.leave.pulled():
	case <-ctx.Done():
		return nil
	}
	c.log.Info("draining", zap.Uint64("sessions", c.server.Sessions()), zap.Duration("window", c.set.drain))
	c.notify(daemon.SdNotifyStopping)
	c.gossip().SetState(ring.StateDraining)
	err := c.server.Drain(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		c.log.Warn("the drain's time is over before all sessions are gone", zap.Uint64("sessions", c.server.Sessions()), zap.Error(err))
	default:
		c.log.Info("drained")
	}
	c.leave.over.Store(true)
	c.gossip().SetLoad(c.server.Sessions())
	leave, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	if err := c.gossip().Leave(leave); err != nil {
		c.log.Warn("the others may take this node for dead: it could not tell them that it leaves", zap.Error(err))
	}
	c.log.Info("left")
	return nil
}

// reportLoad tells gossip how many sessions there are.
func (c *core) reportLoad(ctx context.Context) error {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.gossip().SetLoad(c.server.Sessions())
		}
	}
}

// ring is the present placement. It must not be called before build is done.
func (c *core) ring() *ring.Ring { return c.gossip().Ring() }

// notify tells a service manager, if one wants to know (sd_notify).
func (c *core) notify(state string) {
	if _, err := daemon.SdNotify(false, state+"\nMAINPID="+strconv.Itoa(os.Getpid())); err != nil {
		c.log.Warn("cannot tell the service manager", zap.Error(err))
	}
}

// Drain implements [admin.Drainer].
func (c *core) Drain() { c.leave.pull() }

// Sessions implements [admin.Drainer].
func (c *core) Sessions() uint64 { return c.server.Sessions() }
