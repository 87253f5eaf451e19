// Package stream keeps the messages: one Redis Stream per slot, to which topics are published and which gateways tail.
//
// A [Client] publishes, reads the past, and makes a [Tailer], which hands every entry of the wanted slots to a [Sink] in
// the stream's order. Both survive the loss of Redis: the client connects again for ever and says meanwhile that it is not
// ready, and tails go on behind the last entry that they have handed out, or say that the stream has lost data.
//
// The keys of a slot lie in one hash slot of a Redis Cluster, and those of 16 slots together:
//
//	ringside:{<slot / 16>}:<slot>:stream      the entries: fields id, topic, payload
//	ringside:{<slot / 16>}:<slot>:epoch       which life of the stream this is
//	ringside:{<slot / 16>}:<slot>:id:…        an idempotency key of a topic that was used, and its entry
//	ringside:{<slot / 16>}:wake:<boot>        ends the blocked reads of one process; of short life
//	ringside:slots                            the number of slots that this Redis was set up with
//
// The package alone knows the Redis library.
package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/topic"
)

// Config is how Redis is used. A zero field takes the default that stands beside it.
type Config struct {
	URL         string        // redis://, unix://, redis-sentinel://, redis-cluster://, or rediss for TLS; required
	TLS         TLS           // of the rediss schemes
	Name        string        // shown in CLIENT LIST; "ringside"
	OpTimeout   time.Duration // 2s: for a single command, connecting included
	Retention   time.Duration // 10m: how long entries are kept, and how long an idempotency key counts
	MaxLen      int64         // 100,000: entries of one stream at most, an emergency brake
	MaxPayload  int           // 1 MiB: bytes of a payload
	MinReplicas int           // 0: replicas that must have a message before its publish is acknowledged
	WaitTimeout time.Duration // 1s: how long they may take
}

// Client is a connection to Redis that comes back by itself. Its methods are safe for concurrent use.
type Client struct {
	// Fixed after New.
	cfg     Config
	opt     rueidis.ClientOption
	top     topology
	log     *zap.Logger
	metrics *metrics

	connected chan struct{}                  // closed when there has been a link
	link      atomic.Pointer[rueidis.Client] // the present one
	look      chan struct{}                  // something failed in a way that the next check should look at
	changes   atomic.Uint64                  // servers that were replaced, or restarted, so far
	tailer    atomic.Pointer[Tailer]         // for the metrics

	lastOK atomic.Int64 // UnixNano of the last answer to a check

	mu      sync.Mutex
	lastErr error // guarded by mu: of the last check that failed

	// Owned by Run.
	known   map[string]string // the servers' identities, by address
	failing time.Time         // since when checks have failed; zero when they don't
	closing sync.WaitGroup    // links that were replaced
}

const (
	checkEvery = time.Second
	checkStale = 3 * time.Second // without an answer for so long the client is not ready
	bufferSize = 32 << 10        // of each connection and direction
	ringScale  = 7               // 2^7 commands in flight on a connection
	keySlots   = "ringside:slots"
)

