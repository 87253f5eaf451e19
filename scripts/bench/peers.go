package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/load/bench"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// The peers that goals are about.
const (
	peerAlone    = "centrifuge"
	peerAnyCable = "anycable-go"
)

// peersArg as the first argument measures Ringside beside servers of others, one pair after the other.
const peersArg = "peers"

// peerOptions are the command line of `bench peers`.
type peerOptions struct {
	options
	topics int
	rate   float64
	first  float64
	only   string
}

func parsePeers(args []string) (peerOptions, error) {
	var o peerOptions
	fs := flag.NewFlagSet("bench "+peersArg, flag.ContinueOnError)
	fs.IntVar(&o.subscribers, "subscribers", 8000, "subscribers of each server")
	fs.IntVar(&o.topics, "topics", 1, "topics that they follow, one each")
	fs.IntVar(&o.size, "size", 200, "bytes of a payload")
	fs.Float64Var(&o.rate, "rate", 1, "messages per second, over all topics, of the comparison at one rate")
	fs.Float64Var(&o.first, "first", 4, "messages per second that the way to the knee begins with")
	fs.DurationVar(&o.window, "window", 10*time.Second, "length of the measurement at one rate, and half of that of each rate on the way to the knee")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds of each pair; who comes first turns with each")
	fs.BoolVar(&o.install, "install", true, "install haproxy and nginx with apt when they are missing")
	fs.StringVar(&o.only, "only", "", "one peer alone")
	fs.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	fs.StringVar(&o.out, "out", "docs/BENCHMARKS.md", "file whose section is written anew; pictures go to the folder bench beside it; - for the standard output")
	var err error
	if o.command, err = parseFlags(fs, args); err != nil {
		return o, err
	}
	if o.topics < 1 || o.subscribers < o.topics || o.rounds < 1 || o.window <= 0 || o.rate <= 0 || o.first <= 0 {
		return o, errors.New("want a topic at least, as many subscribers, and a round, a window and rates")
	}
	return o, cmp.Or(checkSize(o.size), checkLimit(o.subscribers))
}

// server is what is measured: a server with what stands in front of it.
type server struct {
	name     string
	template string
	addr     string
	publish  string
	watched  []bench.Process
}

// peerRun is a measurement of pairs under way.
type peerRun struct {
	o       peerOptions
	stage   *stage
	started time.Time
	pairs   []pair
	before  map[int]int64 // Pss of the processes before the first subscriber of all, bytes, by PID
}

// pair is Ringside beside another server.
type pair struct {
	Peer    string
	results [2][]one // of Ringside and of the other, by round
}

// one is one server's outcome in a round.
type one struct {
	phase *bench.Phase
	ramp  *bench.Result
	pss   int64 // of all, with all subscribers, beyond that before the first, bytes
}

func runPeers(ctx context.Context, o peerOptions) error {
	s, err := newStage(ctx, o.binary, cast{routers: 1, gateways: 1})
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return err
	}
	r := &peerRun{o: o, stage: s, started: time.Now(), before: map[int]int64{}}
	peers, err := r.start(ctx)
	if err != nil {
		return err
	}
	if err := wait(ctx, peerRest); err != nil {
		return err
	}
	for _, p := range append(slices.Clone(peers), r.ringside("")) {
		for _, w := range p.watched {
			if r.before[w.PID], err = load.PSS(w.PID); err != nil {
				return err
			}
		}
	}
	for _, p := range peers {
		if o.only != "" && o.only != p.name {
			continue
		}
		ours := r.ringside(httpURL(s.router.Admin))
		if strings.HasPrefix(p.publish, "redis:") { // published to in the same way
			ours = r.ringside(p.publish)
		}
		result, err := r.pair(ctx, ours, p)
		if err != nil {
			return err
		}
		r.pairs = append(r.pairs, result)
	}
	if len(r.pairs) == 0 {
		return fmt.Errorf("-only: there is no peer %q", o.only)
	}
	return r.write()
}

