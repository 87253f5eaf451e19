package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/load/bench"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// The parts of a cluster, as they are called in results.
const (
	partRouter  = "router"
	partGateway = "gateway"
	partRedis   = "redis"
	partSends   = "sends"
)

// parts are one number for all processes of each kind together.
type parts struct {
	Router  float64 `json:"router"`
	Gateway float64 `json:"gateway"`
	Redis   float64 `json:"redis,omitempty"`
	Sends   float64 `json:"sends,omitempty"` // of a server that does nothing else
}

func (p parts) All() float64 { return p.Router + p.Gateway + p.Redis + p.Sends }

func (p *parts) add(name string, v float64) {
	switch name {
	case partRouter:
		p.Router += v
	case partGateway:
		p.Gateway += v
	case partRedis:
		p.Redis += v
	case partSends:
		p.Sends += v
	default:
		panic("BUG: bench: a process called " + name)
	}
}

// pointResult is what was seen at a point.
type pointResult struct {
	Series     string  `json:"series,omitempty"`
	X          float64 `json:"x"`
	Sessions   int     `json:"sessions"`
	Topics     int     `json:"topics"`
	Routers    int     `json:"routers"`
	Gateways   int     `json:"gateways"`
	Size       int     `json:"size"`
	Rate       float64 `json:"rate"`
	Parked     int     `json:"parked"`
	Messages   int     `json:"messages"`
	Expected   int64   `json:"expected"`
	Deliveries int64   `json:"deliveries"`
	Lost       int64   `json:"lost"`
	Repeated   int64   `json:"repeated"`
	OutOfOrder int64   `json:"out_of_order"`
	Closed     int64   `json:"connections_lost"`
	Untaken    int     `json:"messages_not_taken"`

	Reasons map[string]int64 `json:"closed,omitempty"` // where connections were lost: why nodes have closed sessions

	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`

	CPU       parts   `json:"cpu_us_per_delivery"`
	Generator float64 `json:"generator_us_per_delivery"` // publisher and subscribers
	Busy      float64 `json:"machine_busy_percent"`
	Others    float64 `json:"others_percent"` // of the machine, by programs that are none of the measurement
	Silences  int     `json:"silences"`       // times that routers took a gateway for gone whose heartbeat came late
	Idle      *parts  `json:"idle_cpu_ms_per_second,omitempty"`
	Memory    parts   `json:"bytes_per_session"` // Pss beyond that before the first session
	Before    parts   `json:"pss_before"`        // of all processes of a kind, bytes

	Saturated []string `json:"saturated,omitempty"` // why times are those of the machine
}

func (r pointResult) String() string {
	s := fmt.Sprintf("%d sessions (%d parked), %d deliveries, p50 %.1f, p99 %.1f ms; per delivery router %.1f, gateway %.1f, redis %.1f µs; per session router %.0f, gateway %.0f B; lost %d, repeated %d, disordered %d",
		r.Sessions, r.Parked, r.Deliveries, r.P50, r.P99, r.CPU.Router, r.CPU.Gateway, r.CPU.Redis, r.Memory.Router, r.Memory.Gateway, r.Lost, r.Repeated, r.OutOfOrder)
	if r.Idle != nil {
		s += fmt.Sprintf("; idle router %.1f, gateway %.1f, redis %.1f ms/s", r.Idle.Router, r.Idle.Gateway, r.Idle.Redis)
	}
	if r.Closed > 0 {
		s += fmt.Sprintf("; %d connections lost: %s", r.Closed, load.Reasons(r.Reasons))
	}
	for _, w := range r.Saturated {
		s += "; " + w
	}
	return s
}

func newPoint(p point) pointResult {
	return pointResult{Series: p.Series, X: p.X, Sessions: p.Sessions[0], Topics: p.Topics, Routers: p.Routers, Gateways: p.Gateways, Size: p.Size, Rate: p.Rate}
}

// measurePoint measures a point on a stage of its own.
func measurePoint(ctx context.Context, o growthOptions, p point) (pointResult, error) {
	r := newPoint(p)
	s, err := p.stage(ctx, o)
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return r, err
	}
	if r.Before, err = s.memory(ctx); err != nil {
		return r, err
	}
	cfg := bench.Config{Mode: bench.Steady, Subscribers: r.Sessions, Spawn: load.Spawn(0, workerArg), OpenLimit: 2 * time.Minute, Publish: s.publishURL(),
		Connections: 1, Size: p.Size, Rate: p.Rate, Duration: o.window, Warmup: p.warmup(), Settle: deliveryLimit, Stride: growthStride, Watched: s.watched()}
	cfg.Spec = p.spec(s)
	cfg.Rest = func(ctx context.Context) error { return r.settled(ctx, o, s, p) }
	res, err := bench.Run(ctx, cfg)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return r, err
	}
	if res.Connect.Open != r.Sessions {
		return r, fmt.Errorf("got %d of %d sessions: %s", res.Connect.Open, r.Sessions, load.Reasons(res.Connect.Reasons))
	}
	r.take(res.Phases[0])
	return r, r.blame(ctx, s)
}

// stage is the one of a point: a cluster, or, where that has nobody in it, a server that does nothing but send.
func (p point) stage(ctx context.Context, o growthOptions) (*stage, error) {
	if p.Routers+p.Gateways > 0 {
		return newStage(ctx, o.binary, cast{routers: p.Routers, gateways: p.Gateways, routerFlags: p.flags})
	}
	s := &stage{}
	return s, s.startSends(ctx)
}

// publishURL is where messages go to.
func (s *stage) publishURL() string {
	if s.sends != nil {
		return redisURL(s.sends.Addr)
	}
	return redisURL(s.redis.Addr)
}

// growthStride is prime, and no divisor of a number of topics: messages go to all parts of the list, those with subscribers and those without.
const growthStride = 7919

func growthTopics(n int) []string { return names("growth", n) }

// spec is who subscribes.
func (p point) spec(s *stage) load.Spec {
	spec := rawSpec("", growthTopics(p.Topics))
	spec.Targets, spec.Back = s.targets(p.Direct), load.Obedient // where many come at once, some are told to come later
	spec.Dialers = dialers / load.Processes(p.Sessions[0])
	return spec
}

// targets are where subscribers connect to.
func (s *stage) targets(direct bool) (list []string) {
	nodes := s.routers
	switch {
	case s.sends != nil:
		nodes = []*testcluster.Node{s.sends}
	case direct:
		nodes = s.gateways
	}
	for _, n := range nodes {
		list = append(list, n.Addr)
	}
	return list
}

// watched are all processes of the cluster, each by its part.
func (s *stage) watched() []bench.Process {
	if s.sends != nil {
		return []bench.Process{{Name: partSends, PID: s.sends.PID()}}
	}
	list := []bench.Process{{Name: partRedis, PID: s.redis.PID()}}
	for _, n := range s.nodes() {
		list = append(list, bench.Process{Name: partOf(n), PID: n.PID()})
	}
	return list
}

func partOf(n *testcluster.Node) string {
	if n.Role == testcluster.Router {
		return partRouter
	}
	return partGateway
}

// warmup is long enough for a message to each topic that sessions are parked of: one that is new is so at the first position that it shares with others.
func (p point) warmup() time.Duration {
	each := time.Duration(1.2 * float64(p.Topics) / p.Rate * float64(time.Second))
	return max(leastWarmup, min(each, mostWarmup))
}

const leastWarmup, mostWarmup = 2 * time.Second, 6 * time.Second

// take takes what was seen while messages were published.
func (r *pointResult) take(p *bench.Phase) {
	r.Messages, r.Untaken, r.Expected, r.Deliveries = p.Published, p.Published-p.Acknowledged, p.Expected, p.Delivered
	r.Lost, r.Repeated, r.OutOfOrder, r.Closed = p.Lost, p.Repeated, p.OutOfOrder, p.LostConnections
	r.P50, r.P99, r.Saturated = p.Latency.P50, p.Latency.P99, p.Warnings
	for _, u := range p.Processes {
		r.CPU.add(u.Name, u.PerDelivery)
	}
	for _, u := range p.Generator {
		r.Generator += u.PerDelivery
	}
	r.Busy = p.Busy
	cores := 0.0
	for _, u := range append(slices.Clone(p.Processes), p.Generator...) {
		cores += u.Cores
	}
	r.Others = max(r.Others, p.Busy-100*cores/float64(runtime.NumCPU()))
}
