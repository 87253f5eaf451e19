package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/anycable"
	"github.com/ringside-edge/ringside/internal/topic"
)

// BroadcastsConfig is how broadcasts of AnyCable's are read.
type BroadcastsConfig struct {
	Stream     string                                   // to which applications add them: __anycable__; required
	Disconnect func(identifiers string, reconnect bool) // ends the sessions of a client; must not block
}

// Broadcasts publishes what applications add to a stream that is AnyCable's: see [Client.NewBroadcasts]. It is a [prometheus.Collector].
//
// All nodes have one, and one of them reads at a time: who holds a lease in Redis, which is looked at by the read itself. What it has
// read it publishes in order, each with an idempotency key that is made of the entry's ID, and acknowledges it then. When it dies another
// one begins with what was not acknowledged; should the first only have been asleep, both publish the same in the same order, and all
// that comes second adds nothing.
//
//	<stream>                          the applications'; read through the group ringside
//	<stream>:poison                   entries that are none, or a part of which is none, and why
//	ringside:broadcasts:{<stream>}    who reads; of short life
//	ringside:disconnects:<stream>     commands, for all nodes
type Broadcasts struct {
	c    *Client
	cfg  BroadcastsConfig
	boot string

	results *prometheus.CounterVec
	reading atomic.Bool // this node holds the lease

	// Of the goroutine that reads.
	turns   int       // begun so far
	renewed time.Time // when the lease was last renewed
}

const (
	broadcastGroup    = "ringside"
	broadcastConsumer = "reader"        // whoever holds the lease
	broadcastBatch    = 100             // entries of one read
	broadcastBlock    = time.Second     // how long the wait for one is
	broadcastLease    = 6 * time.Second // after which another node may read
	poisonMost        = 10_000          // entries of the stream with those that are none
	disconnectMost    = 1000
)

// Results of a part of an entry; they are labels.
//
//nolint:gochecknoglobals // a constant in all but name
var broadcastResults = []string{"published", "duplicate", "disconnect", "poison"}

// keepLease takes the lease for a turn, if nobody else has it, or renews it, if it is still that turn's. It returns 1 when the lease is ours.
//
// KEYS: lease. ARGV: the turn, of whom it is, time in ms, "1" to take it.
//
//nolint:gochecknoglobals // a constant
var keepLease = newScript(`
local held = redis.call('GET', KEYS[1])
local ours = held and (held == ARGV[1] or ARGV[4] == '1' and string.sub(held, 1, #ARGV[2]) == ARGV[2])
if not ours and (held or ARGV[4] ~= '1') then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
`)

//nolint:gochecknoglobals // a constant
var dropLease = newScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`)

// readLeased reads through the group, if the lease is still the turn's: two that read new entries would each get a part, and break the order.
//
// KEYS: lease, stream. ARGV: the turn, group, consumer, count, from.
//
//nolint:gochecknoglobals // a constant
var readLeased = newScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('LEASE is lost') end
return redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', ARGV[4], 'STREAMS', KEYS[2], ARGV[5])
`)

// NewBroadcasts makes one. Nothing is read before Run.
func (c *Client) NewBroadcasts(cfg BroadcastsConfig) *Broadcasts {
	b := &Broadcasts{c: c, cfg: cfg, boot: rand.Text(), results: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ringside_stream_broadcasts_total", Help: "Broadcasts and commands read from AnyCable's stream, by what became of them.",
	}, []string{"result"})}
	for _, r := range broadcastResults {
		b.results.WithLabelValues(r)
	}
	return b
}

// The lease lies where the stream does.
func (b *Broadcasts) leaseKey() string      { return "ringside:broadcasts:{" + b.cfg.Stream + "}" }
func (b *Broadcasts) token() string         { return b.boot + "-" + strconv.Itoa(b.turns) }
func (b *Broadcasts) disconnectKey() string { return "ringside:disconnects:" + b.cfg.Stream }
func (b *Broadcasts) poisonKey() string     { return b.cfg.Stream + ":poison" }

