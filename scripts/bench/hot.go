package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// hotArg as the first argument measures what a hot topic does to the others.
const hotArg = "hot"

// hotOptions are the command line of the measurement.
type hotOptions struct {
	sessions int
	gateways int
	window   time.Duration
	rounds   int
	binary   string
	out      string
	command  string
}

const (
	hotTopic    = "finals"
	quietTopics = 100
	quietRate   = 100 // messages per second, over all quiet topics
	hotRate     = 1   // messages per second of the hot one
	hotShare    = 0.9 // of the sessions follow it
	hotLimit    = 1.3 // times the mean: no gateway may have more
	steadyAfter = 15 * time.Second
)

func parseHot(args []string) (hotOptions, error) {
	var o hotOptions
	fs := flag.NewFlagSet("bench hot", flag.ContinueOnError)
	fs.IntVar(&o.sessions, "sessions", 4000, "sessions, of which nine in ten follow one topic")
	fs.IntVar(&o.gateways, "gateways", 4, "gateways; there are two routers")
	fs.DurationVar(&o.window, "window", 10*time.Second, "length of one measurement of latency")
	fs.IntVar(&o.rounds, "rounds", 2, "rounds: without the hot topic, then with it")
	fs.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	fs.StringVar(&o.out, "out", "docs/HOT.md", "file to write; - for the standard output")
	fs.Usage = func() { printUsage(fs) }
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.command = commandLine(fs)
	if fs.NArg() > 0 || o.sessions < 40 || o.gateways < 2 || o.rounds < 1 || o.window <= 0 {
		return o, errors.New("want 40 sessions, 2 gateways and a round at least, and no arguments")
	}
	return o, checkLimit(o.sessions)
}

// hotRun is a measurement under way.
type hotRun struct {
	o          hotOptions
	stage      *stage
	routers    []*testcluster.Node
	quiet, hot []*fleet // one for each router
	without    []time.Duration
	with       []time.Duration
	lines      []string
	worst      float64
}

func runHot(ctx context.Context, o hotOptions) error {
	s, err := newStage(ctx, o.binary, o.gateways)
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return err
	}
	h := &hotRun{o: o, stage: s, routers: []*testcluster.Node{s.router}}
	if err := h.secondRouter(ctx); err != nil {
		return err
	}
	for range h.routers {
		for _, fs := range []*[]*fleet{&h.quiet, &h.hot} {
			f, err := newFleet(o.sessions)
			if err != nil {
				return err
			}
			defer f.stop() //nolint:errcheck // the measurement is done, and a load process that failed has said so
			*fs = append(*fs, f)
		}
	}
	for i := range o.rounds {
		if err := h.round(ctx, i+1); err != nil {
			return err
		}
	}
	return h.write()
}

// secondRouter starts another router, of the same program.
func (h *hotRun) secondRouter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	binary := h.o.binary
	if binary == "" {
		binary = h.stage.dir + "/ringside"
	}
	n, err := testcluster.StartNode(ctx, testcluster.NodeSpec{
		Binary: binary, Role: testcluster.Router, Redis: h.stage.redis.URL(), Join: h.stage.gateways[0].Gossip,
	})
	if err != nil {
		return err
	}
	h.stage.procs = append(h.stage.procs, n.Process)
	h.routers = append(h.routers, n)
	return testcluster.Poll(ctx, func() error { return h.stage.agrees(ctx, n) })
}

