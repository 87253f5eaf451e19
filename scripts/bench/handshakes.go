package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/load/bench"
)

// handshakesArg as the first argument measures how connections begin, with Ringside and with others.
const handshakesArg = "handshakes"

// handshakeOptions are the command line of `bench handshakes`.
type handshakeOptions struct {
	options
	topics  int
	dialers int
	before  string
	only    string
}

func parseHandshakes(args []string) (handshakeOptions, error) {
	var o handshakeOptions
	fs := flag.NewFlagSet("bench "+handshakesArg, flag.ContinueOnError)
	fs.IntVar(&o.subscribers, "subscribers", 4000, "connections of which the second kind has so many at once")
	fs.IntVar(&o.topics, "topics", 20, "topics that they follow, one each; each has a subscriber who stays")
	fs.IntVar(&o.dialers, "dialers", dialers, "connections that are being opened at once")
	fs.DurationVar(&o.window, "window", 4*time.Second, "the least that each measurement takes")
	fs.IntVar(&o.rounds, "rounds", 5, "rounds; who comes first turns with each")
	fs.BoolVar(&o.install, "install", true, "install haproxy with apt when it is missing")
	fs.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	fs.StringVar(&o.before, "before", "", "another ringside program, which is measured in turns with it")
	fs.StringVar(&o.only, "only", "", "Ringside's own ways alone: ringside; or a way by its name")
	fs.StringVar(&o.out, "out", "docs/BENCHMARKS.md", "file whose section is written anew; - for the standard output")
	var err error
	if o.command, err = parseFlags(fs, args); err != nil {
		return o, err
	}
	if o.topics < 1 || o.subscribers < o.topics || o.rounds < 1 || o.window <= 0 || o.dialers < 1 {
		return o, errors.New("want a topic at least, as many subscribers, and a round, a window and dialers")
	}
	return o, checkLimit(o.subscribers)
}

// route is a way from a client to a server. What is in front of the server comes first in watched.
type route struct {
	server
	ours bool
}

// kinds of connections that are measured.
const (
	kindLeaves = "connections that end at once"
	kindStays  = "connections that stay"
)

// handshakeRun is a measurement under way.
type handshakeRun struct {
	o       handshakeOptions
	stages  []*stage
	started time.Time
	ways    []route
	results map[string]map[string][]*bench.Result // by kind and way, of each round
}

func runHandshakes(ctx context.Context, o handshakeOptions) error {
	r := &handshakeRun{o: o, started: time.Now(), results: map[string]map[string][]*bench.Result{kindLeaves: {}, kindStays: {}}}
	defer func() {
		for _, s := range r.stages {
			s.stop()
		}
	}()
	if err := r.start(ctx); err != nil {
		return err
	}
	kept := r.ways[:0]
	for _, w := range r.ways {
		if o.only == "" || o.only == w.name || o.only == "ringside" && w.ours {
			kept = append(kept, w)
		}
	}
	if r.ways = kept; len(kept) == 0 {
		return fmt.Errorf("-only: there is no way %q", o.only)
	}
	hold, err := r.hold(ctx)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range hold {
			_ = f.Stop() // the measurement is done
		}
	}()
	show.Of(o.rounds * len(r.ways))
	for round := range o.rounds {
		for turn := range r.ways {
			w := r.ways[(turn+round)%len(r.ways)]
			show.Next("round %d of %d, %s", round+1, o.rounds, w.name)
			for _, kind := range []string{kindLeaves, kindStays} {
				if err := r.measure(ctx, w, kind); err != nil {
					return fmt.Errorf("%s, %s, round %d: %w", w.name, kind, round+1, err)
				}
			}
		}
	}
	return r.write()
}

