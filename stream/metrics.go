package stream

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// metrics are the client's counts.
type metrics struct {
	publishes *prometheus.CounterVec
	duration  prometheus.Histogram
	poisoned  *prometheus.CounterVec

	braked       atomic.Uint64
	healthErrors atomic.Uint64
	tailErrors   atomic.Uint64
	wakeErrors   atomic.Uint64
	epochs       atomic.Uint64
	reads        atomic.Uint64
	entries      atomic.Uint64

	mu       sync.Mutex
	poisonAt [topic.Slots]position.ID // guarded by mu: the newest poisonous entry that was reported
}

func newMetrics() *metrics {
	return &metrics{
		publishes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_stream_publishes_total", Help: "Publishes, by what became of them.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ringside_stream_publish_seconds", Help: "How long Redis took to answer a publish.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5},
		}),
		poisoned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_stream_poison_entries_total", Help: "Entries that were no message and passed over, by reason.",
		}, []string{"reason"}),
	}
}

func (m *metrics) took(d time.Duration) { m.duration.Observe(d.Seconds()) }

// published counts a publish.
func (m *metrics) published(p Published, err error) {
	result := "ok"
	switch {
	case p.Duplicate:
		result = "duplicate"
	case errors.Is(err, ErrTooLarge):
		result = "too_large"
	case errors.Is(err, ErrUnavailable):
		result = "unavailable"
	case errors.Is(err, ErrAmbiguous):
		result = "ambiguous"
	case err != nil:
		result = "invalid"
	}
	m.publishes.WithLabelValues(result).Inc()
}

// poison counts an entry that is no message, once however often it is read, and reports whether it is new.
func (m *metrics) poison(slot int, id position.ID, reason string) bool {
	if slot < 0 {
		return false // a wake stream's
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.poisonAt[slot].Less(id) {
		return false
	}
	m.poisonAt[slot] = id
	m.poisoned.WithLabelValues(reason).Inc()
	return true
}

//nolint:gochecknoglobals // descriptors are constants in all but name
var counters = []struct {
	desc *prometheus.Desc
	of   func(*metrics) *atomic.Uint64
}{
	{desc("braked_total", "Entries that the length limit removed within their retention."), func(m *metrics) *atomic.Uint64 { return &m.braked }},
	{desc("health_errors_total", "Health checks that Redis did not answer."), func(m *metrics) *atomic.Uint64 { return &m.healthErrors }},
	{desc("tail_errors_total", "Connections of tails that were lost."), func(m *metrics) *atomic.Uint64 { return &m.tailErrors }},
	{desc("wake_errors_total", "Wake-ups of blocked reads that failed."), func(m *metrics) *atomic.Uint64 { return &m.wakeErrors }},
	{desc("epochs_total", "Streams found to have begun a new life."), func(m *metrics) *atomic.Uint64 { return &m.epochs }},
	{desc("reads_total", "Blocking reads that were answered."), func(m *metrics) *atomic.Uint64 { return &m.reads }},
	{desc("entries_total", "Entries read by tails."), func(m *metrics) *atomic.Uint64 { return &m.entries }},
}

//nolint:gochecknoglobals // see above
var descUp = desc("up", "1 while Redis answers.")

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("ringside_stream_"+name, help, nil, nil)
}

// Describe implements prometheus.Collector.
func (c *Client) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *Client) Collect(ch chan<- prometheus.Metric) {
	for _, k := range counters {
		ch <- prometheus.MustNewConstMetric(k.desc, prometheus.CounterValue, float64(k.of(c.metrics).Load()))
	}
	up := 1.0
	if c.Ready() != nil {
		up = 0
	}
	ch <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, up)
	c.metrics.publishes.Collect(ch)
	c.metrics.duration.Collect(ch)
	c.metrics.poisoned.Collect(ch)
}
