// Package gateway serves sessions: it takes WebSocket and Server-Sent Events clients, directly or through a
// router's leg, tails the Redis Streams of their topics and hands every message on.
//
// A message is appended once to its topic's log in memory and encoded once per wire format. Sessions have no
// queues: each is a cursor into the log, on one of a few event loops. One that keeps up is written to when
// the log grows; one that does not stands further back and is written to when its socket drains; one that
// falls off the log's end is told of the gap. A session that brings a position is a cursor too: in the log,
// or, where the log does not reach back, in pages read from the stream, each shared by all who wait for it.
//
//	tailer ──► slot ──► topic log ──► feed (topic × loop) ──► session ──► socket
//	                        ▲                                    │
//	                        └──────── pages (replay) ◄───────────┘
//
// The package knows neither routers nor gossip: it is handed the placement as a function.
package gateway

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

	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/eventloop"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/internal/topicrule"
	"github.com/ringside-edge/ringside/stream"
)

// Gateway is one shard's process. Its exported methods are safe for concurrent use.
type Gateway struct {
	// Fixed after New.
	cfg     Config
	deps    Deps
	log     *zap.Logger
	stream  *stream.Client
	ln      net.Listener
	room    *anteroom.Room
	server  *fasthttp.Server
	group   *eventloop.Group
	workers []*worker
	byLoop  map[*eventloop.Loop]*worker
	slots   []*slot
	tails   *tails
	tailer  *stream.Tailer
	metrics *metrics
	counts  *counts

	replaySlots   chan struct{} // bounds the reads of the past under way
	readers       readers       // they read the past
	unheardMargin int64
	skips         bool // there are topics whose slow sessions pass over what was replaced

	// Set by Run before anything else is started.
	ctx context.Context //nolint:containedctx // the readers live as long as Run

	sessions   atomic.Int64 // from the handshake on
	draining   atomic.Bool
	topicNum   atomic.Uint32
	topicCount atomic.Int64
	logBytes   atomic.Int64
	entrySize  atomic.Int64 // running mean of payloads read from the past, bytes
	staleSlots atomic.Int64
	hottest    hottest

	killed   chan struct{} // closed by Kill
	killOnce sync.Once
	keeps    chan *leftBehind // sessions of Action Cable to be kept
}

// concurrentReplays bounds the reads of the past under way, so that a storm of returning sessions is a queue
// here and not at Redis.
const concurrentReplays = 8

// New makes a gateway and binds its listener, so that Addr is known; nothing is accepted before Run. A gateway
// that is never run must be closed with Close.
func New(cfg Config, deps Deps) (*Gateway, error) {
	if err := cfg.setDefaults(&deps); err != nil {
		return nil, err
	}
	if err := deps.validate(); err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, deps: deps, log: deps.Log, stream: deps.Stream,
		byLoop:      make(map[*eventloop.Loop]*worker),
		replaySlots: make(chan struct{}, concurrentReplays),
		killed:      make(chan struct{}),
		keeps:       make(chan *leftBehind, keepQueue),
		metrics:     newMetrics(), unheardMargin: unheardMargin, skips: cfg.Rules.Have(topicrule.SlowLatest),
	}
	g.tails, g.counts = newTails(g), newCounts(g)
	g.tailer = g.stream.NewTailer(stream.TailConfig{Shard: cfg.ID, Sink: sink{g}, Beacon: cfg.Beacon, Linger: cfg.ReadLinger, Plain: cfg.Plain, Members: g.shards})
	for n := range topics.Slots {
		g.slots = append(g.slots, &slot{n: n, g: g, topics: make(map[string]*topic)})
	}
	var err error
	if g.group, err = eventloop.NewGroup(cfg.Loops, eventloop.Config{Portable: cfg.Portable, NoRing: cfg.NoIOUring}); err != nil {
		return nil, err
	}
	if is, err := g.group.Batching(); !is && !cfg.NoIOUring {
		g.log.Info("clients are written to one by one, which takes more CPU time: there is no io_uring", zap.Error(err))
	}
	for _, l := range g.group.Loops() {
		w := newWorker(g, l, &workerCounts{})
		g.workers, g.byLoop[l] = append(g.workers, w), w
	}
	if g.ln, err = eventloop.Listen(cfg.Listen, cfg.socketOptions()); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen for sessions: %w", err), g.Close())
	}
	g.bound()
	g.secure()
	g.server = g.newServer()
	return g, nil
}

