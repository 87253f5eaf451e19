package gateway

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/tally"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

const (
	// kickGap is how far apart rounds are that cannot wait for the next regular one.
	kickGap = 20 * time.Millisecond
	// countPatience is how long a count that is not complete holds up what sessions are told: gateways may not agree for ever.
	countPatience = 5 * time.Second
	// countSilence is how long a gateway may say nothing; as many rounds at least as countRounds.
	countSilence = 3 * time.Second
	countRounds  = 4
	// countRoom is how many topics of others there is room for, in terms of how many sessions may have here.
	countRoom = 4
)

// counted is what counts remembers of a topic. It belongs to the goroutine that runs counts.
type counted struct {
	told  *line // on which connection count and wants have been said; nil for none
	count int64
	wants bool
	telling
}

// counts has the sessions of topics added up over all gateways: it reports those here to the gateways that add up, adds up what others report, and
// has sessions told that asked for it. See package tally.
//
//	loops ──changed──► run, every count-every ──► lines, one to each gateway ───► its table
//	feeds ◄──viewers──┘  ▲        ▲
//	                     │        └── heard: what others have, from the gateways that add up
//	                     └── table: what the others' lines say of the topics that we add up
type counts struct {
	g     *Gateway
	table *tally.Table
	kick  chan struct{} // a round is wanted soon

	steady atomic.Bool // sessions may be told what is known of others
	sure   atomic.Bool // gateways may be told what is added up here

	mu      sync.Mutex
	changed []*topic         // guarded by mu: whose sessions here have changed
	urgent  []*topic         // guarded by mu: whose sessions wait to be told something
	heard   []tally.Total    // guarded by mu
	relined []*line          // guarded by mu: connections that have come to stand
	callers map[*caller]bool // guarded by mu; nil once there may be none any more
	calls   sync.WaitGroup

	// Owned by run.
	lines    map[string]*countLine // by shard ID
	version  string                // of the ring at the last round
	since    time.Time             // counts are complete, or are not
	complete bool
	learned  string          // version of the ring by which the topics that we add up have been looked at; empty while there is no telling
	waiting  map[*topic]bool // sessions of these may have to be told
	wanted   map[*topic]bool // topics of which sessions here want to know

	missing  atomic.Int64
	reported counter
}

func newCounts(g *Gateway) *counts {
	c := &counts{
		g: g, kick: make(chan struct{}, 1), callers: map[*caller]bool{}, lines: map[string]*countLine{},
		waiting: map[*topic]bool{}, wanted: map[*topic]bool{},
	}
	c.table = tally.NewTable(countRoom*g.cfg.MaxNodeTopics, g.sessionsOf)
	return c
}

// sessionsOf is how many sessions follow a topic here.
func (g *Gateway) sessionsOf(name string) int64 {
	if t := g.topicOf(name); t != nil {
		return t.subscribed.Load()
	}
	return 0
}

// topicOf is the topic of that name, nil when it is not here.
func (g *Gateway) topicOf(name string) *topic {
	s := g.slots[g.slotOf(name)]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topics[name]
}

// note has t's sessions reported with the next round; on any loop. Only the first call in a round takes a lock.
func (c *counts) note(t *topic) {
	if t.noted.CompareAndSwap(false, true) {
		c.mu.Lock()
		c.changed = append(c.changed, t)
		c.mu.Unlock()
	}
}

// hurry has sessions of t told soon what they wait for; on any loop.
func (c *counts) hurry(t *topic) {
	if t.hurried.CompareAndSwap(false, true) {
		c.mu.Lock()
		c.urgent = append(c.urgent, t)
		c.mu.Unlock()
		c.wake()
	}
}

func (c *counts) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// silence is how long a gateway may say nothing before it counts as gone.
func (c *counts) silence() time.Duration { return max(countSilence, countRounds*c.g.cfg.CountEvery) }

// run makes rounds until ctx ends.
func (c *counts) run(ctx context.Context) {
	defer c.end()
	tick := time.NewTicker(c.g.cfg.CountEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.round(ctx, time.Now())
		case <-c.kick:
			c.soon(time.Now())
			select { // a crowd that comes is one kick
			case <-ctx.Done():
				return
			case <-time.After(kickGap):
			}
		}
	}
}

