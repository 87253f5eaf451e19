package admission

import (
	"math"
	"slices"
	"time"
)

// GradientConfig is how a [Gradient] is set up. All of it is required but for Rand.
type GradientConfig struct {
	Min, Max int           // bounds of the limit
	Target   time.Duration // a latency that is always good enough, however small the least one is
	// Rand is a number from [0, 1): it keeps nodes from measuring anew all at once. nil: no jitter.
	Rand func() float64
}

// Gradient is a limit of concurrent handshakes that follows from how long they take: it shrinks when the 90th percentile of a
// window rises above the least latency, and grows by the square root of itself while it does not. From time to time the limit goes
// down to its minimum for some handshakes, to measure the least latency anew. The method is that of Envoy's adaptive
// concurrency filter; what differs stands in docs/decisions/013-admission.md.
//
// Not safe for concurrent use: a [Door] guards its own.
type Gradient struct {
	cfg   GradientConfig
	limit float64
	least time.Duration // latency with next to no load; 0: not measured yet

	samples  []time.Duration
	next     int       // where the next sample goes once there are maxSamples
	began    time.Time // of the window
	busiest  int       // most handshakes under way in the window
	measures bool      // the window measures the least latency
	measured time.Time // when the next measurement is due
}

const (
	windowTime  = 100 * time.Millisecond
	windowMost  = time.Second // a window with few samples ends after it
	windowLeast = 10          // samples
	maxSamples  = 512         // the newest of a window

	// buffer is by how much latency may exceed the least one before the limit shrinks.
	buffer = 0.25
	// Bounds of what one window changes.
	gradientLeast, gradientMost = 0.5, 2.0

	measureEvery   = 60 * time.Second
	measureJitter  = 0.15
	measureSamples = 50
	// startLimit is the limit once the least latency is known for the first time.
	startLimit = 32
)

// NewGradient makes a limit that has not seen a handshake.
func NewGradient(cfg GradientConfig) *Gradient {
	if cfg.Rand == nil {
		cfg.Rand = func() float64 { return 0 }
	}
	return &Gradient{
		cfg: cfg, limit: float64(min(max(startLimit, cfg.Min), cfg.Max)), measures: true,
		samples: make([]time.Duration, 0, maxSamples),
	}
}

// Limit is how many handshakes may be under way now.
func (g *Gradient) Limit() int {
	if g.measures {
		return g.cfg.Min
	}
	return int(g.limit)
}

// Least is the least latency; 0 while it is not known.
func (g *Gradient) Least() time.Duration { return g.least }

// Began tells that so many handshakes are under way.
func (g *Gradient) Began(inFlight int) { g.busiest = max(g.busiest, inFlight) }

// Sample takes in how long a handshake took.
func (g *Gradient) Sample(now time.Time, took time.Duration) {
	if g.began.IsZero() {
		g.began, g.measured = now, g.nextMeasure(now)
	}
	if len(g.samples) < maxSamples {
		g.samples = append(g.samples, took)
	} else {
		g.samples[g.next] = took
		g.next = (g.next + 1) % maxSamples
	}
	open := now.Sub(g.began)
	switch n := len(g.samples); {
	case g.measures && (n >= measureSamples || open >= windowMost && n >= windowLeast || open >= 5*windowMost):
		g.measure(now)
	case !g.measures && (open >= windowTime && n >= windowLeast || open >= windowMost):
		g.update(now)
	}
}

func (g *Gradient) nextMeasure(now time.Time) time.Time {
	return now.Add(time.Duration(float64(measureEvery) * (1 + measureJitter*g.cfg.Rand())))
}

// measure ends a measurement of the least latency. It is bounded in time: a gateway that hangs must not keep the limit
// at its minimum.
func (g *Gradient) measure(now time.Time) {
	g.least = max(g.p90(), time.Microsecond)
	g.measures, g.measured = false, g.nextMeasure(now)
	g.begin(now)
}

func (g *Gradient) update(now time.Time) {
	good := max(float64(g.least)*(1+buffer), float64(g.cfg.Target))
	gradient := min(max(good/float64(max(g.p90(), time.Microsecond)), gradientLeast), gradientMost)
	next := g.limit * gradient
	next += math.Sqrt(next)
	// A limit that nobody comes near says nothing by its latency; it would only grow.
	if next < g.limit || 2*g.busiest >= int(g.limit) {
		g.limit = min(max(next, float64(g.cfg.Min)), float64(g.cfg.Max))
	}
	g.begin(now)
	g.measures = !now.Before(g.measured)
}

func (g *Gradient) begin(now time.Time) {
	g.samples, g.next, g.began, g.busiest = g.samples[:0], 0, now, 0
}

func (g *Gradient) p90() time.Duration {
	slices.Sort(g.samples)
	return g.samples[(len(g.samples)-1)*9/10]
}
