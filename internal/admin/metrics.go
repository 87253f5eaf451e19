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
	gathers  *prometheus.CounterVec
	entries  *prometheus.CounterVec
}

// refusalReasons are all reasons of ours, but for those of topics.
//
//nolint:gochecknoglobals // a constant
var refusalReasons = []string{
	"internal", "query", "method", "not_found", "cross_origin", "host", "unauthorized", "topic_forbidden", "format", "shard_missing", "shard_unknown", "shard_conflict", "static",
	"unreachable", "json", "body", "data_missing", "id", "encoding", "content_type", "data", "batch_empty", "batch_entries", "batch_bytes", "too_large", "gone", "busy", "connections", "ambiguous", "unavailable", "uncounted", "min_replicas",
	"no_settings", "policy", "shards", "setting", "command",
}

// What can become of an entry of a batch, beside refusals by their reason.
const (
	entryPublished = "published"
	entryDuplicate = "duplicate"
)

// entryResults are all that can become of an entry of a batch, but for what can be wrong with its topic.
//
//nolint:gochecknoglobals // a constant
var entryResults = []string{
	entryPublished, entryDuplicate, "json", "data_missing", "data", "topic_forbidden", "id", "min_replicas", "too_large", "unavailable", "ambiguous", "internal",
}

// gatherOutcomes are what can come of asking another node what it tells of itself.
//
//nolint:gochecknoglobals // a constant
var gatherOutcomes = []string{"ok", "unreachable", "refused", "bad_answer", "no_secret"}

//nolint:gochecknoglobals // constants in all but name
var (
	descReady       = prometheus.NewDesc("ringside_admin_ready", "1 while the check holds, 0 while it fails; /readyz tells why.", []string{"check"}, nil)
	descConnections = prometheus.NewDesc("ringside_admin_connections", "Connections to the admin port, those included that are only told that there are too many.", nil, nil)
	descLimit       = prometheus.NewDesc("ringside_admin_connections_limit", "Bound of ringside_admin_connections.", nil, nil)
	descClosed      = prometheus.NewDesc("ringside_admin_connections_closed_total",
		"Connections closed because there were too many, by which: idle, of which no request was served, to make room; or new ones, without a word.", []string{"which"}, nil)
)

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
		gathers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_admin_gathers_total",
			Help: "Requests to other nodes for what the dashboard shows of them, by outcome.",
		}, []string{"outcome"}),
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_admin_batch_entries_total",
			Help: "Entries of batches, by what became of them: published, duplicate, or why they were not published.",
		}, []string{"result"}),
	}
	for _, r := range entryResults {
		m.entries.WithLabelValues(r)
	}
	for _, o := range gatherOutcomes {
		m.gathers.WithLabelValues(o)
	}
	for _, r := range refusalReasons { // so that a rate shows the first one
		m.refused.WithLabelValues(r)
	}
	for _, r := range topic.Reasons {
		m.refused.WithLabelValues("topic_" + r)
		m.entries.WithLabelValues("topic_" + r)
	}
	return m
}

func (m *adminMetrics) answered(handler string, code int, took time.Duration) {
	m.requests.WithLabelValues(handler, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(handler).Observe(took.Seconds())
}

func (m *adminMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds, m.refused, m.gathers, m.entries}
}

func (m *adminMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descReady, descConnections, descLimit, descClosed} {
		ch <- d
	}
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

func (m *adminMetrics) collect(ch chan<- prometheus.Metric, checks []Check, c *crowd) {
	ch <- prometheus.MustNewConstMetric(descConnections, prometheus.GaugeValue, float64(c.len()))
	ch <- prometheus.MustNewConstMetric(descLimit, prometheus.GaugeValue, float64(c.most))
	ch <- prometheus.MustNewConstMetric(descClosed, prometheus.CounterValue, float64(c.evicted.Load()), "idle")
	ch <- prometheus.MustNewConstMetric(descClosed, prometheus.CounterValue, float64(c.refused.Load()), "new")
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
