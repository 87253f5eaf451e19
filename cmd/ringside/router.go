package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/origin"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/router"
)

type routerCmd struct{ config.Router }

// Run runs a router until it is told to leave.
func (c *routerCmd) Run(ctx context.Context, std stdio) error {
	log, err := newLogger(c.Logging, std.err)
	if err != nil {
		return err
	}
	leave := newTrigger()
	usr2 := make(chan os.Signal, 1)
	signal.Notify(usr2, syscall.SIGUSR2) // now: one that comes before its time is obeyed later
	defer signal.Stop(usr2)
	program, err := exec.LookPath(os.Args[0]) // now: the working directory and what stands there may change
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return fmt.Errorf("cannot find this program, which is its own successor: %w", err)
	}
	var extras routerExtras
	var before *predecessor
	if c.Takeover != "" {
		if before, err = meet(ctx, c.Takeover); err != nil {
			return err
		}
		defer before.conn.Close()
		c.ID = config.ID(before.state.ID)
		extras.listener, extras.admin, extras.seeds = before.listener, before.admin, before.state.Seeds
	}
	n, err := newRouter(c.Router, log, leave, extras)
	if err != nil {
		return err
	}
	parts := []part{signals(leave), {"", n.run}}
	settled := make(chan struct{}) // nothing comes from a predecessor any more
	if before == nil {
		close(settled)
	} else {
		parts = append(parts, part{"", func(ctx context.Context) error {
			err := before.takeOver(ctx, n.router, log)
			switch {
			case errors.Is(err, errTakenBack): // what we have got has to go elsewhere; there can't be two of us
				leave.pull()
			case err != nil:
				return err
			default:
				close(settled)
			}
			<-ctx.Done()
			return err
		}})
	}
	defer n.lingerWhenSucceeded(ctx, c.TakeoverLinger)()
	up := &upgrader{node: n, router: n.router, log: log.Named("takeover"), program: program, usr2: usr2}
	parts = append(parts, part{"", func(ctx context.Context) error { return up.serve(ctx, c.TakeoverSocket, settled) }})
	if err = runAll(ctx, parts...); errors.Is(err, errSucceeded) {
		return nil
	}
	return err
}

// routerNode is a router with all that is around it.
type routerNode struct {
	*core
	router *router.Router
	secure *security
	after  func() // called when it has ended, while its bridges still carry; nil for nothing

	succeeded atomic.Bool // by another process
}

// routerExtras are what a router in `ringside dev` serves beside sessions.
type routerExtras struct {
	fallback fasthttp.RequestHandler                   // on the public port; nil for none
	root     func(router string) (http.Handler, error) // at / of the admin port, given the router's address; nil for the index

	// Of a predecessor.
	listener, admin net.Listener
	seeds           []string
}

// newRouter binds the router's three ports. Nothing runs; on an error nothing is left bound.
func newRouter(cfg config.Router, log *zap.Logger, leave *trigger, extras routerExtras) (*routerNode, error) {
	id := string(cfg.ID)
	if id == "" {
		id = routerID()
	}
	c, err := newCore(settings{
		id: id, role: ring.RoleRouter, weight: 1, admin: cfg.Admin, gossip: cfg.Gossip, listen: cfg.Listen,
		drain: cfg.DrainWindow, AdminTrust: cfg.AdminTrust, AdminLimits: cfg.AdminLimits, Cluster: cfg.Cluster, Streams: cfg.Streams, adminListener: extras.admin, seeds: extras.seeds,
	}, log, leave)
	if err != nil {
		return nil, err
	}
	origins, err := origin.Parse(cfg.AllowedOrigins)
	if err != nil {
		return nil, fmt.Errorf("allowed-origins: %w", err)
	}
	secure, err := newSecurity(&cfg.PublicTLS, cfg.LegTLS, bridge.Config{WriteTimeout: cfg.WriteTimeout, AckTimeout: cfg.AckTimeout, KeepAlive: cfg.KeepAlive}, log)
	if err != nil {
		return nil, err
	}
	c.legTLS = secure.legClient()
	r, err := router.New(router.Config{
		Origins: origins, Cable: cfg.Cable,
		Listen: string(cfg.Listen), Loops: cfg.Loops, Portable: cfg.Portable, NoIOUring: !cfg.IOUring,
		Unsent: int(cfg.UnsentBytes), ReceiveBuffer: int(cfg.ReceiveBuffer),
		HandshakeTimeout: cfg.HandshakeTimeout, DialTimeout: cfg.DialTimeout, IdleTimeout: cfg.IdleTimeout,
		WriteTimeout: cfg.WriteTimeout, KeepAlive: cfg.KeepAlive, AckTimeout: cfg.AckTimeout, DrainWindow: cfg.DrainWindow, RingWait: cfg.RingWait,
		MaxHeader: int(cfg.MaxHeader), MaxURL: int(cfg.MaxURL), MaxSessions: cfg.MaxSessions, HTTPConns: cfg.HTTPConnections,
		Admission: admissionOf(cfg.Admission, cfg.AddrConnections),
		Detect:    cfg.Detect, RehomeWait: cfg.RehomeWait, RehomeAtOnce: cfg.RehomeAtOnce, RehomeRate: cfg.RehomeRate,
		NoRebalance: !cfg.Rebalance, Settle: cfg.Settle, RebalanceWindow: cfg.RebalanceWindow,
		RebalanceMin: cfg.RebalanceMin, RebalanceMax: cfg.RebalanceMax, MaxUnacked: int(cfg.MaxUnacked),
		LoadFactor: cfg.LoadFactor, LoadFloor: cfg.LoadFloor,
		NoFeeds: !cfg.SharedFeeds, FeedMin: cfg.FeedMin, ParkAfter: cfg.ParkAfter,
		FeedEntries: cfg.FeedEntries, FeedBytes: int(cfg.FeedBytes), FeedTotalBytes: int(cfg.FeedTotalBytes),
		ProxyProtocolFrom: config.Prefixes(cfg.ProxyProtocolFrom), TrustedProxies: config.Prefixes(cfg.TrustedProxies),
	}, router.Deps{
		ID: id, Ring: c.ring, Keys: c.keys, Policy: c.settings.Policy, Log: log.Named("router"), Fallback: extras.fallback,
		Listener: extras.listener,
		TLS:      secure.publicConfig(), LegTLS: secure.legClient(), Bridges: secure.bridges, Linger: cfg.TakeoverLinger,
	})
	if err != nil {
		return nil, notBound("listen", cfg.Listen, err)
	}
	c.closers = append(c.closers, r.Close)
	var root http.Handler
	if extras.root != nil {
		root, err = extras.root(r.Addr())
	}
	if err == nil {
		err = c.build(r, root)
	}
	if err != nil {
		c.release()
		return nil, err
	}
	c.registry.MustRegister(secure.collectors()...)
	return &routerNode{core: c, router: r, secure: secure}, nil
}

// run runs the router until it has left or ctx ends.
func (n *routerNode) run(ctx context.Context) error {
	warm := make(chan struct{})
	close(warm) // a router that is up can do its work
	after := n.after
	if after == nil {
		after = func() {}
	}
	return n.secure.around(ctx, func(ctx context.Context) error { return n.core.run(ctx, warm) }, after)
}

// routerID is a name that no other router has and that says where it runs.
func routerID() string {
	var random [3]byte
	_, _ = rand.Read(random[:]) // never fails
	host, err := os.Hostname()
	if err != nil || new(config.ID).UnmarshalText([]byte(host)) != nil || len(host) > 48 {
		host = "router"
	}
	return host + "-" + hex.EncodeToString(random[:])
}
