package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// load is the CPU time that the parts of a cluster have used: since they were started, or over a while.
type load struct {
	took     time.Duration // wall clock
	redis    time.Duration
	router   time.Duration
	gateways time.Duration // of all together
	ours     time.Duration // of all processes of the measurement, publisher and subscribers included
	unused   time.Duration // of all CPUs together, by nobody at all
}

func (l load) String() string {
	return fmt.Sprintf("redis %.1f, router %.1f, gateways %.1f ms of CPU per second; others use %.0f %% of the machine",
		l.perSecond(l.redis), l.perSecond(l.router), l.perSecond(l.gateways), l.Others())
}

// since is the difference.
func (l load) since(o load) load {
	return load{l.took - o.took, l.redis - o.redis, l.router - o.router, l.gateways - o.gateways, l.ours - o.ours, l.unused - o.unused}
}

// perSecond is part in ms per second.
func (l load) perSecond(part time.Duration) float64 {
	return float64(part) / float64(time.Millisecond) / l.took.Seconds()
}

// Share is how busy the machine was with whatever ran on it, in percent of its CPUs.
func (l load) Share() float64 { return max(0, 100-l.percent(l.unused)) }

// Others is the part of Share that no process of the measurement used.
func (l load) Others() float64 { return max(0, l.Share()-l.percent(l.ours)) }

func (l load) percent(d time.Duration) float64 {
	return 100 * float64(d) / float64(l.took) / float64(runtime.NumCPU())
}

// readLoad reads the clocks of all processes.
func (s *stage) readLoad() (l load, err error) {
	l.took = time.Duration(time.Now().UnixNano())
	if l.redis, err = cpuTime(s.redis.PID()); err != nil {
		return l, err
	}
	if l.router, err = cpuTime(s.router.PID()); err != nil {
		return l, err
	}
	for _, g := range s.gateways {
		d, err := cpuTime(g.PID())
		if err != nil {
			return l, err
		}
		l.gateways += d
	}
	if l.ours, err = cpuTime(os.Getpid()); err != nil { // it has started all the others
		return l, err
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return l, err
	}
	l.unused, err = unusedTime(string(b))
	return l, err
}

// unusedTime reads /proc/stat: how long CPUs had nothing to do, of all together. What they did otherwise does not stand
// there with any precision: it is sampled by a tick, which a schedule of whole milliseconds keeps in step with.
func unusedTime(stat string) (time.Duration, error) {
	first, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(first)
	if len(fields) < 6 || fields[0] != "cpu" {
		return 0, fmt.Errorf("cannot read /proc/stat: %q", first)
	}
	var sum time.Duration
	for _, f := range fields[4:6] { // idle, and idle with a disk at work
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read /proc/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// idleLoad is what the cluster uses while nothing is published.
func (s *stage) idleLoad(ctx context.Context, d time.Duration) (load, error) {
	before, err := s.readLoad()
	if err != nil {
		return load{}, err
	}
	if err := wait(ctx, d); err != nil {
		return load{}, err
	}
	after, err := s.readLoad()
	return after.since(before), err
}

// perMessage is the CPU time in µs that a part of the cluster used for each message, beyond what it uses without any.
func (w *way) perMessage(part func(load) time.Duration) float64 {
	idle := float64(part(w.Idle)) * float64(w.Busy.took) / float64(w.Idle.took)
	return (float64(part(w.Busy)) - idle) / float64(time.Microsecond) / float64(w.Messages)
}

// Redis, Router and AllGateways are µs of CPU time per published message; those that end in Idle are ms per second
// without messages.
func (w *way) Redis() float64  { return w.perMessage(func(l load) time.Duration { return l.redis }) }
func (w *way) Router() float64 { return w.perMessage(func(l load) time.Duration { return l.router }) }
func (w *way) AllGateways() float64 {
	return w.perMessage(func(l load) time.Duration { return l.gateways })
}

func (w *way) RedisIdle() float64    { return w.Idle.perSecond(w.Idle.redis) }
func (w *way) RouterIdle() float64   { return w.Idle.perSecond(w.Idle.router) }
func (w *way) GatewaysIdle() float64 { return w.Idle.perSecond(w.Idle.gateways) }
