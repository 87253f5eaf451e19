package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"os"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/config"
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
	n, err := newRouter(c.Router, log, leave, routerExtras{})
	if err != nil {
		return err
	}
	return runAll(ctx, signals(leave), part{"", n.run})
}

// routerNode is a router with all that is around it.
type routerNode struct{ *core }

// routerExtras are what a router in `ringside dev` serves beside sessions.
type routerExtras struct {
	fallback fasthttp.RequestHandler                   // on the public port; nil for none
	root     func(router string) (http.Handler, error) // at / of the admin port, given the router's address; nil for the index
}

// newRouter binds the router's three ports. Nothing runs; on an error nothing is left bound.
func newRouter(cfg config.Router, log *zap.Logger, leave *trigger, extras routerExtras) (*routerNode, error) {
	id := string(cfg.ID)
	if id == "" {
		id = routerID()
	}
	c, err := newCore(settings{
		id: id, role: ring.RoleRouter, weight: 1, admin: cfg.Admin, gossip: cfg.Gossip, listen: cfg.Listen,
		drain: cfg.DrainWindow, Cluster: cfg.Cluster, Streams: cfg.Streams,
	}, log, leave)
	if err != nil {
		return nil, err
	}
	r, err := router.New(router.Config{
		Listen: string(cfg.Listen), Loops: cfg.Loops, Portable: cfg.Portable,
		HandshakeTimeout: cfg.HandshakeTimeout, DialTimeout: cfg.DialTimeout, IdleTimeout: cfg.IdleTimeout,
		WriteTimeout: cfg.WriteTimeout, KeepAlive: cfg.KeepAlive, UserTimeout: cfg.UserTimeout, DrainWindow: cfg.DrainWindow,
		MaxHeader: int(cfg.MaxHeader), MaxURL: int(cfg.MaxURL), MaxSessions: cfg.MaxSessions,
		Detect: cfg.Detect, RehomeWait: cfg.RehomeWait, RehomeAtOnce: cfg.RehomeAtOnce, RehomeRate: cfg.RehomeRate,
		NoRebalance: !cfg.Rebalance, Settle: cfg.Settle, RebalanceWindow: cfg.RebalanceWindow,
		RebalanceMin: cfg.RebalanceMin, RebalanceMax: cfg.RebalanceMax, MaxUnacked: int(cfg.MaxUnacked),
	}, router.Deps{ID: id, Ring: c.ring, Keys: c.keys, Log: log.Named("router"), Fallback: extras.fallback})
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
	return &routerNode{c}, nil
}

// run runs the router until it has left or ctx ends.
func (n *routerNode) run(ctx context.Context) error {
	warm := make(chan struct{})
	close(warm) // a router that is up can do its work
	return n.core.run(ctx, warm)
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