// New checks cfg. It connects to nothing.
func New(cfg Config, log *zap.Logger) (*Client, error) {
	opt, top, err := options(&cfg)
	if err != nil {
		return nil, err
	}
	setDefault(&cfg.Name, "ringside")
	setDefault(&cfg.OpTimeout, 2*time.Second)
	setDefault(&cfg.Retention, 10*time.Minute)
	setDefault(&cfg.MaxLen, 100_000)
	setDefault(&cfg.MaxPayload, 1<<20)
	setDefault(&cfg.WaitTimeout, time.Second)
	if cfg.OpTimeout < 0 || cfg.Retention < 0 || cfg.MaxLen < 0 || cfg.MaxPayload < 0 || cfg.MinReplicas < 0 || cfg.WaitTimeout < 0 {
		return nil, errors.New("time-outs, retention, replicas and sizes of Redis must be positive")
	}
	opt.ClientName = strings.ReplaceAll(cfg.Name, " ", "-") // Redis refuses names with spaces
	opt.DisableCache = true                                 // client-side caching is not used, and not everywhere known
	opt.DisableRetry = true                                 // what failed is told: a repeated write would be a second entry
	opt.ReadBufferEachConn, opt.WriteBufferEachConn = bufferSize, bufferSize
	opt.RingScaleEachConn = ringScale
	opt.PipelineMultiplex = -1 // one connection for all commands: pipelined it is never the bottleneck, and the check vouches for it
	opt.ConnWriteTimeout = cfg.OpTimeout
	opt.Dialer = net.Dialer{Timeout: cfg.OpTimeout, KeepAlive: 15 * time.Second}
	if top == sentinel {
		opt.Sentinel.Dialer = net.Dialer{Timeout: cfg.OpTimeout, KeepAlive: 5 * time.Second} // with a ping of the library as often
		opt.Sentinel.ClientName = opt.ClientName
		opt.Sentinel.TopologyRefreshInterval = 5 * time.Second // who hears of a failover only by an event can miss it
	}
	return &Client{
		cfg: cfg, opt: opt, top: top, log: log, metrics: newMetrics(),
		connected: make(chan struct{}), look: make(chan struct{}, 1), known: make(map[string]string),
	}, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Run connects, watches over the connection until ctx ends and then closes it. It returns an error only when this Redis
// must not be used; while Redis is away it keeps trying. It must be called once.
func (c *Client) Run(ctx context.Context) error {
	defer func() {
		if r := c.link.Load(); r != nil {
			(*r).Close()
		}
		c.closing.Wait()
	}()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		err := c.check(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var fatal *setupError
		if errors.As(err, &fatal) {
			return err
		}
		c.note(err)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-c.look:
		}
	}
}

// setupError means that this Redis is not ours to use.
type setupError struct{ message string }

func (e *setupError) Error() string { return e.message }

// connect makes the first link, or one in place of a link that has got stuck.
func (c *Client) connect(ctx context.Context) error {
	r, err := rueidis.NewClient(c.opt)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("something listens there that does not answer as Redis does; does one side speak TLS, and the other not? %w", err)
	case err != nil:
		return explain(err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	if _, err = c.servers(ctx, r); err == nil {
		if err = checkSlots(ctx, r); err == nil {
			err = checkRights(ctx, r)
		}
	}
	if err != nil {
		r.Close()
		return explain(err)
	}
	old := c.link.Swap(&r)
	if old == nil {
		close(c.connected)
		return nil
	}
	c.metrics.reconnects.Add(1)
	c.closing.Go((*old).Close) // which waits for what it has under way
	return nil
}

// checkSlots records the number of slots in a new Redis and compares it in another.
func checkSlots(ctx context.Context, r rueidis.Client) error {
	want := strconv.Itoa(topic.Slots)
	got, err := r.Do(ctx, r.B().Get().Key(keySlots).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		if err = r.Do(ctx, r.B().Setnx().Key(keySlots).Value(want).Build()).Error(); err == nil {
			got, err = r.Do(ctx, r.B().Get().Key(keySlots).Build()).ToString()
		}
	}
	if err != nil {
		return err
	}
	if got != want {
		return &setupError{fmt.Sprintf("this Redis was set up for %.20q slots and this version has %s: use another Redis or "+
			"database, or, if nothing else uses it, delete the key %s", got, want, keySlots)}
	}
	return nil
}

// note remembers the outcome of a check and logs changes.
func (c *Client) note(err error) {
	c.mu.Lock()
	was := c.lastErr
	first := c.lastOK.Load() == 0
	c.lastErr = err
	if err == nil {
		c.lastOK.Store(time.Now().UnixNano())
	}
	c.mu.Unlock()
	switch {
	case err == nil && (was != nil || first):
		c.log.Info("redis answers")
	case err != nil:
		c.metrics.healthErrors.Add(1)
		if was == nil {
			c.log.Warn("redis does not answer as it should; trying on", zap.Error(err))
		}
	}
}

// Ready is nil when Redis has answered lately; else it says why not.
func (c *Client) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.lastErr != nil:
		return c.lastErr
	case c.lastOK.Load() == 0:
		return errors.New("not connected yet")
	case time.Since(time.Unix(0, c.lastOK.Load())) > checkStale:
		return fmt.Errorf("no answer for more than %v", checkStale)
	}
	return nil
}

// client is the present link, or [ErrUnavailable] while there has not been one yet.
func (c *Client) client() (rueidis.Client, error) {
	if r := c.link.Load(); r != nil {
		return *r, nil
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, c.Ready())
}
