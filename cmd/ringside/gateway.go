package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gateway"
	"github.com/ringside-edge/ringside/internal/bridge"
	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/origin"
	"github.com/ringside-edge/ringside/ring"
)

type gatewayCmd struct{ config.Gateway }

// Run runs a gateway until it is told to leave.
func (c *gatewayCmd) Run(ctx context.Context, std stdio) error {
	log, err := newLogger(c.Logging, std.err)
	if err != nil {
		return err
	}
	leave := newTrigger()
	n, err := newGateway(c.Gateway, log, leave)
	if err != nil {
		return err
	}
	return runAll(ctx, signals(leave), part{"", n.run})
}

// gatewayNode is a gateway with all that is around it.
type gatewayNode struct {
	*core
	gateway *gateway.Gateway
	secure  *security
}

// newGateway binds the gateway's three ports. Nothing runs; on an error nothing is left bound.
func newGateway(cfg config.Gateway, log *zap.Logger, leave *trigger) (*gatewayNode, error) {
	rules, err := loadTopicRules(cfg.TopicRules, log)
	if err != nil {
		return nil, err
	}
	c, err := newCore(settings{
		id: string(cfg.ID), role: ring.RoleGateway, weight: cfg.Weight, admin: cfg.Admin, gossip: cfg.Gossip, listen: cfg.Listen,
		drain: cfg.DrainWindow, AdminTrust: cfg.AdminTrust, AdminLimits: cfg.AdminLimits, Cluster: cfg.Cluster, Streams: cfg.Streams,
	}, log, leave)
	if err != nil {
		return nil, err
	}
	origins, err := origin.Parse(cfg.AllowedOrigins)
	if err != nil {
		return nil, fmt.Errorf("allowed-origins: %w", err)
	}
	secure, err := newSecurity(nil, cfg.LegTLS, bridge.Config{WriteTimeout: cfg.WriteTimeout, AckTimeout: cfg.AckTimeout, KeepAlive: cfg.KeepAlive}, log)
	if err != nil {
		return nil, err
	}
	c.legTLS = secure.legClient()
	access, err := newAccess(cfg.Auth, cfg.Cable, rules, log)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(gateway.Config{
		ID: string(cfg.ID), Listen: string(cfg.Listen), Loops: cfg.Loops, Portable: cfg.Portable, NoIOUring: !cfg.IOUring,
		Heartbeat: cfg.Heartbeat, HandshakeTimeout: cfg.HandshakeTimeout, WriteTimeout: cfg.WriteTimeout,
		ReplayTimeout: cfg.ReplayTimeout, KeepAlive: cfg.KeepAlive, AckTimeout: cfg.AckTimeout, DrainWindow: cfg.DrainWindow,
		StaleAfter: cfg.StaleAfter, Beacon: cfg.Beacon, ReadLinger: cfg.ReadLinger, Plain: !cfg.Acks, CountEvery: cfg.CountEvery, ViewersEvery: cfg.ViewersEvery, Rules: rules, Origins: origins, Cable: newCable(cfg.Cable, access),
		DrainMin: cfg.DrainMin, DrainMax: cfg.DrainMax, MoveGrace: cfg.MoveGrace,
		MaxHeader: int(cfg.MaxHeader), MaxFrame: int(cfg.MaxFrame), MaxTopics: cfg.MaxTopics, MaxControl: int(cfg.MaxControl), MaxSessions: cfg.MaxSessions, HTTPConns: cfg.HTTPConnections,
		ClientRate: cfg.ClientRate, ClientBurst: cfg.ClientBurst, MaxNodeTopics: cfg.MaxNodeTopics,
		LogEntries: cfg.LogEntries, LogBytes: int(cfg.LogBytes), LogTotalBytes: int(cfg.LogTotalBytes), LogLinger: cfg.LogLinger, LatestKeys: cfg.LatestKeys,
		Unsent: int(cfg.UnsentBytes), ReceiveBuffer: int(cfg.ReceiveBuffer),
	}, gateway.Deps{
		Ring:    c.ring,
		Changed: func() (<-chan struct{}, func()) { return c.gossip().Changed() },
		Policy:  c.settings.Policy, PolicyChanged: c.settings.policyChanges,
		Stream: c.stream, Keys: c.keys, Log: log.Named("gateway"), Access: access,
		TLS: secure.legServer(), LegTLS: c.legTLS, Bridges: secure.bridges,
	})
	if err != nil {
		access.Guard.Close()
		return nil, notBound("listen", cfg.Listen, err)
	}
	c.closers = append(c.closers, g.Close, func() error { access.Guard.Close(); return nil })
	c.registry.MustRegister(access.Guard)
	if err := c.takeBroadcasts(cfg.Cable, g); err != nil {
		c.release()
		return nil, err
	}
	if err := c.build(g, nil); err != nil {
		c.release()
		return nil, err
	}
	c.registry.MustRegister(secure.collectors()...)
	return &gatewayNode{c, g, secure}, nil
}

// run runs the gateway until it has left or ctx ends.
func (n *gatewayNode) run(ctx context.Context) error {
	return n.secure.around(ctx, func(ctx context.Context) error { return n.core.run(ctx, n.gateway.Warm()) }, func() {})
}
