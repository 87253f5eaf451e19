package auth

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
)

// metrics are a guard's counts.
type metrics struct {
	granted atomic.Uint64
	renewed atomic.Uint64
	refuse  *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{refuse: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ringside_auth_refused_total", Help: "Clients, tokens and commands turned down, by reason.",
	}, []string{"reason"})}
	for _, r := range Reasons() { // so that a rate shows the first one
		m.refuse.WithLabelValues(r)
	}
	return m
}

func (m *metrics) refused(no *Refusal) { m.refuse.WithLabelValues(no.Reason).Inc() }

// callMetrics are those of one caller.
type callMetrics struct {
	counts  [calls][results]atomic.Uint64
	seconds [calls]prometheus.Histogram
}

func newCallMetrics(via string) *callMetrics {
	m := &callMetrics{}
	for c := range calls {
		m.seconds[c] = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ringside_auth_call_seconds", Help: "Time that a call of the application took, the wait for a place included.",
			Buckets:     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			ConstLabels: prometheus.Labels{"via": via, "call": c.String()},
		})
	}
	return m
}

func (m *callMetrics) count(c call, r result, took time.Duration) {
	m.counts[c][r].Add(1)
	m.seconds[c].Observe(took.Seconds())
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ringside_auth_"+name, help, labels, nil)
}

//nolint:gochecknoglobals // descriptors are constants in all but name
var (
	descGranted   = desc("granted_total", "Sessions that were authenticated; those of open topics are none.")
	descRenewed   = desc("renewed_total", "Fresh tokens taken on live sessions.")
	descCalls     = desc("calls_total", "Calls of the application, by how they went; breaker: not made, because too many had failed.", "via", "call", "result")
	descInFlight  = desc("calls_in_flight", "Calls of the application under way.", "via")
	descPlaces    = desc("calls_limit", "Bound of ringside_auth_calls_in_flight.", "via")
	descWaiting   = desc("calls_waiting", "Calls that wait for a place.", "via")
	descWaitLimit = desc("calls_waiting_limit", "Bound of ringside_auth_calls_waiting.", "via")
	descBreaker   = desc("breaker_state", "0 while the application is asked, 1 while a few calls try whether it is back, 2 while nobody asks.", "via")
	descQueued    = desc("farewells_queued", "Sessions that are over, of which the application has not been told yet.")
	descQueueMax  = desc("farewells_limit", "Bound of ringside_auth_farewells_queued.")
	descDropped   = desc("farewells_dropped_total", "Sessions that are over, of which the application was never told, by reason.", "reason")
	descKeys      = desc("keys", "Keys of tokens that were read from jwt-jwks-url.")
	descKeysAge   = desc("keys_age_seconds", "How long ago they were read; -1 when they never were, or there is no URL.")
	descKeysRead  = desc("keys_read_total", "Readings of jwt-jwks-url, by how they went.", "result")
)

// Describe implements prometheus.Collector.
func (g *Guard) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

// Collect implements prometheus.Collector.
func (g *Guard) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count(descGranted, g.metrics.granted.Load())
	count(descRenewed, g.metrics.renewed.Load())
	g.metrics.refuse.Collect(ch)
	gauge(descQueued, float64(len(g.farewells.queue)))
	gauge(descQueueMax, float64(cap(g.farewells.queue)))
	for r := range dropReasons {
		count(descDropped, g.farewells.dropped[r].Load(), r.String())
	}
	keys, age, ok, failed := 0, -1.0, uint64(0), uint64(0)
	if j := g.jwks; j != nil {
		ok, failed = j.ok.Load(), j.failed.Load()
		if set := j.keys.Load(); set != nil {
			keys, age = len(set.all), time.Since(time.UnixMilli(j.read.Load())).Seconds()
		}
	}
	gauge(descKeys, float64(keys))
	gauge(descKeysAge, age)
	count(descKeysRead, ok, "ok")
	count(descKeysRead, failed, "failed")
	for name, c := range map[string]*caller{"rpc": g.rpc, "webhook": g.webhook} {
		collectCaller(ch, name, c, count, gauge)
	}
}

// collectCaller gives a caller's metrics; those of one that is not there are zero.
func collectCaller(ch chan<- prometheus.Metric, via string, c *caller, count func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	if c == nil {
		c = &caller{metrics: newCallMetrics(via)}
	}
	for what := range calls {
		for r := range results {
			count(descCalls, c.metrics.counts[what][r].Load(), via, what.String(), r.String())
		}
		c.metrics.seconds[what].Collect(ch)
	}
	gauge(descInFlight, float64(len(c.places)), via)
	gauge(descPlaces, float64(cap(c.places)), via)
	gauge(descWaiting, float64(c.waiting.Load()), via)
	gauge(descWaitLimit, float64(c.cfg.Waiting), via)
	state := 0.0
	if c.breaker != nil {
		switch c.breaker.State() {
		case gobreaker.StateOpen:
			state = 2
		case gobreaker.StateHalfOpen:
			state = 1
		case gobreaker.StateClosed:
		}
	}
	gauge(descBreaker, state, via)
}