// ringside is our server: a router and a gateway.
func (r *peerRun) ringside(publish string) server {
	return server{name: "ringside", template: "ringside", addr: r.stage.router.Addr, publish: publish, watched: []bench.Process{
		{Name: "router", PID: r.stage.router.PID()}, {Name: "gateway", PID: r.stage.gateways[0].PID()}}}
}

// start starts the servers of others, and the proxies in front of one of them.
func (r *peerRun) start(ctx context.Context) (list []server, err error) {
	alone, err := r.stage.startCentrifuge(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.stage.startProxies(ctx, alone.addr, r.o.options); err != nil {
		return nil, err
	}
	for _, a := range r.stage.arms {
		behind := alone
		behind.name, behind.addr = a.Name+" + centrifuge", a.addr
		behind.watched = append([]bench.Process{{Name: a.Name, PID: a.pid}}, alone.watched...)
		list = append(list, behind)
	}
	folder := filepath.Join("internal", "e2e", "testdata", "iopeer")
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		return nil, fmt.Errorf("the packages of Socket.IO are missing: scripts/setup node-iopeer (%w)", err)
	}
	socketio, err := r.stage.startServer(ctx, "socket.io", folder, func(addr string) []string { return []string{"node", "server.js", addr, r.stage.redis.URL()} })
	if err != nil {
		return nil, err
	}
	socketio.template, socketio.publish = "socketio", r.stage.redis.URL()
	anycable, err := r.stage.startAnyCable(ctx)
	if err != nil {
		return nil, err
	}
	legs, err := r.withLegs(ctx)
	return append(list, alone, anycable, socketio, legs), err
}

// withLegs is our own server with a leg for every session: what shared feeds are worth.
func (r *peerRun) withLegs(ctx context.Context) (server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	gateway := r.stage.gateways[0]
	n, err := testcluster.StartNode(ctx, testcluster.NodeSpec{
		Binary: r.stage.binary, Role: testcluster.Router, Redis: r.stage.redis.URL(), Join: gateway.Gossip, Flags: []string{"--no-shared-feeds"},
	})
	if err != nil {
		return server{}, err
	}
	r.stage.procs = append(r.stage.procs, n.Process)
	if err := testcluster.Poll(ctx, func() error { return r.stage.agrees(ctx, n) }); err != nil {
		return server{}, fmt.Errorf("%w\n%s", err, n.LogTail(10))
	}
	return server{name: "ringside, no shared feeds", template: "ringside", addr: n.Addr, publish: httpURL(n.Admin), watched: []bench.Process{
		{Name: "router", PID: n.PID()}, {Name: "gateway", PID: gateway.PID()}}}, nil
}

// startCentrifuge builds and starts the server on centrifuge.
func (s *stage) startCentrifuge(ctx context.Context) (server, error) {
	binary, err := s.buildPeer(ctx, "centrifuge")
	if err != nil {
		return server{}, err
	}
	c, err := s.startServer(ctx, peerAlone, "", func(addr string) []string { return []string{binary, "-listen", addr, "-redis", s.redis.Addr} })
	c.template, c.publish = "centrifugo", httpURL(c.addr)
	return c, err
}

// startAnyCable builds and starts AnyCable's server, as a node of several, with what it keeps for those who come back. Its pings are as far apart as
// those of the others, in its favour: by default it sends one every three seconds.
func (s *stage) startAnyCable(ctx context.Context) (server, error) {
	binary, err := s.buildPeer(ctx, "anycable")
	if err != nil {
		return server{}, err
	}
	c, err := s.startServer(ctx, peerAnyCable, "", func(addr string) []string {
		host, port, _ := net.SplitHostPort(addr)
		return []string{binary, "--host", host, "--port", port, "--http_broadcast_port", port, "--public", "--norpc", "--broadcast_adapter", "http", "--broker", "memory",
			"--pubsub", "redis", "--redis_url", s.redis.URL(), "--ping_interval", "25", "--log_level", "warn"}
	})
	c.template, c.publish = "anycable", httpURL(c.addr)
	return c, err
}

