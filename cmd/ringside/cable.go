package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ringside-edge/ringside/gateway"
	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/anycable"
	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/stream"
)

// newCable is how a gateway speaks Action Cable; nil when it does not.
func newCable(cfg config.Cable, access *gateway.Access) *gateway.Cable {
	if !cfg.Cable {
		return nil
	}
	return &gateway.Cable{Public: cfg.CablePublicStreams, Signed: access.Guard.Stream}
}

// cableAuth is how its clients are authenticated; nil when there are none.
func cableAuth(cfg config.Cable, leeway time.Duration) *auth.CableConfig {
	if !cfg.Cable {
		return nil
	}
	demand := map[string]auth.Methods{"jwt": auth.JWT, "rpc": auth.RPC}[cfg.CableAuth]
	return &auth.CableConfig{Demand: demand, StreamsSecretFile: cfg.StreamsSecret(), TokenSecretFile: cfg.TokenSecret(), Leeway: leeway}
}

// takeBroadcasts makes the gateway take in what applications publish that are set up for AnyCable, as far as it is set up for that.
func (c *core) takeBroadcasts(cfg config.Cable, g *gateway.Gateway) error {
	if cfg.CableSecretFile != "" {
		secret, err := os.ReadFile(cfg.CableSecretFile)
		if err != nil {
			return fmt.Errorf("cable-secret-file: %w", err)
		}
		c.trust.Broadcast = anycable.BroadcastKey(bytes.TrimRight(secret, "\r\n"))
	}
	b := c.stream.NewBroadcasts(stream.BroadcastsConfig{Stream: cfg.AnycableBroadcasts, Disconnect: g.Disconnect})
	c.registry.MustRegister(b)
	if cfg.AnycableBroadcasts != "" {
		c.broadcasts = b
	}
	return nil
}

// readBroadcasts reads them, if there are any, until ctx ends.
func (c *core) readBroadcasts(ctx context.Context) error {
	if c.broadcasts == nil {
		<-ctx.Done()
		return nil
	}
	return c.broadcasts.Run(ctx)
}
