package main

import (
	"context"
	"net"
	"time"

	"github.com/ringside-edge/ringside/gossip"
	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/internal/metrics"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/stream"
)

// face is what others see of a node beside its sessions: its admin port and its place in gossip. A router gives both up
// for its successor, and takes them back when that fails.
type face struct {
	admin  *admin.Server
	gossip *gossip.Node
}

// newFace binds both ports. ln is the admin port's listener where it is bound already, seeds are further nodes to join.
func (c *core) newFace(ln net.Listener, seeds []string) (*face, error) {
	deps := admin.Deps{
		Ring: c.ring, StreamKey: stream.Key, Publisher: publisher{c.stream, &c.published}, Streams: streams{c}, Settings: c.settings, Checks: c.checks(),
		Node: c.overview, Count: c.count, Metrics: metrics.Handler(c.registry), Root: c.root, Log: c.log.Named("admin"), Listener: ln,
	}
	if c.set.role == ring.RoleGateway {
		deps.Drainer = c
	}
	if c.broadcasts != nil {
		deps.Disconnect = c.broadcasts.Disconnect
	}
	f := &face{}
	var err error
	if f.admin, err = admin.New(admin.Config{
		Listen: string(c.set.admin), Self: c.set.id, MaxPayload: int(c.set.MaxPayload), Connections: c.set.AdminConnections, Trust: c.trust,
		BatchEntries: c.set.BatchEntries, BatchBytes: int(c.set.BatchBytes), Sealed: len(c.secrets) > 0,
	}, deps); err != nil {
		return nil, notBound("admin", c.set.admin, err)
	}
	if f.gossip, err = c.newGossip(f.admin.Addr(), seeds); err != nil {
		_ = f.admin.Close() // the error that matters is the other one
		return nil, err
	}
	return f, nil
}

// show makes f the node's face.
func (c *core) show(f *face) {
	if old := c.face.Swap(f); old != nil {
		c.registry.Unregister(old.admin)
		c.registry.Unregister(old.gossip)
	}
	c.registry.MustRegister(f.admin, f.gossip)
	if c.active.has() {
		f.gossip.SetState(ring.StateActive)
	}
}

// gossip is the node's place in gossip at present. It must not be called before build is done.
func (c *core) gossip() *gossip.Node { return c.face.Load().gossip }

// awaitRedis waits a moment for Redis to answer.
func (c *core) awaitRedis(ctx context.Context) {
	for until := time.Now().Add(redisTimeout); c.stream.Ready() != nil && time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// aside is the request to free the ports.
type aside struct {
	freed chan error // gets one value, when they are
	back  chan *face // the face to go on with, if any
}

// runFace runs the admin port and gossip. It steps aside when it is asked to, until there is a face again.
func (c *core) runFace(ctx context.Context) error {
	for {
		f := c.face.Load()
		running, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- runAll(running, part{"gossip", f.gossip.Run}, part{"admin port", func(ctx context.Context) error {
				if c.set.adminListener != nil { // the predecessor could publish, and so shall we
					c.awaitRedis(ctx)
				}
				return f.admin.Run(ctx)
			}})
		}()
		select {
		case err := <-ended:
			cancel()
			return err
		case a := <-c.asides:
			cancel()
			a.freed <- <-ended
			select {
			case <-ctx.Done():
				return nil
			case next := <-a.back:
				c.show(next)
			}
		}
	}
}
