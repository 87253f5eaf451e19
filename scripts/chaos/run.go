package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// run is one seed: a cluster, its clients and publishers, and the faults.
//
//	publishers ── press ──► routers, gateways, Redis
//	                              │
//	clients ── audience ◄─────────┘ ◄── faults ── plan(seed)
//	    │                               watch: rings, moves
//	    └──► histories ──► judge ◄── Redis, press
type run struct {
	o       options
	seed    uint64
	start   time.Time
	cluster *cluster
	crowd   *audience
	press   *press
	topics  []string
	steps   []step
	watch   *watch

	mu      sync.Mutex
	done    map[string]int    // guarded by mu, and so is all below: faults that were made, by kind
	skipped map[string]string // faults that could not be, and why
	found   []violation       // what was found while it ran
	began   time.Duration     // of the faults
	told    map[string]bool
}

// result is what a seed came to.
type result struct {
	seed    uint64
	replay  string
	steps   []step
	began   time.Duration
	done    map[string]int
	skipped map[string]string
	verdict *verdict

	sessions, tracks  int
	moves             float64
	expected, against int           // closes
	severed           int           // closes of slow readers after a loss
	attempts          int           // connections that were refused or failed
	agreed            time.Duration // the longest that the nodes disagreed
	rejoined          time.Duration // the same after a split
	memory            []memoryRow
	took              time.Duration
	seen              int // violations that were found while it ran
	logs              string
}

// plan is what the schedule of a seed is drawn from.
func (o options) plan(seed uint64) planConfig {
	c := planConfig{Seed: seed, Duration: o.duration, Faults: o.faults}
	for i := range o.routers {
		c.Routers = append(c.Routers, fmt.Sprintf("r%d", i+1))
	}
	for i := range o.gateways {
		c.Gateways = append(c.Gateways, fmt.Sprintf("g%d", i+1))
	}
	return c
}

// topicNames are n topics, some of them with what is awkward in a URL.
func topicNames(n int) []string {
	forms := []string{"match-%d", "match/%d/score", "Übertragung %d", "m+%d & co?", "50%%-%d"}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(forms[i%len(forms)], i)
	}
	return names
}