// Run reads until ctx ends, and returns nil. It waits for Redis as long as it takes. It must be called once.
func (b *Broadcasts) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-b.c.connected:
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.hearDisconnects(ctx) })
	defer wg.Wait()
	failing := false
	for ctx.Err() == nil {
		err := b.turn(ctx)
		b.reading.Store(false)
		if err != nil && ctx.Err() == nil && !failing {
			b.c.log.Warn("cannot read broadcasts; trying on", zap.String("stream", b.cfg.Stream), zap.Error(err))
		}
		failing = err != nil
		sleep(ctx, broadcastBlock)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.c.cfg.OpTimeout)
	defer cancel()
	if r, err := b.c.client(); err == nil { // so that another goes on at once
		_ = dropLease.run(last, r, call{[]string{b.leaseKey()}, []string{b.token()}})[0].Error()
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// turn reads as long as the lease is ours; when it is not, there is nothing to do.
func (b *Broadcasts) turn(ctx context.Context) error {
	b.turns++
	if ok, err := b.hold(ctx, 0); !ok || err != nil {
		return err
	}
	if err := b.makeGroup(ctx, "$"); err != nil { // what was there before we came was for others
		return err
	}
	b.reading.Store(true)
	from, last := "0", "$" // first what was read and not acknowledged
	for ctx.Err() == nil {
		if ok, err := b.hold(ctx, broadcastLease/3); !ok || err != nil {
			return err
		}
		entries, err := b.read(ctx, from)
		switch said, _ := redisError(err); {
		case strings.Contains(said, "NOGROUP"):
			if err = b.makeGroup(ctx, "0"); err == nil { // the stream is a new one
				last = "0"
				continue
			}
			return err
		case strings.Contains(said, "LEASE"):
			return nil
		case err != nil:
			return err
		}
		for _, e := range entries {
			if err := b.carryOut(ctx, e); err != nil {
				return err
			}
			last = e.ID
			if from != ">" {
				from = e.ID
			}
		}
		switch {
		case len(entries) > 0:
		case from != ">":
			from = ">"
		default:
			if err := b.wait(ctx, last); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait waits a moment for something behind an entry.
func (b *Broadcasts) wait(ctx context.Context, last string) error {
	r, err := b.c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, broadcastBlock+b.c.cfg.OpTimeout)
	defer cancel()
	err = r.Do(ctx, r.B().Xread().Count(1).Block(broadcastBlock.Milliseconds()).Streams().Key(b.cfg.Stream).Id(last).Build()).Error()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	return err
}

// hold renews the lease, unless that was done within fresh, or takes it, if fresh is 0, and reports whether it is ours.
func (b *Broadcasts) hold(ctx context.Context, fresh time.Duration) (bool, error) {
	began := time.Now()
	if began.Sub(b.renewed) < fresh {
		return true, nil
	}
	r, err := b.c.client()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.c.cfg.OpTimeout)
	defer cancel()
	take := "0"
	if fresh == 0 {
		take = "1"
	}
	n, err := keepLease.run(ctx, r, call{[]string{b.leaseKey()}, []string{b.token(), b.boot, millis(broadcastLease), take}})[0].AsInt64()
	if n == 1 && err == nil {
		b.renewed = began
	}
	return n == 1, err
}

func (b *Broadcasts) makeGroup(ctx context.Context, from string) error {
	r, err := b.c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.c.cfg.OpTimeout)
	defer cancel()
	err = r.Do(ctx, r.B().XgroupCreate().Key(b.cfg.Stream).Group(broadcastGroup).Id(from).Mkstream().Build()).Error()
	if mayBeThere(err) {
		return nil
	}
	return err
}

func (b *Broadcasts) read(ctx context.Context, from string) ([]rueidis.XRangeEntry, error) {
	r, err := b.c.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.c.cfg.OpTimeout)
	defer cancel()
	got, err := readLeased.run(ctx, r, call{
		[]string{b.leaseKey(), b.cfg.Stream},
		[]string{b.token(), broadcastGroup, broadcastConsumer, strconv.Itoa(broadcastBatch), from},
	})[0].AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return got[b.cfg.Stream], err
}

