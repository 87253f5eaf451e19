package admin

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// adminMetrics counts requests. The labels are closed sets: names of handlers, statuses and reasons of ours.
type adminMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  *prometheus.CounterVec
}

func newMetrics() *adminMetrics {
	return &adminMetrics{
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
}

func (m *adminMetrics) answered(handler string, code int, took time.Duration) {
	m.requests.WithLabelValues(handler, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(handler).Observe(took.Seconds())
}

func (m *adminMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds, m.refused}
}

func (m *adminMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

func (m *adminMetrics) collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}
