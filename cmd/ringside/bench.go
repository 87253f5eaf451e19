package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/load/bench"
	"github.com/ringside-edge/ringside/internal/progress"
)

// benchCmd has a command for each mode.
type benchCmd struct {
	Steady     benchSteady     `cmd:"" default:"withargs" help:"Publish at a rate for a while (the default)."`
	Ramp       benchRamp       `cmd:"" help:"Raise the rate until it is not held, and tell the highest that was."`
	Storm      benchStorm      `cmd:"" help:"Cut all subscribers off and watch them come back: naive and obedient ones."`
	Handshakes benchHandshakes `cmd:"" help:"Open connections, and nothing else."`
}

// benchSpawn starts the processes of subscribers; tests have them in this process.
var benchSpawn = load.Spawn(0, "bench-worker") //nolint:gochecknoglobals // fixed but in tests

// benchCrowd is what all modes have.
type benchCrowd struct {
	URLs        []string          `arg:"" name:"url" help:"Where to connect, for example ws://127.0.0.1:8080; subscribers take several in turn. A path takes the place of the template's."`
	Template    string            `default:"ringside" help:"What the server speaks: ${templates}, or a file."`
	Subprotocol string            `placeholder:"NAME" help:"In place of the template's."`
	Header      map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"Header of the handshake, beside the template's; may be repeated."`
	Subscribers int               `default:"100" min:"1" help:"Subscribers, up to 15000 in a process."`
	Processes   int               `default:"0" placeholder:"N" min:"0" help:"Processes that they are spread over; 0 for as many as are needed."`
	ConnectRate float64           `default:"0" placeholder:"N" help:"Connections that are opened per second; 0 for as fast as --dialers allow."`
	Dialers     int               `default:"64" min:"0" help:"Connections that are being opened at once in a process; 0 for any number."`
	Patience    time.Duration     `default:"10s" help:"What a connection may take to be open."`
	Back        string            `default:"obedient" enum:"never,naive,obedient" help:"How one comes back that is turned away or loses its connection: never, naive, or obedient. A connection that is lost fails the measurement all the same."`
	OpenLimit   time.Duration     `default:"60s" help:"What it may take until all are open."`
	Topics      int               `default:"1" min:"1" help:"Topics that subscribers follow, one each."`
	Topic       string            `default:"bench" help:"Name of the topic; of several the beginning."`
	Hot         float64           `default:"0" placeholder:"SHARE" help:"Share of the subscribers that follow the first topic, 0 to 1; 0 spreads them evenly."`
	From        string            `placeholder:"PREFIX" help:"Addresses of this machine that subscribers come from, for example 127.0.0.0/8."`
	PerAddress  int               `default:"10000" min:"1" help:"Subscribers that share one of them."`

	Pid     map[string]int `placeholder:"NAME=PID" help:"Process whose CPU time and memory are told; may be repeated."`
	FailP99 time.Duration  `name:"fail-p99" default:"0" placeholder:"TIME" help:"Fail when the p99 of latency is above; 0 for never."`
	JSON    bool           `name:"json" help:"Print the result as JSON."`
	HTML    string         `name:"html" placeholder:"FILE" help:"Write it as a page with plots too."`
	CSV     string         `name:"csv" placeholder:"FILE" help:"Write what was seen second by second too."`

	bearer
}

// benchPress is what the modes that publish have.
type benchPress struct {
	Publish     string        `placeholder:"URL" help:"Where to publish: the admin port of a node, or Redis. By default http://127.0.0.1:8081, the admin port of a router on this machine, for the templates of Ringside."`
	Rate        float64       `default:"10" help:"Messages per second, over all topics; of a ramp the first rate."`
	Size        int           `default:"200" help:"Size of a payload."`
	Connections int           `default:"16" min:"1" help:"Connections that publish. Those by HTTP have one request under way each."`
	Batch       int           `default:"1" min:"1" help:"Messages in a request at most, where the template has batches."`
	Warmup      time.Duration `default:"2s" help:"Time of publishing that is not measured."`
	Settle      time.Duration `default:"10s" help:"What the last messages may take to arrive."`
}

type benchSteady struct {
	benchCrowd
	benchPress
	Duration time.Duration `default:"10s" help:"How long to publish."`
	Count    int           `default:"0" placeholder:"N" min:"0" help:"Publish so many messages instead."`
}

type benchRamp struct {
	benchCrowd
	benchPress
	Step    time.Duration `default:"10s" help:"How long each rate is kept."`
	Factor  float64       `default:"2" help:"What the rate is multiplied by."`
	Limit   time.Duration `default:"200ms" help:"A rate is held while p99 is below, and nothing is lost."`
	Refine  int           `default:"3" min:"0" help:"Rates that are tried between the last that held and the first that did not."`
	MaxRate float64       `default:"0" placeholder:"N" help:"Go no higher; 0 for no end."`
}

type benchStorm struct {
	benchCrowd
	benchPress
	Ways   []string      `default:"naive,obedient" enum:"naive,obedient" help:"How subscribers come back: naive, obedient, or both, one after the other."`
	Resume bool          `default:"true" negatable:"" help:"They go on where they were, as far as the template can."`
	Spread time.Duration `default:"1s" help:"The time in which all are cut off."`
	Retry  time.Duration `default:"1s" help:"After which a naive one comes again."`
	Window time.Duration `default:"60s" help:"How long to wait for them."`
}

type benchHandshakes struct {
	benchCrowd
	Duration time.Duration `default:"0" placeholder:"TIME" help:"Open them all again and again for so long; 0 for once."`
	Leave    bool          `help:"Each goes as soon as its subscription is confirmed; else all stay until the last is open."`
}

// benchWorkerCmd is a process of subscribers.
type benchWorkerCmd struct{}

// Run takes orders until its input ends.
func (benchWorkerCmd) Run(std stdio) error { return load.RunWorker(std.in, std.out) }

// Run publishes at a rate.
func (b *benchSteady) Run(ctx context.Context, std stdio) error {
	cfg := bench.Config{Mode: bench.Steady, Duration: b.Duration}
	if b.Count > 0 && b.Rate > 0 {
		cfg.Duration = time.Duration(float64(b.Count) / b.Rate * float64(time.Second))
	}
	return b.run(ctx, std, cfg, &b.benchPress)
}

// Run raises the rate.
func (b *benchRamp) Run(ctx context.Context, std stdio) error {
	cfg := bench.Config{Mode: bench.Ramp, Step: b.Step, Factor: b.Factor, Limit: b.Limit, Refine: b.Refine, MaxRate: b.MaxRate}
	return b.run(ctx, std, cfg, &b.benchPress)
}

// Run has subscribers come back.
func (b *benchStorm) Run(ctx context.Context, std stdio) error {
	cfg := bench.Config{Mode: bench.Storm, Spread: b.Spread, Retry: b.Retry, Window: b.Window}
	cfg.Spec.Resume = b.Resume
	for _, w := range b.Ways {
		cfg.Ways = append(cfg.Ways, load.Back(w))
	}
	return b.run(ctx, std, cfg, &b.benchPress)
}

// Run opens connections.
func (b *benchHandshakes) Run(ctx context.Context, std stdio) error {
	cfg := bench.Config{Mode: bench.Handshakes, Duration: b.Duration}
	cfg.Spec.Leave = b.Leave
	return b.run(ctx, std, cfg, nil)
}

// run fills in what all modes have, measures, and writes the result.
func (b *benchCrowd) run(ctx context.Context, std stdio, cfg bench.Config, press *benchPress) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	if err := b.config(&cfg, press); err != nil {
		return usage(err)
	}
	if err := cfg.Check(); err != nil {
		return usage(err)
	}
	bar := progress.New(progress.Config{Out: std.err, Env: std.env, Style: std.style(std.err)})
	cfg.Progress = bar.Set
	res, err := bench.Run(ctx, cfg)
	bar.End()
	if err != nil {
		return err
	}
	write := res.WriteText
	if b.JSON {
		write = res.WriteJSON
	}
	err = errors.Join(write(std.out), writeFile(b.HTML, res.WriteHTML), writeFile(b.CSV, res.WriteCSV))
	if failures := res.Failures(); len(failures) > 0 {
		err = errors.Join(err, errors.New(strings.Join(failures, "; ")))
	}
	if err == nil {
		err = context.Cause(ctx) // it was interrupted, or nothing
	}
	return err
}

// benchAlone is why tests of the manual don't run an example.
const benchAlone = "it takes as long as it says; internal/e2e measures a real cluster"

//nolint:gochecknoglobals // a constant in all but name
var benchJSON = []field{
	{"mode", "steady, ramp, storm or handshakes"}, {"command", "that repeats it, without secrets"}, {"started", "when"}, {"took", "seconds"}, {"interrupted", "whether it was ended early"},
	{"template", "what the server speaks"}, {"targets", "where it is"}, {"subscribers", "how many"}, {"topics", "how many"}, {"size", "of a payload, bytes"}, {"processes", "of subscribers"},
	{"connect", "how connections were opened; times in ms"},
	{"phases", "each rate: published, acknowledged, expected, delivered, lost, repeated, out_of_order, latency_ms, processes, generator, intervals, warnings"},
	{"knee", "of a ramp: the highest rate that held"}, {"beyond", "the lowest that did not"}, {"storms", "each way to come back: half, p99 and all in seconds, attempts, lost"},
	{"used", "by handshakes: CPU time per connection, of the generator too"}, {"busy", "by handshakes: whether the generator was, all the time"},
}

func writeFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
