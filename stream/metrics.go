package stream

import (
	"errors"
	"strconv"
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

	braked        atomic.Uint64
	healthErrors  atomic.Uint64
	tailErrors    atomic.Uint64
	wakeErrors    atomic.Uint64
	epochs        atomic.Uint64
	serverChanges atomic.Uint64
	reconnects    atomic.Uint64
	acked         atomic.Uint64
	inherited     atomic.Uint64
	contested     atomic.Uint64
	collected     atomic.Uint64
	duplicates    atomic.Uint64
	beacons       atomic.Uint64
	trimmedUnread atomic.Uint64
	watchErrors   atomic.Uint64
	reads         atomic.Uint64
	entries       atomic.Uint64
	lingers       atomic.Uint64
	lingered      atomic.Uint64 // ns

	mu       sync.Mutex
	poisonAt [topic.Slots]position.ID // guarded by mu: the newest poisonous entry that was reported
	repeatAt [topic.Slots]position.ID // guarded by mu: the newest repetition that was counted
}

// What can become of a publish, and why an entry can be no message.
//
//nolint:gochecknoglobals // constants in all but name
var (
	publishResults = []string{"ok", "duplicate", "too_large", "unavailable", "ambiguous", "invalid"}
	poisonReasons  = []string{"no_payload", "too_large", "topic", "slot"}
)

func newMetrics() *metrics {
	m := &metrics{
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
	for _, r := range publishResults { // so that a rate shows the first one
		m.publishes.WithLabelValues(r)
	}
	for _, r := range poisonReasons {
		m.poisoned.WithLabelValues(r)
	}
	return m
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

// repeated counts an entry that repeats an id, once however often it is read, and reports whether it is new.
func (m *metrics) repeated(slot int, id position.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.repeatAt[slot].Less(id) {
		return false
	}
	m.repeatAt[slot] = id
	m.duplicates.Add(1)
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
	{desc("server_changes_total", "Redis servers found to be others than before, or started anew."), func(m *metrics) *atomic.Uint64 { return &m.serverChanges }},
	{desc("reconnects_total", "Links to Redis made anew because they led nowhere."), func(m *metrics) *atomic.Uint64 { return &m.reconnects }},
	{desc("acked_total", "Entries of owned slots acknowledged."), func(m *metrics) *atomic.Uint64 { return &m.acked }},
	{desc("inherited_total", "Entries found pending when a tail took its group over."), func(m *metrics) *atomic.Uint64 { return &m.inherited }},
	{desc("contested_total", "Slots found to be read by another process as the same shard."), func(m *metrics) *atomic.Uint64 { return &m.contested }},
	{desc("groups_collected_total", "Consumer groups of departed shards destroyed."), func(m *metrics) *atomic.Uint64 { return &m.collected }},
	{desc("duplicates_total", "Entries dropped because an earlier one has the same id."), func(m *metrics) *atomic.Uint64 { return &m.duplicates }},
	{desc("trimmed_unread_total", "Times that entries were trimmed before a tail had read them."), func(m *metrics) *atomic.Uint64 { return &m.trimmedUnread }},
	{desc("beacons_total", "Beacons added to quiet streams."), func(m *metrics) *atomic.Uint64 { return &m.beacons }},
	{desc("watch_errors_total", "Looks at the tailed streams that Redis did not answer."), func(m *metrics) *atomic.Uint64 { return &m.watchErrors }},
	{desc("reads_total", "Blocking reads that were answered."), func(m *metrics) *atomic.Uint64 { return &m.reads }},
	{desc("entries_total", "Entries read by tails."), func(m *metrics) *atomic.Uint64 { return &m.entries }},
	{desc("lingers_total", "Times that a tail has lingered before it read on, because entries came one by one and fast."), func(m *metrics) *atomic.Uint64 { return &m.lingers }},
}

// Of each tailed slot: at most 256 series each.
//
//nolint:gochecknoglobals // see above
var (
	descUp         = desc("up", "1 while Redis answers.")
	descLingered   = desc("lingered_seconds_total", "Time that tails have lingered before they read on.")
	descLag        = slotDesc("lag_entries", "Entries of an owned slot's stream that its tail has not read yet.")
	descLagSeconds = slotDesc("lag_seconds", "How far the tail of a slot is behind the newest entry of the stream.")
	descWatermark  = slotDesc("watermark_age_seconds", "Age of the newest instant up to which all of a slot is known to have been read.")
	descPending    = slotDesc("pending_entries", "Entries of an owned slot that this shard's consumer has read and not acknowledged.")
	descWindow     = slotDesc("window_seconds", "Age of the oldest entry in the stream of an owned slot: how far back clients can go.")
	descLength     = slotDesc("window_entries", "Entries in the stream of an owned slot, beacons included.")
)

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("ringside_stream_"+name, help, nil, nil)
}

func slotDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("ringside_stream_"+name, help, []string{"slot"}, nil)
}

// Describe implements prometheus.Collector. It names the metrics of slots too, of which there may be none yet.
func (c *Client) Describe(ch chan<- *prometheus.Desc) {
	for _, k := range counters {
		ch <- k.desc
	}
	for _, d := range []*prometheus.Desc{
		descUp, descLingered, descLag, descLagSeconds, descWatermark, descPending, descWindow, descLength,
	} {
		ch <- d
	}
	c.metrics.publishes.Describe(ch)
	c.metrics.duration.Describe(ch)
	c.metrics.poisoned.Describe(ch)
}

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
	ch <- prometheus.MustNewConstMetric(descLingered, prometheus.CounterValue, time.Duration(c.metrics.lingered.Load()).Seconds())
	c.metrics.publishes.Collect(ch)
	c.metrics.duration.Collect(ch)
	c.metrics.poisoned.Collect(ch)
	if t := c.tailer.Load(); t != nil {
		t.collectStats(ch)
	}
}

// collectStats gives the metrics of the tailed slots.
func (t *Tailer) collectStats(ch chan<- prometheus.Metric) {
	for slot := range topic.Slots {
		s, ok := t.Stats(slot)
		if !ok || s.Seen.IsZero() { // not placed yet: it has no age
			continue
		}
		label := strconv.Itoa(slot)
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
		}
		now := t.Now(slot) / 1000
		gauge(descWatermark, seconds(s.Age(now)))
		if s.Last.IsZero() { // not looked at yet
			continue
		}
		gauge(descLagSeconds, seconds(max(0, int64(s.Last.Ms)-int64(s.At.ID.Ms))))
		if !s.Owned {
			continue
		}
		if s.Lag >= 0 {
			gauge(descLag, float64(s.Lag))
		}
		gauge(descPending, float64(s.Pending))
		gauge(descWindow, seconds(max(0, now-int64(s.First.Ms))))
		gauge(descLength, float64(s.Length))
	}
}

func seconds(ms int64) float64 { return float64(ms) / 1000 }