// round reports everything that has changed.
func (c *counts) round(ctx context.Context, now time.Time) {
	r := c.g.deps.Ring()
	c.reline(ctx, r)
	c.judge(r, now)
	c.mu.Lock()
	changed, relined := c.changed, c.relined
	c.changed, c.relined = nil, nil
	c.mu.Unlock()
	for _, l := range relined {
		l.of.now = l
	}
	if len(relined) > 0 || r.Version() != c.version {
		c.version = r.Version()
		c.all(func(t *topic) { c.report(r, t) })
	}
	for _, t := range changed {
		t.noted.Store(false) // before it is looked at: what changes from now on is noted anew
		c.report(r, t)
		if c.wanted[t] {
			c.waiting[t] = true
		}
	}
	if c.sure.Load() {
		c.table.Tell()
		for _, name := range c.table.Changed() {
			c.learn(c.g.topicOf(name), c.table.Others(name))
		}
	}
	c.soon(now)
	for _, l := range c.lines {
		if l.now != nil {
			l.now.send(c.version)
		}
	}
	c.wakeCallers()
}

// soon does what cannot wait.
func (c *counts) soon(now time.Time) {
	r := c.g.deps.Ring()
	c.mu.Lock()
	urgent, heard := c.urgent, c.heard
	c.urgent, c.heard = nil, nil
	c.mu.Unlock()
	for _, t := range urgent {
		t.hurried.Store(false)
		c.want(r, t)
	}
	for _, n := range heard {
		c.learn(c.g.topicOf(n.Topic), n.Others)
	}
	c.tell(now)
}

// all calls f for every topic that is here.
func (c *counts) all(f func(*topic)) {
	var list []*topic
	for _, s := range c.g.slots {
		list = list[:0]
		s.mu.Lock()
		for _, t := range s.topics {
			list = append(list, t)
		}
		s.mu.Unlock()
		for _, t := range list {
			f(t)
		}
	}
}

// report tells the gateway that adds up t's slot what there is here, if it does not know.
func (c *counts) report(r *ring.Ring, t *topic) {
	if now := c.g.topicOf(t.name); now != nil && now != t { // t was forgotten, and has come anew
		t.counted, now.counted.count = counted{}, unknown
		t = now
	}
	k := &t.counted
	var to *countLine
	if m := tally.Counter(r, t.slot.n); m != nil {
		to = c.lines[m.ID] // nil for ourselves
	}
	line := to.standing()
	n, wants, anew := t.subscribed.Load(), t.wanted.Load() > 0, false
	if k.told != line {
		if k.told != nil {
			k.told.say(tally.Entry{Topic: t.name}) // where it is not added up any more
		}
		k.told, k.count, k.wants = line, 0, false
		anew = true
	}
	switch {
	case line == nil:
		c.table.Touch(t.name)
	case n != k.count || wants != k.wants:
		k.count, k.wants = n, wants
		c.reported.Add(1)
		line.say(tally.Entry{Topic: t.name, Count: n, Wants: wants, Anew: anew})
	}
}

// judge notes whether all gateways have been heard.
func (c *counts) judge(r *ring.Ring, now time.Time) {
	missing := c.table.Missing(r, c.g.cfg.ID)
	c.missing.Store(int64(len(missing)))
	if complete := len(missing) == 0; complete != c.complete || c.since.IsZero() {
		c.complete, c.since = complete, now
	}
	impatient := !c.complete && now.Sub(c.since) >= countPatience
	c.sure.Store(c.complete || impatient)
	c.steady.Store(c.complete && now.Sub(c.since) >= 2*c.g.cfg.CountEvery || impatient) // whoever adds up may be a round or two behind
	switch {
	case !c.sure.Load():
		c.learned = ""
	case c.learned != r.Version():
		c.learned = r.Version()
		for t := range c.wanted {
			if c.adds(r, t) {
				c.learn(t, c.table.Others(t.name))
			}
		}
	}
}

// adds reports whether this gateway adds up t's slot.
func (c *counts) adds(r *ring.Ring, t *topic) bool {
	m := tally.Counter(r, t.slot.n)
	return m != nil && m.ID == c.g.cfg.ID
}

// Count is how many sessions follow a topic, in the whole cluster; ok is false where another gateway adds them up. Safe for concurrent use.
func (g *Gateway) Count(name string) (n tally.Count, ok bool) {
	r := g.deps.Ring()
	if m := tally.Counter(r, topics.Slot(name)); m == nil || m.ID != g.cfg.ID {
		return tally.Count{}, false
	}
	return g.counts.table.Count(name, r, g.cfg.ID), true
}

// clamp is a count as sessions are told it.
func clamp(n int64) int32 { return int32(min(max(n, 0), math.MaxInt32)) }