// buildPeer builds a server of others, which is a module of its own.
func (s *stage) buildPeer(ctx context.Context, name string) (binary string, err error) {
	say("building the server %s", name)
	binary = filepath.Join(s.dir, name)
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = filepath.Join("scripts", "peers", name)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build it: %w\n%s", err, out)
	}
	return binary, nil
}

// startServer starts a server of others, and waits until it takes clients.
func (s *stage) startServer(ctx context.Context, name, dir string, args func(addr string) []string) (server, error) {
	addr, err := testcluster.FreeAddr()
	if err != nil {
		return server{}, err
	}
	argv := args(addr)
	p, err := testcluster.StartProcessIn(dir, name, argv[0], argv[1:]...)
	if err != nil {
		return server{}, err
	}
	s.procs = append(s.procs, p)
	return server{name: name, addr: addr, watched: []bench.Process{{Name: name, PID: p.PID()}}}, listening(ctx, p, addr)
}

// pair measures two servers in turns.
func (r *peerRun) pair(ctx context.Context, ours, theirs server) (p pair, err error) {
	p.Peer = theirs.name
	servers := [2]*server{&ours, &theirs}
	for _, s := range servers {
		s.watched = append(s.watched, bench.Process{Name: "redis", PID: r.stage.redis.PID()})
	}
	for round := range r.o.rounds {
		for turn := range servers {
			i := (turn + round) % len(servers)
			result, err := r.measure(ctx, servers[i])
			if err != nil {
				return p, fmt.Errorf("%s beside %s: %w", servers[i].name, p.Peer, err)
			}
			say("%s, round %d: %s: p50 %.1f, p99 %.1f ms, knee %g messages/s", p.Peer, round+1, servers[i].name, result.phase.Latency.P50, result.phase.Latency.P99, result.ramp.Knee)
			p.results[i] = append(p.results[i], result)
		}
	}
	return p, nil
}

// measure measures a server at one rate, and then up to its knee.
func (r *peerRun) measure(ctx context.Context, s *server) (result one, err error) {
	t, err := load.FindTemplate(s.template)
	if err != nil {
		return result, err
	}
	cfg := bench.Config{Mode: bench.Steady, Subscribers: r.o.subscribers, Spawn: load.Spawn(0, workerArg), OpenLimit: time.Minute, Publish: s.publish,
		Connections: peerConnections, Size: r.o.size, Rate: r.o.rate, Duration: r.o.window, Warmup: peerWarmup, Settle: deliveryLimit, Watched: s.watched,
		Step: r.o.window / 2, Factor: 2, Limit: peerLimit, Refine: 3}
	cfg.Spec = load.Spec{Template: t, Targets: []string{s.addr}, Dialers: dialers, Back: load.Obedient, Source: load.Loopback(perSource)}
	for i := range r.o.topics {
		cfg.Spec.Topics = append(cfg.Spec.Topics, fmt.Sprintf("peers-%d", i))
	}
	res, err := bench.Run(ctx, cfg)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return result, err
	}
	result.phase = res.Phases[0]
	for _, u := range result.phase.Processes {
		if u.Name != "redis" {
			result.pss += u.PSS - r.before[u.PID]
		}
	}
	cfg.Mode, cfg.Rate = bench.Ramp, r.o.first
	result.ramp, err = bench.Run(ctx, cfg)
	return result, errors.Join(err, ctx.Err())
}

const (
	peerConnections = 16
	peerRest        = 20 * time.Second // until what the beginning of a process needed is given back
	peerWarmup      = 15 * time.Second // until connections have come to rest, and with them what they are served by
	peerLimit       = 200 * time.Millisecond
)