// carryOut publishes an entry, sets aside what can't be, and acknowledges it. It tries for as long as Redis does not take it and the
// lease is ours; nothing behind the entry is published before.
func (b *Broadcasts) carryOut(ctx context.Context, e rueidis.XRangeEntry) error {
	p := anycable.Parse([]byte(e.FieldValues["payload"]))
	bad := errors.Join(p.Bad...)
	for i, m := range p.Broadcasts {
		err := b.publish(ctx, Message{Topic: m.Stream, ID: "anycable:" + b.cfg.Stream + ":" + e.ID + ":" + strconv.Itoa(i), Payload: m.Data})
		var te *topic.Error
		switch {
		case errors.As(err, &te), errors.Is(err, ErrTooLarge), errors.Is(err, ErrID):
			bad = errors.Join(bad, err)
		case err != nil:
			return err
		}
	}
	for _, d := range p.Disconnects {
		if err := b.Disconnect(ctx, d.Identifiers, d.Reconnect); err != nil {
			return err
		}
		b.results.WithLabelValues("disconnect").Inc()
	}
	r, err := b.c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.c.cfg.OpTimeout)
	defer cancel()
	if bad != nil && len(e.FieldValues) > 0 { // else it was trimmed before it was read
		b.results.WithLabelValues("poison").Inc()
		b.c.log.Warn("an entry, or a part of it, is no broadcast and was set aside", zap.String("stream", b.cfg.Stream), zap.String("entry", e.ID), zap.Error(bad))
		set := r.B().Xadd().Key(b.poisonKey()).Maxlen().Almost().Threshold(strconv.Itoa(poisonMost)).Id("*").FieldValue().
			FieldValue("entry", e.ID).FieldValue("reason", bad.Error()).FieldValue("payload", e.FieldValues["payload"])
		if err := r.Do(ctx, set.Build()).Error(); err != nil {
			return err
		}
	}
	return r.Do(ctx, r.B().Xack().Key(b.cfg.Stream).Group(broadcastGroup).Id(e.ID).Build()).Error()
}

// publish publishes one message, however long that takes.
func (b *Broadcasts) publish(ctx context.Context, m Message) error {
	for delay := retryMin; ; delay = min(2*delay, retryMax) {
		if ok, err := b.hold(ctx, broadcastLease/3); err == nil && !ok {
			return errors.New("another node reads on")
		}
		p, err := b.c.Publish(ctx, m)
		switch {
		case err == nil && p.Duplicate:
			b.results.WithLabelValues("duplicate").Inc()
			return nil
		case err == nil:
			b.results.WithLabelValues("published").Inc()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrAmbiguous):
			return err
		}
		sleep(ctx, delay)
	}
}

// Disconnect has all nodes end the sessions of a client. It blocks until Redis has taken the command.
func (b *Broadcasts) Disconnect(ctx context.Context, identifiers string, reconnect bool) error {
	r, err := b.c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.c.cfg.OpTimeout)
	defer cancel()
	return r.Do(ctx, r.B().Xadd().Key(b.disconnectKey()).Maxlen().Almost().Threshold(strconv.Itoa(disconnectMost)).Id("*").FieldValue().
		FieldValue("identifier", identifiers).FieldValue("reconnect", strconv.FormatBool(reconnect)).Build()).Error()
}

// hearDisconnects carries out the commands that come from now on, until ctx ends.
func (b *Broadcasts) hearDisconnects(ctx context.Context) {
	at := ""
	for ctx.Err() == nil {
		r, err := b.c.client()
		if err == nil && at == "" {
			at, err = b.newestDisconnect(ctx, r)
		}
		var got map[string][]rueidis.XRangeEntry
		if err == nil {
			op, cancel := context.WithTimeout(ctx, broadcastBlock+b.c.cfg.OpTimeout)
			got, err = r.Do(op, r.B().Xread().Count(broadcastBatch).Block(broadcastBlock.Milliseconds()).Streams().Key(b.disconnectKey()).Id(at).Build()).AsXRead()
			cancel()
		}
		if err != nil && !rueidis.IsRedisNil(err) {
			sleep(ctx, broadcastBlock)
			continue
		}
		for _, e := range got[b.disconnectKey()] {
			at = e.ID
			b.cfg.Disconnect(e.FieldValues["identifier"], e.FieldValues["reconnect"] == "true")
		}
	}
}

func (b *Broadcasts) newestDisconnect(ctx context.Context, r rueidis.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, b.c.cfg.OpTimeout)
	defer cancel()
	last, err := r.Do(ctx, r.B().Xrevrange().Key(b.disconnectKey()).End("+").Start("-").Count(1).Build()).AsXRange()
	switch {
	case err != nil:
		return "", err
	case len(last) == 0:
		return "0-0", nil
	}
	return last[0].ID, nil
}

// Describe implements prometheus.Collector.
func (b *Broadcasts) Describe(ch chan<- *prometheus.Desc) {
	b.results.Describe(ch)
	ch <- broadcastsReading
}

// Collect implements prometheus.Collector.
func (b *Broadcasts) Collect(ch chan<- prometheus.Metric) {
	b.results.Collect(ch)
	v := 0.0
	if b.reading.Load() {
		v = 1
	}
	ch <- prometheus.MustNewConstMetric(broadcastsReading, prometheus.GaugeValue, v)
}

//nolint:gochecknoglobals // a constant in all but name
var broadcastsReading = prometheus.NewDesc("ringside_stream_broadcasts_reading", "1 on the node that reads AnyCable's broadcasts.", nil, nil)
