// Package router is the public port: it reads the topic of a client's handshake, finds the topic's shard on the ring,
// passes the handshake on to that shard's gateway, or to the next that takes it, and splices the two connections.
//
// A connection begins in an HTTP server, one goroutine each and bounded in number. When a gateway has opened the session
// both connections leave it: from then on the session is two descriptors on an event loop.
//
//	accept ──► httpConn: parse, refuse ──► connect: dial, sign, check the answer ──► takeover ──► session on its loop
//
// A plain handshake, which is whole in one piece and for a gateway that a loop can ask, goes the same way on the loop from the first byte on, and no
// goroutine is begun for it (greeting). What turns out not to be plain goes over to the HTTP server, as far as it has come.
//
// A session's bytes pass in both directions through one buffer that the loop's sessions share. Where a socket is full the
// rest of one read stays with the session, and the other side is not read until it has gone. From our own gateways bytes
// come in records (package leg), which are taken off in that buffer; other upstreams are spliced as they are.
//
// The package knows neither gateways nor gossip: it is handed the placement as a function.
package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/ring"
)

// Router is one router's public port. Its exported methods are safe for concurrent use.
type Router struct {
	// Fixed after New.
	cfg      Config
	deps     Deps
	log      *zap.Logger
	ln       net.Listener
	acceptor *eventloop.Acceptor // of ln, where loops greet; else nil
	inherits bool                // connections have the options of ln
	server   *fasthttp.Server
	conns    *conns
	group    *eventloop.Group
	workers  []*worker
	byLoop   map[*eventloop.Loop]*worker
	metrics  *metrics

	ejected   ejections
	shards    shards
	spread    spread
	placement *placement
	mover     *mover
	gate      gate
	buffers   sync.Pool // *[]byte for handshakes with upstreams, maxAnswerHead bytes each
	now       func() time.Time
	carrierID string // of this process, for a successor

	ctx context.Context //nolint:containedctx // of the handshakes; set by Run before anything else is started

	sessions   atomic.Int64 // from the handshake on
	feedBytes  atomic.Int64 // of the logs of feeds
	draining   atomic.Bool
	listening  atomic.Bool
	complained atomic.Int64  // when the log last told of a balancer's connection that was refused; Unix ns
	paused     atomic.Bool   // a successor accepts
	resumed    chan struct{} // accept again
	accepting  chan struct{} // closed when clients are taken for the first time
}

