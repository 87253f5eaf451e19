package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The faults.
const (
	faultKill     = "kill"     // kill -9 of a gateway, which comes back under its ID
	faultTerm     = "term"     // SIGTERM of a gateway: it drains, exits with 0, and comes back
	faultDrain    = "drain"    // `ringside drain` of a gateway, the same
	faultStop     = "stop"     // SIGSTOP of a gateway, then SIGCONT
	faultJoin     = "join"     // a new gateway, which is drained later
	faultRouter   = "router"   // kill -9 of a router, which comes back
	faultTakeover = "takeover" // SIGUSR2 to a router: another process takes over its clients
	faultCut      = "cut"      // nothing passes between a router and a gateway
	faultSplit    = "split"    // no gossip passes between two halves of the cluster
	faultSlow     = "slow"     // clients stop reading while their topic is flooded
	faultStorm    = "storm"    // several of the others at once

	faultRedisKill = "redis-kill"     // kill -9 of the Redis, which comes back with its files
	faultRedisStop = "redis-stop"     // SIGSTOP of the Redis, then SIGCONT
	faultFailover  = "redis-failover" // the replica takes the place of the Redis, which had or had not told it everything
	faultFlush     = "flush"          // FLUSHALL
)

// allFaults are the faults in the order of the tables.
//
//nolint:gochecknoglobals // a constant in all but name
var allFaults = []string{
	faultKill, faultTerm, faultDrain, faultStop, faultJoin, faultRouter, faultTakeover,
	faultCut, faultSplit, faultSlow, faultRedisKill, faultRedisStop, faultFailover, faultFlush, faultStorm,
}

// step is one fault of the schedule.
type step struct {
	At     time.Duration // from the begin of the faults
	Fault  string
	Target string // name of a node; "" for slow, split, and those of Redis
	Other  string // the gateway of a cut
	For    time.Duration
	How    string // of a failover
	Storm  bool   // part of a storm
}

// String is the step as the log shows it.
func (s step) String() string {
	text := fmt.Sprintf("%7.1fs  %-8s", s.At.Seconds(), s.Fault)
	if s.Target != "" {
		text += " " + s.Target
	}
	if s.Other != "" {
		text += "-" + s.Other
	}
	if s.How != "" {
		text += " " + s.How
	}
	text += fmt.Sprintf(" for %.1fs", s.For.Seconds())
	if s.Storm {
		text += " (storm)"
	}
	return text
}

// planConfig is what a schedule is drawn from.
type planConfig struct {
	Seed     uint64
	Duration time.Duration
	Faults   []string
	Routers  []string
	Gateways []string
}

// How far faults may pile up, and how long a node is left alone after one.
const (
	spareGateways = 2 // gateways that no fault touches, outside of a storm
	recoverAfter  = 4 * time.Second
	drainTakes    = drainWindow + 3*time.Second
	stormQuiet    = 8 * time.Second // before and after a storm
	redisQuiet    = 8 * time.Second // between two faults of Redis: a server comes back, its replica copies it
)

// redisName stands for the Redis among what faults hold.
const redisName = "redis"

// planner draws a schedule.
type planner struct {
	planConfig
	rng   *rand.Rand
	busy  map[string]time.Duration // of a node, a fault without a target, or "storm": until when
	deck  []string
	joins int
	ways  []string // of failovers to come
	steps []step
}

// plan draws the schedule of a seed: equal input gives an equal schedule.
func plan(c planConfig) []step {
	p := &planner{planConfig: c, rng: rand.New(rand.NewPCG(c.Seed, 0x72696e6773696465)), busy: map[string]time.Duration{}}
	for at := time.Second; at < c.Duration && len(c.Faults) > 0; {
		if !p.draw(at) {
			at += 500 * time.Millisecond
			continue
		}
		at += p.between(300*time.Millisecond, 3*time.Second)
	}
	slices.SortStableFunc(p.steps, func(a, b step) int { return int(a.At - b.At) })
	return p.steps
}

// draw takes the first fault off the deck that is possible at that time. A storm on top of the deck, or another that comes
// alone, holds the others back until all is calm.
func (p *planner) draw(at time.Duration) bool {
	if len(p.deck) == 0 {
		p.deck = slices.Clone(p.Faults)
		p.shuffle(p.deck)
	}
	if top := p.deck[0]; p.alone(top) {
		late := at+drainTakes+recoverAfter+stormQuiet > p.Duration
		if !late && !p.calm(at) {
			return false
		}
		p.deck = p.deck[1:]
		switch {
		case late:
			return false
		case top == faultStorm:
			return p.storm(at)
		}
		return p.add(at, top, spareGateways, false)
	}
	for i, fault := range p.deck {
		if !p.alone(fault) && p.add(at, fault, spareGateways, false) {
			p.deck = slices.Delete(p.deck, i, i+1)
			return true
		}
	}
	return false
}

