// Command bench measures Ringside and writes docs/BENCHMARKS.md: the memory of idle sessions, and the CPU
// time per delivered message, beside HAProxy and nginx that forward the same frames from the same gateway in
// the same run. `bench latency` measures the way of a message instead, at a fixed rate over many topics, and
// writes docs/LATENCY.md: how long it takes from the publish to the subscriber's socket, and what CPU time it costs
// Redis, the router and the gateways.
//
// It starts everything itself (redis-server, gateways, a router, the two proxies and its own load processes)
// on free loopback ports, and ends all of it, also when it is interrupted. It needs Linux, redis-server, and a
// limit of open files above twice the number of subscribers. The load is the program itself, started again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	subscribers int
	size        int
	rates       []float64
	window      time.Duration
	rounds      int
	settle      time.Duration
	memory      bool
	install     bool
	binary      string
	out         string

	command string // what to type to repeat it
}

const usage = `Usage: go run ./scripts/bench [flags]
       go run ./scripts/bench latency [flags]
       go run ./scripts/bench hot [flags]

Measures Ringside beside HAProxy and nginx, or the way of a message, and writes the result as Markdown. Run it
from the root of the repository on a quiet machine; with the defaults it takes about fifteen minutes, or five.

`

func parseOptions(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.IntVar(&o.subscribers, "subscribers", 8000, "subscribers of the one topic")
	fs.IntVar(&o.size, "size", 200, "bytes of a message")
	rates := fs.String("rates", "1,5", "messages per second, comma-separated")
	fs.DurationVar(&o.window, "window", 20*time.Second, "length of one measurement of CPU time")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds; the order of the proxies turns with each")
	fs.DurationVar(&o.settle, "settle", 150*time.Second, "the least time until memory counts as settled;\nGo collects an idle heap every two minutes")
	fs.BoolVar(&o.memory, "memory", true, "measure idle memory too")
	fs.BoolVar(&o.install, "install", true, "install haproxy and nginx with apt when they are missing")
	fs.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	fs.StringVar(&o.out, "out", "docs/BENCHMARKS.md", "file to write; - for the standard output")
	fs.Usage = func() { printUsage(fs) }
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	for f := range strings.SplitSeq(*rates, ",") {
		r, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil || r <= 0 {
			return o, fmt.Errorf("-rates: got %q, want positive numbers separated by commas", *rates)
		}
		o.rates = append(o.rates, r)
	}
	o.command = commandLine(fs)
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("an unexpected argument %q", fs.Arg(0))
	case o.subscribers < 1 || o.rounds < 1 || o.window <= 0:
		return o, errors.New("-subscribers, -rounds and -window must be positive")
	case o.size < stampAt+stampDigits+12:
		return o, fmt.Errorf("-size: got %d, want at least %d, for the publish time", o.size, stampAt+stampDigits+12)
	}
	return o, checkLimit(o.subscribers)
}

func printUsage(fs *flag.FlagSet) {
	fmt.Fprint(fs.Output(), usage)
	fs.PrintDefaults()
}

// commandLine is the command without what does not change the result.
func commandLine(fs *flag.FlagSet) string {
	line := "go run ./scripts/" + fs.Name()
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "out", "binary", "install":
		default:
			line += fmt.Sprintf(" -%s=%s", f.Name, f.Value)
		}
	})
	return line
}

// checkLimit says early that a proxy could not hold the sessions.
func checkLimit(subscribers int) error {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("cannot read the limit of open files: %w", err)
	}
	if need := uint64(2*(subscribers+500) + 200); lim.Max < need {
		return fmt.Errorf("%d subscribers need %d open files in a proxy, the limit is %d: use -subscribers %d",
			subscribers, need, lim.Max, (lim.Max-200)/2-500)
	}
	return nil
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		exit(runWorker(os.Stdin, os.Stdout))
	}
	job, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err = job(ctx)
	stop()
	exit(err)
}

// parse reads the command line and returns what it asks for.
func parse(args []string) (func(ctx context.Context) error, error) {
	if len(args) > 0 && args[0] == latencyArg {
		o, err := parseLatency(args[1:])
		return func(ctx context.Context) error { return runLatency(ctx, o) }, err
	}
	if len(args) > 0 && args[0] == hotArg {
		o, err := parseHot(args[1:])
		return func(ctx context.Context) error { return runHot(ctx, o) }, err
	}
	o, err := parseOptions(args)
	return func(ctx context.Context) error { return run(ctx, o) }, err
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// progress tells the person who waits what goes on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// run measures everything and writes the report.
func run(ctx context.Context, o options) error {
	s, err := newStage(ctx, o.binary, 1)
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return err
	}
	if err := s.addArms(ctx, o); err != nil {
		return err
	}
	f, err := newFleet(o.subscribers)
	if err != nil {
		return err
	}
	defer f.stop() //nolint:errcheck // the measurement is done, and a load process that failed has said so
	m := &measurement{o: o, stage: s, fleet: f, started: time.Now()}
	if o.memory {
		if err := m.idleMemory(ctx); err != nil {
			return err
		}
	}
	if err := m.fanOut(ctx); err != nil {
		return err
	}
	return m.write()
}