// New makes a router and binds its listener, so that Addr is known; nothing is accepted before Run. A router that is
// never run must be closed with Close.
func New(cfg Config, deps Deps) (*Router, error) {
	if err := cfg.setDefaults(&deps); err != nil {
		return nil, err
	}
	if err := deps.validate(); err != nil {
		return nil, err
	}
	r := &Router{
		cfg: cfg, deps: deps, log: deps.Log, metrics: newMetrics(),
		conns:  newConns(cfg.newRoom()),
		byLoop: make(map[*eventloop.Loop]*worker), resumed: make(chan struct{}, 1), accepting: make(chan struct{}), now: time.Now, carrierID: newCarrierID(),
	}
	r.shards = shards{r: r, by: make(map[string]*shard)}
	r.spread.r = r
	r.placement = newPlacement(deps.Ring, func(m *ring.Member) bool { return pulseState(r.shards.of(m).pulse.Load()) == pulseUp }, time.Now)
	r.mover = r.newMover()
	r.gate = newGate(cfg.Admission)
	r.buffers.New = func() any {
		b := make([]byte, maxAnswerHead)
		return &b
	}
	var err error
	if r.group, err = eventloop.NewGroup(cfg.Loops, eventloop.Config{Portable: cfg.Portable, NoRing: cfg.NoIOUring}); err != nil {
		return nil, err
	}
	if is, err := r.group.Batching(); !is && !cfg.NoIOUring {
		r.log.Info("clients are written to one by one, which takes more CPU time: there is no io_uring", zap.Error(err))
	}
	for _, l := range r.group.Loops() {
		w := newWorker(r, l)
		r.workers, r.byLoop[l] = append(r.workers, w), w
	}
	r.server = r.newServer()
	if r.ln = deps.Listener; r.ln == nil {
		r.inherits = true
		if r.ln, err = eventloop.Listen(cfg.Listen, cfg.socketOptions()); err != nil {
			r.ln = nil // not an interface around nil
			return nil, errors.Join(fmt.Errorf("cannot listen for clients: %w", err), r.Close())
		}
	}
	r.listening.Store(true)
	if r.greets() {
		if r.acceptor, _, err = eventloop.NewAcceptor(r.ln); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// Close frees what New has taken, for a router that is never run.
func (r *Router) Close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	err := r.group.Run(ended)
	if r.ln != nil {
		err = errors.Join(err, r.stopListening())
	}
	return err
}

func (r *Router) stopListening() error {
	if !r.listening.Swap(false) {
		return nil
	}
	err := r.ln.Close()
	if r.acceptor != nil {
		err = errors.Join(err, r.acceptor.Close())
	}
	return err
}

// Addr is the address that takes clients, with the port that the system chose where none was given.
func (r *Router) Addr() string { return r.ln.Addr().String() }

func (r *Router) workerOf(l *eventloop.Loop) *worker { return r.byLoop[l] }

// Run serves until ctx ends, then closes what is left of the sessions, telling their clients where it can, and returns
// nil. It blocks and must be called once.
func (r *Router) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.ctx = ctx
	// The loops outlive everything that leaves notes for them.
	loops, stopLoops := context.WithCancel(context.Background())
	defer stopLoops()
	loopsDone := make(chan error, 1)
	go func() { loopsDone <- r.group.Run(loops) }()
	acceptDone := make(chan struct{})
	go func() {
		defer close(acceptDone)
		r.awaitRing(ctx)
		r.log.Info("takes clients", zap.String("router", r.deps.ID), zap.String("addr", r.Addr()),
			zap.Int("loops", len(r.workers)), zap.Int("max_sessions", r.cfg.MaxSessions))
		close(r.accepting)
		r.acceptLoop(ctx)
	}()
	var helpers sync.WaitGroup
	helpers.Go(func() { r.mover.run(ctx) })
	helpers.Go(func() { r.watch(ctx) })
	helpers.Go(func() { r.rebalance(ctx) })
	helpers.Go(func() { r.watchLag(ctx) })

	<-ctx.Done()
	err := r.stopListening()
	<-acceptDone
	r.conns.end()
	helpers.Wait()
	r.onEveryLoop(func(w *worker) { w.shutdown() })
	stopLoops()
	return errors.Join(err, <-loopsDone)
}

// onEveryLoop calls f for every worker on its loop and waits until all are through.
func (r *Router) onEveryLoop(f func(*worker)) {
	var wg sync.WaitGroup
	for _, w := range r.workers {
		wg.Add(1)
		if !w.loop.Post(eventloop.NoteFunc(func() { defer wg.Done(); f(w) })) {
			wg.Done()
		}
	}
	wg.Wait()
}

// Ready says what keeps the router from doing its work; nil when nothing does.
func (r *Router) Ready() error {
	switch {
	case r.draining.Load():
		return errors.New("draining")
	case !r.listening.Load():
		return errors.New("the listener is closed")
	case len(r.ring().Shards()) == 0:
		return errors.New("no gateway in the ring")
	}
	return nil
}

// ring is the placement that the router goes by.
func (r *Router) ring() *ring.Ring { return r.placement.ring() }

// Sessions is the number of sessions held, those in their handshake included.
func (r *Router) Sessions() uint64 { return uint64(max(0, r.sessions.Load())) }

// drainTick is how often a drain sends sessions away.
const drainTick = 50 * time.Millisecond

// drainSlack is what a drain may take beyond its window: the last closes on their way.
const drainSlack = 2 * time.Second

// Drain takes no clients any more and sends the sessions away at an even pace over the drain window, each with a delay
// for its return. It blocks until no session is left, or some time beyond the window, or ctx ends, whose error it returns.
// Run goes on until its own context ends.
func (r *Router) Drain(ctx context.Context) error {
	r.draining.Store(true)
	_ = r.stopListening()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.DrainWindow+drainSlack)
	defer cancel()
	end := time.Now().Add(r.cfg.DrainWindow)
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for r.Sessions() > 0 {
		ticks := int(time.Until(end) / drainTick)
		for _, w := range r.workers {
			w.loop.Post(eventloop.NoteFunc(func() { w.drainSome(ticks) }))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