// open opens half of the sessions at each router, all at once.
func (h *hotRun) open(fs []*fleet, topics []string, sessions int) error {
	errs := make([]error, len(fs))
	var wg sync.WaitGroup
	for i, f := range fs {
		wg.Go(func() { errs[i] = f.open(h.routers[i].Addr, topics, sessions/len(fs)) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// round measures the quiet topics without the hot one, and then with it, whose sessions come as a burst.
func (h *hotRun) round(ctx context.Context, n int) error {
	topics := make([]string, quietTopics)
	for i := range topics {
		topics[i] = fmt.Sprintf("quiet-%d", i)
	}
	hot := int(float64(h.o.sessions) * hotShare)
	if n == 1 {
		if err := h.open(h.quiet, topics, h.o.sessions-hot); err != nil {
			return err
		}
	}
	p99, err := h.latency(ctx, topics, false)
	if err != nil {
		return err
	}
	h.without = append(h.without, p99)
	begun := time.Now()
	if err := h.open(h.hot, []string{hotTopic}, hot); err != nil {
		return err
	}
	if err := h.balance(ctx, n, fmt.Sprintf("burst, %d sessions in %.1f s", hot, time.Since(begun).Seconds())); err != nil {
		return err
	}
	if err := wait(ctx, steadyAfter); err != nil {
		return err
	}
	if err := h.balance(ctx, n, fmt.Sprintf("steady, %.0f s later", steadyAfter.Seconds())); err != nil {
		return err
	}
	if p99, err = h.latency(ctx, topics, true); err != nil {
		return err
	}
	h.with = append(h.with, p99)
	for _, f := range h.hot {
		if _, err := f.all(cmdClose); err != nil {
			return err
		}
	}
	return wait(ctx, 5*time.Second) // until everybody knows that they have gone
}

// balance notes how the sessions are spread over the gateways.
func (h *hotRun) balance(ctx context.Context, n int, when string) error {
	var counts []string
	var sum, most float64
	for _, g := range h.stage.gateways {
		v, err := g.Metric(ctx, "ringside_gateway_sessions")
		if err != nil {
			return err
		}
		counts = append(counts, fmt.Sprintf("%.0f", v))
		sum, most = sum+v, max(most, v)
	}
	ratio := most / (sum / float64(len(counts)))
	h.worst = max(h.worst, ratio)
	h.lines = append(h.lines, fmt.Sprintf("| %d | %s | %s | %.2f |", n, when, strings.Join(counts, ", "), ratio))
	progress("round %d, %s: %s, largest %.2f times the mean", n, when, strings.Join(counts, ", "), ratio)
	return nil
}

// latency publishes for a window and returns the p99 of the quiet topics.
func (h *hotRun) latency(ctx context.Context, topics []string, hot bool) (time.Duration, error) {
	for _, f := range h.quiet {
		if _, err := f.all(cmdReset); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	if hot {
		wg.Go(func() { _ = h.publish(ctx, []string{hotTopic}, hotRate, h.o.window) }) // its loss shows in nothing that is measured
	}
	if err := h.publish(ctx, topics, quietRate, h.o.window); err != nil {
		return 0, err
	}
	if err := wait(ctx, time.Second); err != nil {
		return 0, err
	}
	p99, frames := time.Duration(0), int64(0)
	for _, f := range h.quiet {
		t, err := f.all(cmdStats)
		if err != nil {
			return 0, err
		}
		frames += t.Frames
		if t.Lost > 0 {
			return 0, fmt.Errorf("%d quiet sessions were closed", t.Lost)
		}
		p99 = max(p99, time.Duration(t.Latency.ValueAtQuantile(99))*time.Microsecond)
	}
	if frames == 0 {
		return 0, errors.New("the quiet topics got nothing")
	}
	progress("quiet topics, hot one %v: %d messages, p99 %s ms", hot, frames, millis(p99))
	return p99, nil
}

// publish publishes to the topics in turn, so many messages per second.
func (h *hotRun) publish(ctx context.Context, topics []string, rate int, window time.Duration) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	end := time.Now().Add(window)
	for i := 0; time.Now().Before(end); i++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		r, err := h.routers[i%len(h.routers)].Post(ctx, "/publish/"+topics[i%len(topics)], payload(200, time.Now()))
		if err == nil && r.Status != 200 {
			err = fmt.Errorf("publish: %d %s", r.Status, r.Body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write writes the report, and fails when a gateway had too much.
func (h *hotRun) write() error {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# One hot topic\n\nWritten by `%s` on %s, with %s; load average of the machine at the end: %s.\n\n", h.o.command,
		time.Now().UTC().Format("2 January 2006"), machine(), strings.Join(strings.Fields(string(load))[:3], ", "))
	fmt.Fprintf(&b, "%d sessions at two routers and %d gateways, of which %.0f %% follow one topic and the others %d quiet ones. All run on one machine.\n\n",
		h.o.sessions, h.o.gateways, 100*hotShare, quietTopics)
	fmt.Fprintf(&b, "## Sessions of each gateway\n\n| round | when | sessions | largest over mean |\n|---|---|---|---|\n%s\n\n", strings.Join(h.lines, "\n"))
	fmt.Fprintf(&b, "The largest is %.2f times the mean; %.1f is allowed.\n\n", h.worst, hotLimit)
	fmt.Fprintf(&b, "## Latency of the quiet topics\n\np99 from the publish to the subscriber's socket, %d messages per second over all of them, %d per second to the hot one.\n\n"+
		"| round | without the hot topic | with it |\n|---|---|---|\n", quietRate, hotRate)
	for i := range h.with {
		fmt.Fprintf(&b, "| %d | %s ms | %s ms |\n", i+1, millis(h.without[i]), millis(h.with[i]))
	}
	b.WriteString("\nEach message to the hot topic keeps the shared CPUs busy for as long as its fan-out takes; with a machine for each gateway that part falls away.\n")
	if h.o.out == "-" {
		fmt.Print(b.String())
	} else if err := os.WriteFile(h.o.out, []byte(b.String()), 0o644); err != nil {
		return err
	}
	if h.worst > hotLimit {
		return fmt.Errorf("a gateway had %.2f times the mean", h.worst)
	}
	return nil
}