// Close frees what New has taken, for a gateway that is never run.
func (g *Gateway) Close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	err := g.group.Run(ended)
	if g.ln != nil {
		err = errors.Join(err, g.ln.Close())
	}
	return err
}

// Addr is the address that takes sessions, with the port that the system chose where none was given.
func (g *Gateway) Addr() string { return g.ln.Addr().String() }

// Run serves until ctx ends, then closes what is left of the sessions and returns nil; or it returns the first
// failure. It blocks and must be called once.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.ctx = ctx
	var wg sync.WaitGroup
	run := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	// The loops outlive everything that leaves notes for them.
	loops, stopLoops := context.WithCancel(context.Background())
	var loopsDone sync.WaitGroup
	loopsDone.Go(func() { _ = g.group.Run(loops) })

	run(func() error { return g.tailer.Run(ctx) })
	run(func() error { g.tails.run(ctx, g.tailer.Want); return nil })
	run(func() error { g.watchFreshness(ctx); return nil })
	run(func() error { g.watchPolicy(ctx); return nil })
	run(func() error { g.counts.run(ctx); return nil })
	if g.cfg.Cable != nil {
		for range keepWriters {
			run(func() error { g.runKeeps(ctx); return nil })
		}
	}
	run(func() error { return g.server.Serve(g.ln) })
	// The guard outlives the sessions, whose ends it is told.
	guard, stopGuard := context.WithCancel(context.Background())
	defer stopGuard()
	var guardDone sync.WaitGroup
	if g.deps.Access != nil {
		guardDone.Go(func() { _ = g.deps.Access.Guard.Run(guard) })
	}
	select {
	case <-ctx.Done():
	case <-g.killed: // as with a process, connections first
		_ = g.ln.Close()
		stopLoops()
		loopsDone.Wait()
		cancel(nil)
	}
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	_ = g.ln.Close()
	shutdown, done := context.WithTimeout(context.Background(), g.patience())
	defer done()
	_ = g.server.ShutdownWithContext(shutdown)
	wg.Wait()
	g.readers.wait()
	stopLoops()
	loopsDone.Wait()
	stopGuard()
	guardDone.Wait()
	return err
}

// Kill ends Run as kill -9 would end its process: the listener and all connections are closed at once and without a word, whatever
// is on its way. It returns at once. Demonstrations and tests want that.
func (g *Gateway) Kill() { g.killOnce.Do(func() { close(g.killed) }) }

// patience is how long handshakes may take to end when Run does.
func (g *Gateway) patience() time.Duration {
	select {
	case <-g.killed:
		return time.Millisecond
	default:
		return g.cfg.HandshakeTimeout
	}
}

// Warm is closed once the tails of all slots that the shard owns, or will own when it is active, stand.
func (g *Gateway) Warm() <-chan struct{} { return g.tails.warm }

// Ready says what keeps the gateway from doing its work; nil when nothing does.
func (g *Gateway) Ready() error {
	if g.draining.Load() {
		return errors.New("draining")
	}
	if err := g.stream.Ready(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if err := g.tails.ready(); err != nil {
		return err
	}
	if n := g.staleSlots.Load(); n > 0 {
		return fmt.Errorf("%d slots are stale: their tails have brought nothing for %v", n, g.cfg.StaleAfter)
	}
	return nil
}

// shards are the members that may read as a group of their own.
func (g *Gateway) shards() (ids []string) {
	for _, m := range g.deps.Ring().Members() {
		ids = append(ids, m.ID)
	}
	return append(ids, g.cfg.ID)
}

// Sessions is the number of sessions held, those in their handshake included.
func (g *Gateway) Sessions() uint64 { return uint64(max(0, g.sessions.Load())) }

// reserve takes a place for a session; release gives it back.
func (g *Gateway) reserve() bool {
	if g.sessions.Add(1) > int64(g.cfg.MaxSessions) {
		g.sessions.Add(-1)
		return false
	}
	return true
}

func (g *Gateway) release() { g.sessions.Add(-1) }

func (g *Gateway) slotOf(name string) int { return topics.Slot(name) }