// alone reports whether a fault needs calm before it. A failover with a loss does: of what only a gateway knew that has just died
// nobody can be told.
func (p *planner) alone(fault string) bool {
	return fault == faultStorm || fault == faultFailover && p.way() == withLoss
}

// way is that of the next failover.
func (p *planner) way() string {
	if len(p.ways) == 0 {
		p.ways = []string{withLoss, []string{withoutLoss, withHandover}[p.rng.IntN(2)]}
	}
	return p.ways[0]
}

func (p *planner) shuffle(list []string) {
	p.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// calm reports whether no fault holds anything.
func (p *planner) calm(at time.Duration) bool {
	for _, until := range p.busy {
		if until > at {
			return false
		}
	}
	return true
}

// add puts one fault into the schedule if a target is free, the spare gateways stay untouched, and it ends in time.
func (p *planner) add(at time.Duration, fault string, spare int, storm bool) bool {
	s := step{At: at, Fault: fault, For: p.length(fault), Storm: storm}
	until := at + s.For + recoverAfter
	pool := []string{fault}
	switch fault {
	case faultKill, faultStop, faultTerm, faultDrain:
		pool = p.free(p.Gateways, at)
		if len(pool) <= spare {
			return false
		}
		if fault == faultTerm || fault == faultDrain {
			until += drainTakes
		}
	case faultRouter, faultTakeover:
		if pool = p.free(p.Routers, at); len(pool) < 2 {
			return false
		}
	case faultCut:
		gateways := p.free(p.Gateways, at)
		if pool = p.free(p.Routers, at); len(pool) == 0 || len(gateways) <= spare {
			return false
		}
		s.Other = gateways[p.rng.IntN(len(gateways))]
	case faultRedisKill, faultRedisStop, faultFailover, faultFlush:
		if pool = p.free([]string{redisName}, at); len(pool) == 0 {
			return false
		}
		until += redisQuiet
	case faultJoin:
		pool = []string{fmt.Sprintf("j%d", p.joins+1)}
		until += drainTakes
	default:
		if pool = p.free(pool, at); len(pool) == 0 {
			return false
		}
	}
	if fault == faultFailover {
		s.How = p.way()
	}
	if until-recoverAfter > p.Duration || !storm && p.busy[faultStorm] > at {
		return false
	}
	p.take(s, pool[p.rng.IntN(len(pool))], until)
	return true
}

// take puts a fault into the schedule that holds a target until some time.
func (p *planner) take(s step, target string, until time.Duration) {
	p.busy[target] = until
	if s.Fault == faultJoin {
		p.joins++
	}
	if s.Other != "" {
		p.busy[s.Other] = until
	}
	if target != s.Fault && target != redisName {
		s.Target = target
	}
	if s.How != "" {
		p.ways = p.ways[1:]
	}
	switch s.How {
	case "":
	case withLoss:
		p.busy[faultStorm] = until // nothing else meanwhile
	default:
		s.For = 0 // as soon as can be
	}
	p.steps = append(p.steps, s)
}

// storm puts several faults at one moment: all gateways but one are hit, and the clients and a router too.
func (p *planner) storm(at time.Duration) bool {
	others := slices.DeleteFunc(slices.Clone(p.Faults), func(f string) bool { return p.alone(f) || f == faultSplit })
	p.shuffle(others)
	before := len(p.steps)
	for _, fault := range others {
		p.add(at, fault, 1, true)
	}
	for _, s := range p.steps[before:] {
		p.busy[faultStorm] = max(p.busy[faultStorm], s.At+s.For+stormQuiet)
	}
	return len(p.steps) > before
}

// free are the names that no fault holds at that time.
func (p *planner) free(names []string, at time.Duration) []string {
	var list []string
	for _, n := range names {
		if p.busy[n] <= at {
			list = append(list, n)
		}
	}
	return list
}

// length draws how long a fault lasts: the time until a node is started again, until SIGCONT, until the cut heals.
func (p *planner) length(fault string) time.Duration {
	switch fault {
	case faultStop:
		return p.between(300*time.Millisecond, 5*time.Second)
	case faultJoin:
		return p.between(4*time.Second, 12*time.Second)
	case faultCut:
		return p.between(time.Second, 6*time.Second)
	case faultSplit:
		return p.between(3*time.Second, 10*time.Second)
	case faultSlow:
		return p.between(3*time.Second, 8*time.Second)
	case faultTakeover:
		return time.Second
	case faultRedisStop:
		return p.between(2*time.Second, 8*time.Second)
	case faultFailover:
		return p.between(1500*time.Millisecond, 3*time.Second)
	case faultFlush:
		return 0
	default:
		return p.between(300*time.Millisecond, 4*time.Second)
	}
}

func (p *planner) between(low, high time.Duration) time.Duration {
	return (low + time.Duration(p.rng.Int64N(int64(high-low)))).Round(100 * time.Millisecond)
}