// runSeed runs one seed to its end.
func runSeed(ctx context.Context, o options, net *stage, seed uint64) (*result, error) {
	dir, err := os.MkdirTemp("", "ringside-chaos-redis-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	started := time.Now()
	cfg := o.plan(seed)
	r := &run{
		o: o, seed: seed, start: started, topics: topicNames(o.topics), steps: plan(cfg),
		done: map[string]int{}, skipped: map[string]string{}, told: map[string]bool{},
	}
	show.begin(len(r.steps))
	say("seed %d: %d faults in %v, %d sessions over %d topics", seed, len(r.steps), o.duration, o.sessions, o.topics)
	up, cancel := context.WithTimeout(ctx, startLimit)
	redis, err := startStore(up, net, dir, o.faults)
	cancel()
	if err != nil {
		return nil, err
	}
	r.cluster = &cluster{o: o, stage: net, redis: redis, dir: dir}
	defer r.cluster.end()
	if err := r.build(ctx, cfg); err != nil {
		return nil, err
	}
	r.crowd = &audience{start: started, cluster: r.cluster, seed: maphash.MakeSeed()}
	r.crowd.populate(seed, o.sessions, r.topics)
	r.press = &press{a: r.crowd, topics: r.topics, seed: seed}
	crowd, leave := context.WithCancel(ctx)
	defer func() { leave(); r.crowd.stop() }()
	r.crowd.run(crowd)
	res, err := r.play(ctx)
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	res.took = time.Since(started)
	return res, nil
}

// build starts all nodes: the first alone, the others by joining it.
func (r *run) build(ctx context.Context, cfg planConfig) error {
	var places []*place
	for i, name := range append(append([]string(nil), cfg.Routers...), cfg.Gateways...) {
		role := testcluster.Router
		if i >= len(cfg.Routers) {
			role = testcluster.Gateway
		}
		p, err := r.cluster.add(role, name)
		if err != nil {
			return err
		}
		places = append(places, p)
	}
	// A router is not ready before there is a gateway: the first node is a gateway.
	if err := r.cluster.start(ctx, places[len(cfg.Routers)]); err != nil {
		return err
	}
	errs := make([]error, len(places))
	var wg sync.WaitGroup
	for i, p := range places {
		if i != len(cfg.Routers) {
			wg.Go(func() { errs[i] = r.cluster.start(ctx, p) })
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	up, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return testcluster.Poll(up, func() error { return r.cluster.agree(up) })
}

// play warms up, makes the faults, and judges.
func (r *run) play(ctx context.Context) (*result, error) {
	if err := r.everybody(ctx, "warm"); err != nil {
		return nil, err
	}
	feed, quiet := context.WithCancel(ctx)
	defer quiet()
	fed := make(chan struct{})
	go func() { defer close(fed); r.press.run(feed, r.o.rate) }()
	r.slow(ctx, step{For: 4 * time.Second}) // what a flood costs belongs to the level before
	before := r.measure()
	r.watch = newWatch(r)
	watched := r.watch.begin(ctx)
	r.faults(ctx)
	res := r.result()
	if err := r.agreement(ctx); err != nil && ctx.Err() == nil {
		r.violate(badRing, "%v", err)
	}
	watched()
	r.crowd.hurry.Store(true)
	quiet()
	<-fed
	if err := r.everybody(ctx, "end"); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		say("not everybody has everything: %v", err)
	}
	res.memory = r.memory(ctx, before)
	return res, r.judge(res)
}

// everybody publishes to all topics until every client has all its topics and has heard the newest message of each:
// nothing else tells that a raw session is subscribed.
func (r *run) everybody(ctx context.Context, mark string) error {
	redis := &writer{r: r.cluster.redis}
	defer redis.Close()
	ctx, cancel := context.WithTimeout(ctx, r.o.patience)
	defer cancel()
	last := map[string]publication{}
	next := time.Now()
	return testcluster.Poll(ctx, func() error {
		missing := r.crowd.behind(last)
		if missing == nil && len(last) > 0 {
			return nil
		}
		if time.Now().Before(next) {
			return missing
		}
		next = time.Now().Add(2 * time.Second)
		if len(last) == 0 || r.crowd.rawBehind(last) {
			for _, topic := range r.topics {
				name := r.press.name(mark)
				pub := r.press.add(redis, name, topic, fmt.Appendf(nil, `{"m":%q}`, name))
				if pub.Outcome != outcomeOK {
					return fmt.Errorf("redis has not taken %s: %v", name, pub.Outcome)
				}
				last[topic] = pub
			}
		}
		return errors.Join(missing, errors.New("a new round"))
	})
}

// result collects what is known once the faults are over.
func (r *run) result() *result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &result{
		seed: r.seed, steps: r.steps, began: r.began, done: r.done, skipped: r.skipped,
		replay:   fmt.Sprintf("%s -seed=%d -seeds=1", r.o.command, r.seed),
		sessions: len(r.crowd.clients),
	}
}

// violate notes what was found while the run goes on.
func (r *run) violate(kind, format string, args ...any) {
	v := violation{kind, r.crowd.now(), fmt.Sprintf(format, args...)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told[kind+v.Text] {
		return
	}
	r.told[kind+v.Text] = true
	r.found = append(r.found, v)
	show.violations.Add(1)
	say("VIOLATED %s: %s", kind, v.Text)
}

// judge holds everything that was written down against the truth.
func (r *run) judge(res *result) error {
	held, err := r.truth()
	if err != nil {
		return err
	}
	v := newVerdict()
	res.verdict = v
	var seen []history
	for _, c := range r.crowd.clients {
		own := c.histories()
		seen = append(seen, own...)
		r.closes(v, res, c, own, held)
	}
	res.tracks = len(seen)
	judge(v, r.start, held, r.press.list(), seen)
	judgeFreshness(v, inTime, r.cluster.redis.quiet, seen)
	for _, i := range r.cluster.instances() {
		if text := i.Faults(); text != "" {
			v.add(badOutput, 0, "%s: %s", i.place.name, text)
		} else if i.Exited() && !i.killed.Load() && !i.leaving.Load() {
			v.add(badExit, 0, "%s ended by itself: %s", i.place.name, i.LogTail(3))
		}
	}
	r.mu.Lock()
	res.seen = len(r.found)
	for _, f := range r.found {
		v.add(f.Kind, f.At, "%s", f.Text)
	}
	r.mu.Unlock()
	res.moves, res.agreed, res.rejoined = r.watch.totals()
	if v.bad() > 0 {
		res.logs, err = r.keepLogs()
	}
	return err
}

// closes counts the ends of a client's connections.
func (r *run) closes(v *verdict, res *result, c *client, seen []history, held truth) {
	c.mu.Lock()
	defer c.mu.Unlock()
	res.attempts += c.attempts
	for _, x := range c.closes {
		if x.Expected {
			res.expected++
			continue
		}
		if slices.ContainsFunc(seen, func(h history) bool { return h.severed(held, x.At, r.start) }) {
			res.severed++
			continue
		}
		res.against++
		if !r.o.allowCloses {
			v.add(badClosed, x.At, "%s at %s: %s", c.name, x.Router, x.How)
		}
	}
	for _, b := range c.broken {
		v.add(b.Kind, b.At, "%s", b.Text)
	}
}

// keepLogs writes what every process wrote and counted, for the person who looks for the cause.
func (r *run) keepLogs() (string, error) {
	dir, err := os.MkdirTemp(r.o.logs, fmt.Sprintf("ringside-chaos-seed-%d-", r.seed))
	if err != nil {
		return "", err
	}
	for _, i := range r.cluster.instances() {
		name := filepath.Join(dir, fmt.Sprintf("%s-%d", i.place.name, i.PID()))
		err := errors.Join(os.WriteFile(name+".log", []byte(i.Log()), 0o644), os.WriteFile(name+".metrics", []byte(r.watch.last(i)), 0o644))
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}
