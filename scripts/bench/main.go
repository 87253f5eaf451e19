// Command bench measures Ringside and writes docs/BENCHMARKS.md: the memory of idle sessions, and the CPU
// time per delivered message, beside HAProxy and nginx that forward the same frames from the same gateway in
// the same run. `bench latency` measures the way of a message instead, at a fixed rate over many topics, and
// writes docs/LATENCY.md: how long it takes from the publish to the subscriber's socket, and what CPU time it costs
// Redis, the router and the gateways. `bench peers` measures beside servers of others, `bench redis` what Redis costs; they
// write sections of docs/BENCHMARKS.md.
//
// It starts everything itself (redis-server, gateways, a router, the two proxies and its own load processes)
// on free loopback ports, and ends all of it, also when it is interrupted. It needs Linux, redis-server, and a
// limit of open files above twice the number of subscribers. The load is the program itself, started again.
package main

import (
	"cmp"
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

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/progress"
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
       go run ./scripts/bench peers [flags]
       go run ./scripts/bench handshakes [flags]
       go run ./scripts/bench redis [flags]
       go run ./scripts/bench growth [flags]

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
	var err error
	if o.command, err = parseFlags(fs, args); err != nil {
		return o, err
	}
	if o.rates, err = parseRates(*rates); err != nil {
		return o, err
	}
	if o.subscribers < 1 || o.rounds < 1 || o.window <= 0 {
		return o, errors.New("-subscribers, -rounds and -window must be positive")
	}
	return o, cmp.Or(checkSize(o.size), checkLimit(o.subscribers))
}

func parseRates(text string) (list []float64, err error) {
	for f := range strings.SplitSeq(text, ",") {
		r, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil || r <= 0 {
			return nil, fmt.Errorf("-rates: got %q, want positive numbers separated by commas", text)
		}
		list = append(list, r)
	}
	return list, nil
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		exit(load.RunWorker(os.Stdin, os.Stdout))
	}
	if len(os.Args) == 3 && os.Args[1] == sendsArg {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := runSends(ctx, os.Args[2])
		stop()
		exit(err)
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
	show.End(err)
	exit(err)
}

// show is the bar of the whole program.
//
//nolint:gochecknoglobals // there is one terminal
var show = progress.NewSteps()

// job is what a command line asks for.
type job func(ctx context.Context) error

// jobs are the measurements that have a name of their own.
//
//nolint:gochecknoglobals // a constant in all but name
var jobs = map[string]func(args []string) (job, error){
	latencyArg:    named(parseLatency, runLatency),
	hotArg:        named(parseHot, runHot),
	peersArg:      named(parsePeers, runPeers),
	handshakesArg: named(parseHandshakes, runHandshakes),
	redisArg:      named(parseRedis, runRedis),
	growthArg:     named(parseGrowth, runGrowth),
}

// named makes a job of a command's two halves.
func named[O any](parse func([]string) (O, error), run func(context.Context, O) error) func([]string) (job, error) {
	return func(args []string) (job, error) {
		o, err := parse(args)
		return func(ctx context.Context) error { return run(ctx, o) }, err
	}
}

// parse reads the command line and returns what it asks for.
func parse(args []string) (job, error) {
	if len(args) > 0 && jobs[args[0]] != nil {
		return jobs[args[0]](args[1:])
	}
	return named(parseOptions, run)(args)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// say tells the person who waits what goes on.
func say(format string, args ...any) {
	show.Say("%s  %s", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// run measures everything and writes the report.
func run(ctx context.Context, o options) error {
	s, err := newStage(ctx, o.binary, cast{routers: 1, gateways: 1})
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
	defer f.Stop() //nolint:errcheck // the measurement is done, and a process of subscribers that failed has said so
	m := &measurement{o: o, stage: s, fleet: f, started: time.Now()}
	steps := o.rounds * len(s.arms)
	if o.memory {
		steps += len(s.arms) - 1 // the way without a proxy has no memory of its own
	}
	show.Of(steps)
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
