package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// clock is the CPU time that the parts of a cluster have used: since they were started, or over a while.
type clock struct {
	took     time.Duration // wall clock
	redis    time.Duration
	routers  time.Duration // of all together
	gateways time.Duration // likewise
	ours     time.Duration // of all processes of the measurement, publisher and subscribers included
	unused   time.Duration // of all CPUs together, by nobody at all
}

func (l clock) String() string {
	return fmt.Sprintf("redis %.1f, router %.1f, gateways %.1f ms of CPU per second; others use %.0f %% of the machine",
		l.perSecond(l.redis), l.perSecond(l.routers), l.perSecond(l.gateways), l.Others())
}

// since is the difference.
func (l clock) since(o clock) clock {
	return clock{l.took - o.took, l.redis - o.redis, l.routers - o.routers, l.gateways - o.gateways, l.ours - o.ours, l.unused - o.unused}
}

// perSecond is part in ms per second.
func (l clock) perSecond(part time.Duration) float64 {
	return float64(part) / float64(time.Millisecond) / l.took.Seconds()
}

// Share is how busy the machine was with whatever ran on it, in percent of its CPUs.
func (l clock) Share() float64 { return max(0, 100-l.percent(l.unused)) }

// Others is the part of Share that no process of the measurement used.
func (l clock) Others() float64 { return max(0, l.Share()-l.percent(l.ours)) }

func (l clock) percent(d time.Duration) float64 {
	return 100 * float64(d) / float64(l.took) / float64(runtime.NumCPU())
}

// readLoad reads the clocks of all processes.
func (s *stage) readLoad() (l clock, err error) {
	l.took = time.Duration(time.Now().UnixNano())
	if l.redis, err = load.CPUTime(s.redis.PID()); err != nil {
		return l, err
	}
	for sum, nodes := range map[*time.Duration][]*testcluster.Node{&l.routers: s.routers, &l.gateways: s.gateways} {
		for _, n := range nodes {
			d, err := load.CPUTime(n.PID())
			if err != nil {
				return l, err
			}
			*sum += d
		}
	}
	if l.ours, err = load.CPUTime(os.Getpid()); err != nil { // it has started all the others
		return l, err
	}
	l.unused, err = load.UnusedTime()
	return l, err
}

// idleLoad is what the cluster uses while nothing is published.
func (s *stage) idleLoad(ctx context.Context, d time.Duration) (clock, error) {
	before, err := s.readLoad()
	if err != nil {
		return clock{}, err
	}
	if err := wait(ctx, d); err != nil {
		return clock{}, err
	}
	after, err := s.readLoad()
	return after.since(before), err
}

// perMessage is the CPU time in µs that a part of the cluster used for each message, beyond what it uses without any.
func (w *way) perMessage(part func(clock) time.Duration) float64 {
	idle := float64(part(w.Idle)) * float64(w.Busy.took) / float64(w.Idle.took)
	return (float64(part(w.Busy)) - idle) / float64(time.Microsecond) / float64(w.Messages)
}

// Redis, Router and AllGateways are µs of CPU time per published message; those that end in Idle are ms per second
// without messages.
func (w *way) Redis() float64  { return w.perMessage(func(l clock) time.Duration { return l.redis }) }
func (w *way) Router() float64 { return w.perMessage(func(l clock) time.Duration { return l.routers }) }
func (w *way) AllGateways() float64 {
	return w.perMessage(func(l clock) time.Duration { return l.gateways })
}

func (w *way) RedisIdle() float64    { return w.Idle.perSecond(w.Idle.redis) }
func (w *way) RouterIdle() float64   { return w.Idle.perSecond(w.Idle.routers) }
func (w *way) GatewaysIdle() float64 { return w.Idle.perSecond(w.Idle.gateways) }