// start starts what is measured.
func (r *handshakeRun) start(ctx context.Context) error {
	programs := []string{r.o.binary}
	if r.o.before != "" {
		programs = append(programs, r.o.before)
	}
	for i, program := range programs {
		s, err := newStage(ctx, program, cast{routers: 1, gateways: 1})
		if s != nil {
			r.stages = append(r.stages, s)
		}
		if err != nil {
			return err
		}
		suffix := []string{"", ", before"}[i]
		r.add(true, "gateway"+suffix, "ringside", s.gateways[0].Addr, s, bench.Process{Name: "gateway", PID: s.gateways[0].PID()})
		r.add(true, "router + gateway"+suffix, "ringside", s.router.Addr, s, bench.Process{Name: "router", PID: s.router.PID()}, bench.Process{Name: "gateway", PID: s.gateways[0].PID()})
	}
	s := r.stages[0]
	if r.o.only != "" {
		return nil // of ours alone
	}
	centrifuge, err := s.startCentrifuge(ctx)
	if err != nil {
		return err
	}
	for _, upstream := range []struct{ name, template, addr string }{{"gateway", "ringside", s.gateways[0].Addr}, {centrifuge.name, centrifuge.template, centrifuge.addr}} {
		a, err := s.startHAProxy(ctx, upstream.name, upstream.addr, r.o.options)
		if err != nil {
			return err
		}
		behind := centrifuge.watched[0]
		if upstream.name == "gateway" {
			behind = bench.Process{Name: "gateway", PID: s.gateways[0].PID()}
		}
		r.add(false, armHAProxy+" + "+upstream.name, upstream.template, a.addr, s, bench.Process{Name: armHAProxy, PID: a.pid}, behind)
	}
	r.add(false, centrifuge.name, centrifuge.template, centrifuge.addr, s, centrifuge.watched...)
	return nil
}

func (r *handshakeRun) add(ours bool, name, template, addr string, s *stage, watched ...bench.Process) {
	watched = append(watched, bench.Process{Name: "redis", PID: s.redis.PID()})
	r.ways = append(r.ways, route{server{name: name, template: template, addr: addr, watched: watched}, ours})
}

// spec are connections of a way.
func (r *handshakeRun) spec(w route) load.Spec {
	t, err := load.FindTemplate(w.template)
	if err != nil {
		panic("BUG: bench: " + err.Error())
	}
	spec := load.Spec{Template: t, Targets: []string{w.addr}, Dialers: r.o.dialers, Back: load.Obedient, Source: load.Loopback(perSource)}
	for i := range r.o.topics {
		spec.Topics = append(spec.Topics, fmt.Sprintf("handshakes-%d", i))
	}
	return spec
}

// hold has each topic followed by somebody at each server all the time, so that none is begun and given up again and again.
func (r *handshakeRun) hold(ctx context.Context) (list []*load.Fleet, err error) {
	for _, w := range r.ways {
		f, err := newFleet(r.o.topics)
		if err != nil {
			return list, err
		}
		list = append(list, f)
		if err := f.Open(ctx, r.spec(w), r.o.topics); err != nil {
			return list, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return list, nil
}

// measure opens connections of one kind for a while.
func (r *handshakeRun) measure(ctx context.Context, w route, kind string) error {
	cfg := bench.Config{Mode: bench.Handshakes, Subscribers: r.o.subscribers, Spawn: load.Spawn(0, workerArg), OpenLimit: time.Minute,
		Duration: r.o.window, Watched: w.watched, Spec: r.spec(w)}
	cfg.Spec.Leave = kind == kindLeaves
	res, err := bench.Run(ctx, cfg)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && (res.Connect.Failed > 0) {
		err = fmt.Errorf("%d failed: %s", res.Connect.Failed, load.Reasons(res.Connect.Reasons))
	}
	if err != nil {
		return err
	}
	sum, parts := roundCost(res)
	say("%s, %s: %.0f/s, %.0f µs (%s), generator %.2f cores", w.name, kind, res.Connect.Rate, sum, parts, generatorOf(res))
	r.results[kind][w.name] = append(r.results[kind][w.name], res)
	return nil
}
