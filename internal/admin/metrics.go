package admin

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/internal/topic"
)

// adminMetrics counts requests. The labels are closed sets: names of handlers, statuses and reasons of ours.
type adminMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  *prometheus.CounterVec
}

// refusalReasons are all reasons of ours, but for those of topics.
//
//nolint:gochecknoglobals // a constant
var refusalReasons = []string{
	"internal", "query", "method", "not_found", "cross_origin", "host", "unauthorized", "topic_forbidden", "format", "shard_missing", "shard_unknown", "shard_conflict", "static",
	"unreachable", "json", "body", "data_missing", "id", "encoding", "too_large", "gone", "busy", "ambiguous", "unavailable", "min_replicas",
	"no_settings", "policy", "shards", "setting",
}

//nolint:gochecknoglobals // a constant in all but name
var descReady = prometheus.NewDesc("ringside_admin_ready", "1 while the check holds, 0 while it fails; /readyz tells why.", []string{"check"}, nil)

func newMetrics() *adminMetrics {
	m := &adminMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_admin_requests_total",
			Help: "Requests to the admin port, by handler and status.",
		}, []string{"handler", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ringside_admin_request_seconds",
			Help:    "Time to answer a request to the admin port, by handler.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"handler"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_admin_refusals_total",
			Help: "Requests to the admin port that were not carried out, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range refusalReasons { // so that a rate shows the first one
		m.refused.WithLabelValues(r)
	}
	for _, r := range topic.Reasons {
		m.refused.WithLabelValues("topic_" + r)
	}
	return m
}

func (m *adminMetrics) answered(handler string, code int, took time.Duration) {
	m.requests.WithLabelValues(handler, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(handler).Observe(took.Seconds())
}

func (m *adminMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds, m.refused}
}

func (m *adminMetrics) describe(ch chan<- *prometheus.Desc) {
	ch <- descReady
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

func (m *adminMetrics) collect(ch chan<- prometheus.Metric, checks []Check) {
	for _, c := range checks {
		ready := 1.0
		if c.Ready() != nil {
			ready = 0
		}
		ch <- prometheus.MustNewConstMetric(descReady, prometheus.GaugeValue, ready, c.Name)
	}
	for _, c := range m.all() {
		c.Collect(ch)
	}
}
