package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

// latencyArg as the first argument measures the way of a message.
const latencyArg = "latency"

// latencyOptions are the command line of `bench latency`.
type latencyOptions struct {
	subscribers int
	topics      int
	rate        float64
	size        int
	gateways    []int
	via         []string
	connections int
	warmup      time.Duration
	window      time.Duration
	idle        time.Duration
	binary      string
	out         string

	command string // what to type to repeat it
}

// The ways to publish.
const (
	viaPost = "post" // POST /publish at the router's admin port
	viaXADD = "xadd" // pipelined over one connection to Redis
)

func parseLatency(args []string) (latencyOptions, error) {
	var o latencyOptions
	fs := flag.NewFlagSet("bench "+latencyArg, flag.ContinueOnError)
	fs.IntVar(&o.subscribers, "subscribers", 1000, "subscribers through the router")
	fs.IntVar(&o.topics, "topics", 200, "topics that they are spread over")
	fs.Float64Var(&o.rate, "rate", 1000, "messages per second, over all topics")
	fs.IntVar(&o.size, "size", 200, "bytes of a message")
	gateways := fs.String("gateways", "1,3,8", "numbers of gateways, each a cluster of its own, comma-separated")
	via := fs.String("via", viaPost+","+viaXADD, "ways to publish, comma-separated")
	fs.IntVar(&o.connections, "connections", 32, "HTTP connections of the publisher; each has one publish under way at most")
	fs.DurationVar(&o.warmup, "warmup", 5*time.Second, "time of publishing before a measurement")
	fs.DurationVar(&o.window, "window", 25*time.Second, "length of a measurement")
	fs.DurationVar(&o.idle, "idle", 15*time.Second, "length of the measurement of each cluster's CPU time without messages")
	fs.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	fs.StringVar(&o.out, "out", "docs/LATENCY.md", "file to write; - for the standard output")
	var err error
	if o.command, err = parseFlags(fs, args); err != nil {
		return o, err
	}
	for f := range strings.SplitSeq(*gateways, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 1 {
			return o, fmt.Errorf("-gateways: got %q, want positive numbers separated by commas", *gateways)
		}
		o.gateways = append(o.gateways, n)
	}
	for f := range strings.SplitSeq(*via, ",") {
		if f = strings.TrimSpace(f); f != viaPost && f != viaXADD {
			return o, fmt.Errorf("-via: got %q, want %s, %s or both", *via, viaPost, viaXADD)
		}
		o.via = append(o.via, f)
	}
	return o, o.check()
}

func (o *latencyOptions) check() error {
	switch {
	case o.topics < 1 || o.subscribers < o.topics || o.subscribers%o.topics != 0:
		return errors.New("-subscribers must be a multiple of -topics")
	case o.rate <= 0 || o.rate > 1e6 || o.connections < 1 || o.warmup <= 0 || o.window <= 0 || o.idle <= 0:
		return errors.New("-rate, -connections, -warmup, -window and -idle must be positive")
	}
	return cmp.Or(checkSize(o.size), checkLimit(o.subscribers))
}

// publisherGC keeps the garbage collector of the publisher, which is this process, from holding it up more than needed.
const publisherGC = 1000

// way is what the report knows of one cluster published to in one way.
type way struct {
	Gateways int
	Via      string
	Messages int
	Idle     clock // of the cluster, without messages
	Busy     clock // during the measurement
	times
}

// runLatency measures every cluster in every way and writes the report.
func runLatency(ctx context.Context, o latencyOptions) error {
	var done func()
	var err error
	if o.binary, done, err = buildOnce(o.binary); err != nil {
		return err
	}
	defer done()
	debug.SetGCPercent(publisherGC)
	started := time.Now()
	var ways []way
	show.Of(len(o.gateways) * (1 + len(o.via)))
	for _, n := range o.gateways {
		show.Next("%d gateways, idle", n)
		more, err := measureCluster(ctx, o, n)
		if err != nil {
			return fmt.Errorf("%d gateways: %w", n, err)
		}
		ways = append(ways, more...)
	}
	return fill(latencyTemplate, o.out, latencyReport(o, started, ways))
}

// measureCluster starts a cluster with its subscribers, and measures it idle and in every way to publish.
func measureCluster(ctx context.Context, o latencyOptions, gateways int) ([]way, error) {
	s, err := newStage(ctx, o.binary, cast{routers: 1, gateways: gateways})
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return nil, err
	}
	f, err := newFleet(o.subscribers)
	if err != nil {
		return nil, err
	}
	defer f.Stop() //nolint:errcheck // the measurement is done, and a process of subscribers that failed has said so
	topics := make([]string, o.topics)
	for i := range topics {
		topics[i] = "latency/" + strconv.Itoa(i)
	}
	if err := f.Open(ctx, rawSpec(s.router.Addr, topics), o.subscribers); err != nil {
		return nil, err
	}
	if err := wait(ctx, idleSettle); err != nil {
		return nil, err
	}
	idle, err := s.idleLoad(ctx, o.idle)
	if err != nil {
		return nil, err
	}
	say("%d gateways, idle: %v", gateways, idle)
	var ways []way
	for _, via := range o.via {
		show.Next("%d gateways, %s", gateways, via)
		w := way{Gateways: gateways, Via: via, Idle: idle}
		if err := w.measure(ctx, o, s, f, topics); err != nil {
			return nil, fmt.Errorf("%s: %w", via, err)
		}
		say("%d gateways, %s: p50 %v, p99 %v, max %v; redis %.1f, router %.1f, gateways %.1f µs per message; missing %d",
			gateways, via, load.Quantile(w.total, 50), load.Quantile(w.total, 99), load.Quantile(w.total, 100),
			w.Redis(), w.Router(), w.AllGateways(), w.Missing)
		ways = append(ways, w)
	}
	return ways, nil
}

// measure publishes to warm up, and again to be measured.
func (w *way) measure(ctx context.Context, o latencyOptions, s *stage, f *load.Fleet, topics []string) error {
	url := redisURL(s.redis.Addr)
	connections := 1
	if w.Via == viaPost {
		url, connections = httpURL(s.router.Admin), o.connections
	}
	p, err := newPress(url, topics, o.size, connections)
	if err != nil {
		return err
	}
	defer p.Close()
	each := o.subscribers / o.topics
	if _, _, err := deliver(ctx, f, p, o.rate, o.warmup, each, false); err != nil {
		return err
	}
	return w.busy(ctx, s, f, p, o.rate, o.window, each)
}

// busy publishes and measures.
func (w *way) busy(ctx context.Context, s *stage, f *load.Fleet, p *load.Press, rate float64, d time.Duration, each int) error {
	before, err := s.readLoad()
	if err != nil {
		return err
	}
	b, _, err := deliver(ctx, f, p, rate, d, each, true)
	if err != nil {
		return err
	}
	after, err := s.readLoad()
	if err != nil {
		return err
	}
	receipts, err := f.Receipts()
	if err != nil {
		return err
	}
	w.Messages, w.Busy = b.Published, after.since(before)
	w.times, err = split(b, receipts, each)
	return err
}

// idleSettle is how long the handshakes of the subscribers have to be over before the cluster counts as idle.
const idleSettle = 3 * time.Second

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
