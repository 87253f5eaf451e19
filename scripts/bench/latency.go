package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
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
	fs.Usage = func() { printUsage(fs) }
	if err := fs.Parse(args); err != nil {
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
	o.command = commandLine(fs)
	return o, o.check(fs.Args())
}

func (o *latencyOptions) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("an unexpected argument %q", rest[0])
	case o.topics < 1 || o.subscribers < o.topics || o.subscribers%o.topics != 0:
		return errors.New("-subscribers must be a multiple of -topics")
	case o.rate <= 0 || o.rate > 1e6 || o.connections < 1 || o.warmup <= 0 || o.window <= 0 || o.idle <= 0:
		return errors.New("-rate, -connections, -warmup, -window and -idle must be positive")
	case o.size < stampAt+stampDigits+12:
		return fmt.Errorf("-size: got %d, want at least %d, for the publish time", o.size, stampAt+stampDigits+12)
	}
	return checkLimit(o.subscribers)
}

// publisherGC keeps the garbage collector of the publisher, which is this process, from holding it up more than needed.
const publisherGC = 1000

// way is what the report knows of one cluster published to in one way.
type way struct {
	Gateways int
	Via      string
	Messages int
	Idle     load // of the cluster, without messages
	Busy     load // during the measurement
	times
}

// runLatency measures every cluster in every way and writes the report.
func runLatency(ctx context.Context, o latencyOptions) error {
	if o.binary == "" {
		dir, err := os.MkdirTemp("", "ringside-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		progress("building ringside")
		if o.binary, err = testcluster.Build(dir, false); err != nil {
			return err
		}
	}
	debug.SetGCPercent(publisherGC)
	started := time.Now()
	var ways []way
	for _, n := range o.gateways {
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
	s, err := newStage(ctx, o.binary, gateways)
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
	defer f.stop() //nolint:errcheck // the measurement is done, and a load process that failed has said so
	topics := make([]string, o.topics)
	for i := range topics {
		topics[i] = "latency/" + strconv.Itoa(i)
	}
	if err := f.open(s.router.Addr, topics, o.subscribers); err != nil {
		return nil, err
	}
	if err := wait(ctx, idleSettle); err != nil {
		return nil, err
	}
	idle, err := s.idleLoad(ctx, o.idle)
	if err != nil {
		return nil, err
	}
	progress("%d gateways, idle: %v", gateways, idle)
	var ways []way
	for _, via := range o.via {
		w := way{Gateways: gateways, Via: via, Idle: idle}
		if err := w.measure(ctx, o, s, f, topics); err != nil {
			return nil, fmt.Errorf("%s: %w", via, err)
		}
		progress("%d gateways, %s: p50 %v, p99 %v, max %v; redis %.1f, router %.1f, gateways %.1f µs per message; missing %d",
			gateways, via, quantile(w.total, 50), quantile(w.total, 99), quantile(w.total, 100),
			w.Redis(), w.Router(), w.AllGateways(), w.Missing)
		ways = append(ways, w)
	}
	return ways, nil
}

// measure publishes to warm up, and again to be measured.
func (w *way) measure(ctx context.Context, o latencyOptions, s *stage, f *fleet, topics []string) error {
	addr := s.redis.Addr
	if w.Via == viaPost {
		addr = s.router.Admin
	}
	p, err := newPress(o, w.Via, addr, topics)
	if err != nil {
		return err
	}
	defer p.close()
	each := o.subscribers / o.topics
	if _, err := p.deliver(ctx, f, cmdReset, o.warmup, each); err != nil {
		return err
	}
	before, err := s.readLoad()
	if err != nil {
		return err
	}
	b, err := p.deliver(ctx, f, cmdKeep, o.window, each)
	if err != nil {
		return err
	}
	after, err := s.readLoad()
	if err != nil {
		return err
	}
	t, err := f.all(cmdReceipts)
	if err != nil {
		return err
	}
	w.Messages, w.Busy = len(b.messages), after.since(before)
	w.times, err = b.split(t.Receipts, each)
	if err != nil {
		return err
	}
	return b.clockWasSet()
}

// deliver publishes and waits until each message has come so many times. What has not come in time is missing in the
// report; a lost connection is an error.
func (p *press) deliver(ctx context.Context, f *fleet, cmd string, d time.Duration, each int) (*batch, error) {
	if _, err := f.all(cmd); err != nil {
		return nil, err
	}
	b, err := p.publish(ctx, d)
	if err != nil {
		return nil, err
	}
	limit := time.Now().Add(deliveryLimit)
	for {
		t, err := f.all(cmdStats)
		switch {
		case err != nil:
			return nil, err
		case t.Lost > 0:
			return nil, fmt.Errorf("%d subscribers lost their connection", t.Lost)
		case t.Frames >= int64(len(b.messages)*each), time.Now().After(limit):
			return b, nil
		}
		if err := wait(ctx, arrivedEvery); err != nil {
			return nil, err
		}
	}
}

const (
	// arrivedEvery is how often the load processes are asked.
	arrivedEvery = 200 * time.Millisecond
	// idleSettle is how long the handshakes of the subscribers have to be over before the cluster counts as idle.
	idleSettle = 3 * time.Second
)

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
