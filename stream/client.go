// Package stream keeps the messages: one Redis Stream per slot, to which topics are published and which gateways tail.
//
// A [Client] publishes, reads the past, and makes a [Tailer], which hands every entry of the wanted slots to a [Sink] in
// the stream's order. Both survive the loss of Redis: the client connects again for ever and says meanwhile that it is not
// ready, and tails go on behind the last entry that they have handed out.
//
// The keys of a slot lie in one hash slot of a Redis Cluster, and those of 16 slots together:
//
//	ringside:{<slot / 16>}:<slot>:stream      the entries: fields id, topic, payload
//	ringside:{<slot / 16>}:<slot>:epoch       which life of the stream this is
//	ringside:{<slot / 16>}:<slot>:id:<key>    an idempotency key that was used, and its entry
//	ringside:slots                            the number of slots that this Redis was set up with
//
// The package alone knows the Redis library.
package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/topic"
)

// Config is how Redis is used. A zero field takes the default that stands beside it.
type Config struct {
	URL        string        // redis://, rediss:// or unix://; required
	Name       string        // shown in CLIENT LIST; "ringside"
	OpTimeout  time.Duration // 2s: for a single command, connecting included
	Retention  time.Duration // 10m: how long entries are kept, and how long an idempotency key counts
	MaxLen     int64         // 100,000: entries of one stream at most, an emergency brake
	MaxPayload int           // 1 MiB: bytes of a payload
}

// Client is a connection to Redis that comes back by itself. Its methods are safe for concurrent use.
type Client struct {
	cfg     Config
	opt     rueidis.ClientOption
	log     *zap.Logger
	metrics *metrics

	connected chan struct{}  // closed when redis is there
	redis     rueidis.Client // valid once connected is closed

	lastOK      atomic.Int64 // UnixNano of the last answer to a health check
	clockOffset atomic.Int64 // ms that the clock of Redis is ahead of ours
	published   [topic.Slots]atomic.Uint32

	mu      sync.Mutex
	lastErr error // guarded by mu: of the last health check that failed
}

const (
	healthEvery = time.Second
	healthStale = 3 * time.Second // without an answer for so long the client is not ready
	bufferSize  = 32 << 10        // of each connection and direction
	ringScale   = 7               // 2^7 commands in flight on a connection
	keySlots    = "ringside:slots"
)

// New checks cfg. It connects to nothing.
func New(cfg Config, log *zap.Logger) (*Client, error) {
	opt, err := rueidis.ParseURL(cfg.URL)
	if err != nil {
		return nil, errors.New("the Redis URL is not understood: want redis://, rediss:// or unix://") // without the URL, which may hold a password
	}
	setDefault(&cfg.Name, "ringside")
	setDefault(&cfg.OpTimeout, 2*time.Second)
	setDefault(&cfg.Retention, 10*time.Minute)
	setDefault(&cfg.MaxLen, 100_000)
	setDefault(&cfg.MaxPayload, 1<<20)
	if cfg.OpTimeout < 0 || cfg.Retention < 0 || cfg.MaxLen < 0 || cfg.MaxPayload < 0 {
		return nil, errors.New("time-outs, retention and sizes of Redis must be positive")
	}
	opt.ClientName = strings.ReplaceAll(cfg.Name, " ", "-") // Redis refuses names with spaces
	opt.DisableCache = true                                 // client-side caching is not used, and not everywhere known
	opt.DisableRetry = true                                 // what failed is told: a repeated write would be a second entry
	opt.ReadBufferEachConn, opt.WriteBufferEachConn = bufferSize, bufferSize
	opt.RingScaleEachConn = ringScale
	opt.PipelineMultiplex = -1 // one connection for all commands: pipelined it is never the bottleneck, and the health check vouches for it
	opt.ConnWriteTimeout = cfg.OpTimeout
	opt.Dialer = net.Dialer{Timeout: cfg.OpTimeout, KeepAlive: 15 * time.Second}
	opt.ForceSingleClient = true
	return &Client{cfg: cfg, opt: opt, log: log, metrics: newMetrics(), connected: make(chan struct{})}, nil
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
		select {
		case <-c.connected:
			c.redis.Close()
		default:
		}
	}()
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		err := c.check(ctx)
		var fatal *setupError
		if errors.As(err, &fatal) {
			return err
		}
		c.note(err)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// setupError means that this Redis is not ours to use.
type setupError struct{ message string }

func (e *setupError) Error() string { return e.message }

// check connects when that is still to be done, and asks Redis for its time.
func (c *Client) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	select {
	case <-c.connected:
		return c.compareClocks(ctx, c.redis)
	default:
		return c.connect(ctx)
	}
}

// compareClocks asks Redis for its time and remembers how far it is from ours.
func (c *Client) compareClocks(ctx context.Context, r rueidis.Client) error {
	before := time.Now()
	parts, err := r.Do(ctx, r.B().Time().Build()).AsStrSlice()
	if err != nil {
		return err
	}
	if len(parts) != 2 {
		return errors.New("TIME was answered in a way that is not understood")
	}
	s, err1 := strconv.ParseInt(parts[0], 10, 64)
	us, err2 := strconv.ParseInt(parts[1], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	middle := before.Add(time.Since(before) / 2)
	c.clockOffset.Store(s*1000 + us/1000 - middle.UnixMilli())
	return nil
}

func (c *Client) connect(ctx context.Context) error {
	r, err := rueidis.NewClient(c.opt)
	if err != nil {
		return err
	}
	// The clocks before anybody publishes: what is trimmed depends on them.
	if err = checkSlots(ctx, r); err == nil {
		err = c.compareClocks(ctx, r)
	}
	if err != nil {
		r.Close()
		return err
	}
	c.redis = r
	close(c.connected)
	return nil
}

// checkSlots records the number of slots in a new Redis and compares it in another.
func checkSlots(ctx context.Context, r rueidis.Client) error {
	want := strconv.Itoa(topic.Slots)
	err := r.Do(ctx, r.B().Setnx().Key(keySlots).Value(want).Build()).Error()
	if err != nil {
		return err
	}
	got, err := r.Do(ctx, r.B().Get().Key(keySlots).Build()).ToString()
	if err != nil {
		return err
	}
	if got != want {
		return &setupError{fmt.Sprintf("this Redis was set up for %.20q slots and this version has %s: use another Redis or "+
			"database, or, if nothing else uses it, delete the key %s", got, want, keySlots)}
	}
	return nil
}

// note remembers the outcome of a health check and logs changes.
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
			c.log.Warn("redis does not answer; trying on", zap.Error(err))
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
	case time.Since(time.Unix(0, c.lastOK.Load())) > healthStale:
		return fmt.Errorf("no answer for more than %v", healthStale)
	}
	return nil
}

// client is the connection, or [ErrUnavailable] while there has not been one yet.
func (c *Client) client() (rueidis.Client, error) {
	select {
	case <-c.connected:
		return c.redis, nil
	default:
		return nil, fmt.Errorf("%w: not connected yet", ErrUnavailable)
	}
}

// now is the clock of Redis in ms, as well as we know it.
func (c *Client) now() int64 { return time.Now().UnixMilli() + c.clockOffset.Load() }
