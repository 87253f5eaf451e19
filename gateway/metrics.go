package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/httphead"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

// metrics are the gateway's counts. They are read at every scrape and written without locks.
type metrics struct {
	opened  [formats]counter
	goneOn  [formats]counter
	granted counter // asks on feeds
	sentOn  counter // asks of which a session has to come on a leg
	closed  [closeReasons]counter
	gaps    [gapReasons]counter
	replays [replaySources]counter
	latency prometheus.Histogram
	refused *prometheus.CounterVec
	frames  *prometheus.CounterVec
	bad     *prometheus.CounterVec

	epochs       counter
	acceptErrors counter
	stale        counter
	logSqueezed  counter
	replayReads  counter
	replayErrors counter
	turnedStale  counter
	offered      counter
	preflights   counter
	unkeyed      counter
	evicted      counter
	restored     counter
	unkept       counter
}

// replaySource says where a subscription that comes back goes on; it is the label of ringside_gateway_replays_total.
type replaySource uint8

const (
	replayMemory replaySource = iota // in the log
	replayStream                     // in pages that are read from the stream
	replaySources
)

func (s replaySource) String() string { return [replaySources]string{"memory", "stream"}[s] }

// workerCounts are counted by one loop, away from the others' cache lines.
type workerCounts struct {
	messages   atomic.Uint64
	writes     atomic.Uint64
	bytesOut   atomic.Uint64
	bytesIn    atomic.Uint64
	heartbeats atomic.Uint64
	skipped    atomic.Uint64
	policies   atomic.Uint64
	viewers    atomic.Uint64
	full       atomic.Uint64 // gauge: sessions whose socket is full
	leaving    atomic.Uint64 // gauge: sessions told to go elsewhere
	shared     atomic.Uint64 // gauge: sessions that routers serve from feeds
	feeds      atomic.Uint64 // gauge: those feeds
	_          [64]byte
}

// sent counts messages that were handed to a socket, in one call when bytes is not 0.
func (c *workerCounts) sent(messages, bytes int) {
	c.messages.Add(uint64(messages))
	if bytes > 0 {
		c.writes.Add(1)
		c.bytesOut.Add(uint64(bytes))
	}
}

// refusalReasons are all reasons for refused handshakes, but for those of topics and most of those of heads; messageReasons those for messages of clients.
//
//nolint:gochecknoglobals // constants in all but name
var (
	refusalReasons = []string{
		"draining", "stale", "full", "topics_full", "method", "position", "viewers", "count", "subprotocol", "leg_version", "leg_auth", "ticket", "origin", "header_too_large", "slow_request", "http",
	}
	messageReasons = []string{
		"raw_takes_none", "binary", "json", "type", "topic", "position", "topics", "topics_full", "busy", "identifier", "channel", "signature", "unsigned", "history", "state",
	}
)

func newMetrics() *metrics {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ringside_gateway_" + name, Help: help}, []string{"reason"})
	}
	m := &metrics{
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "ringside_gateway_delivery_seconds",
			Help:    "Time from a message's entry into its stream until it was handed to the sockets of one event loop, by the clock of Redis.",
			Buckets: []float64{.001, .002, .003, .005, .0075, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 60},
		}),
		refused: vec("refused_total", "Handshakes turned down, by reason."),
		frames:  vec("bad_frames_total", "Frames of clients that broke RFC 6455 or a limit, by reason."),
		bad:     vec("bad_messages_total", "Messages of clients that could not be carried out, by reason."),
	}
	for _, r := range refusalReasons { // so that a rate shows the first one
		m.refused.WithLabelValues(r)
	}
	for _, r := range auth.Reasons() {
		m.refused.WithLabelValues(r)
		m.bad.WithLabelValues(r)
	}
	for _, r := range httphead.Reasons {
		m.refused.WithLabelValues(r)
	}
	for _, r := range topics.Reasons {
		m.refused.WithLabelValues("topic_" + r)
	}
	for _, r := range wsframe.Reasons {
		m.frames.WithLabelValues(r)
	}
	for _, r := range messageReasons {
		m.bad.WithLabelValues(r)
	}
	return m
}

// delivered notes that a loop's sessions have been handed entries, now being the clock of Redis in µs. IDs are in ms, rounded down.
func (m *metrics) delivered(entries []*entry, now int64) {
	for _, e := range entries {
		m.latency.Observe(float64(max(0, now-int64(e.at.ID.Ms)*1000-500)) / 1e6)
	}
}

// The reasons come from closed sets of our own, never from a client.

func (m *metrics) refuse(reason string)     { m.refused.WithLabelValues(reason).Inc() }
func (m *metrics) badFrame(reason string)   { m.frames.WithLabelValues(reason).Inc() }
func (m *metrics) badMessage(reason string) { m.bad.WithLabelValues(reason).Inc() }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ringside_gateway_"+name, help, labels, nil)
}

//nolint:gochecknoglobals // descriptors are constants in all but name
var (
	descSessions   = desc("sessions", "Sessions held, those in their handshake included.")
	descOpened     = desc("opened_total", "Sessions begun, by what their client speaks.", "format")
	descGoneOn     = desc("resumed_total", "Sessions taken over that another gateway had begun, by what their client speaks.", "format")
	descClosed     = desc("closed_total", "Sessions ended, by reason.", "reason")
	descFull       = desc("sessions_blocked", "Sessions whose socket takes nothing at present.")
	descSocket     = desc("socket_limit_bytes", "What may wait in a session's socket in the kernel, by where; 0 for what the system gives.", "buffer")
	descMessages   = desc("messages_total", "Messages handed to a session's socket; those of a feed for each session that it stands for.")
	descWrites     = desc("writes_total", "Writes that handed on messages; with io_uring many of them are one system call.")
	descBytesOut   = desc("sent_bytes_total", "Bytes handed to sessions' sockets.")
	descBytesIn    = desc("received_bytes_total", "Bytes received from sessions' sockets.")
	descHeartbeats = desc("heartbeats_total", "Heartbeats handed to sessions.")
	descPolicies   = desc("policies_total", "Sessions told of a changed backoff policy.")
	descViewers    = desc("viewers_total", "Times that a session was told how many follow its topic.")
	descReported   = desc("counts_reported_total", "Counts of a topic's sessions told to the gateways that add them up.")
	descAdded      = desc("counts_held", "Counts of topics' sessions that other gateways have told, which this one adds up.")
	descAddedLimit = desc("counts_held_limit", "Bound of ringside_gateway_counts_held.")
	descAddedLost  = desc("counts_dropped_total", "Counts told by other gateways for which there was no place.")
	descUnheard    = desc("counts_missing", "Gateways that have not told how many sessions their topics have.")
	descGaps       = desc("gaps_total", "Gaps that sessions were told of, by reason.", "reason")
	descTopics     = desc("topics", "Topics that have a session here, or had one lately.")
	descTopicLimit = desc("topics_limit", "Bound of ringside_gateway_topics, for new sessions and subscriptions.")
	descLogBytes   = desc("log_bytes", "Bytes that the topics' logs hold in memory.")
	descLogLimit   = desc("log_limit_bytes", "Bound of ringside_gateway_log_bytes.")
	descLimit      = desc("sessions_limit", "Bound of ringside_gateway_sessions.")
	descSqueezed   = desc("log_squeezed_total", "Entries dropped from a log because all logs together had reached their bound.")
	descReplays    = desc("replays_total", "Subscriptions that came with a position, by where they went on.", "source")
	descStaleSlots = desc("stale_slots", "Tailed slots that have brought nothing for too long, or lag behind.")
	descTurned     = desc("stale_total", "Times that a slot has become stale.")
	descAsks       = desc("asks_total", "Sessions that a router has asked for on a feed, by what it was told: session, it has begun; leg, it has to come on one.", "answer")
	descPreflights = desc("preflights_total", "Browsers that asked whether a page may ask for an event stream, and were told.")
	descOffered    = desc("offered_total", "Sessions of stale slots offered to other gateways.")
	descReads      = desc("replay_reads_total", "Pages of the past read from Redis.")
	descReadErrors = desc("replay_errors_total", "Reads of the past that failed.")
	descEpochs     = desc("epochs_total", "New epochs of streams noticed: Redis had lost data.")
	descStale      = desc("stale_entries_total", "Entries that came again, or late, and were dropped.")
	descTails      = desc("tails_missing", "Owned slots whose tail does not stand.")
	descShared     = desc("sessions_shared", "Sessions that routers serve from feeds of this gateway: they have no leg, and are none of ringside_gateway_sessions.")
	descLeaving    = desc("sessions_leaving", "Sessions that were told to go elsewhere and have not gone yet.")
	descSkipped    = desc("skipped_total", "Messages that slow sessions were not handed, because newer ones had replaced them.")
	descUnkeyed    = desc("latest_unkeyed_total", "Messages of topics with a key that have none, and so are not replaced.")
	descEvicted    = desc("latest_evicted_total", "Newest messages of a key given up, because too many keys or bytes were kept behind the log.")
	descKept       = desc("cable_kept_total", "Sessions of Action Cable whose client came back for its subscriptions, or whose subscriptions could not be kept, by result.", "result")
	descConns      = desc("http_connections", "Connections that are no session yet.")
	descConnLimit  = desc("http_connections_limit", "Bound of ringside_gateway_http_connections; above it connections wait to be accepted.")
	descTurnedOut  = desc("http_connections_closed_total", "Connections that were no session yet and had to go, by reason: crowded, its request was not there in time and others waited for the place.", "reason")
	descAccepts    = desc("accept_errors_total", "Connections that could not be accepted.")
	descRules      = desc("topic_rules_hash", "Checksum of the file of topic rules, 0 without one: equal on all gateways, or they treat topics differently.")
	descIOUring    = desc("io_uring", "1 while many sessions are written to with one system call, 0 where each takes one of its own.")
	descDraining   = desc("draining", "1 while the gateway drains.")
)

// Describe implements prometheus.Collector.
func (g *Gateway) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

// Collect implements prometheus.Collector. Safe for concurrent use.
func (g *Gateway) Collect(ch chan<- prometheus.Metric) {
	m := g.metrics
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m.collectLabelled(count)
	sum := g.sum()
	count(descMessages, sum.messages.Load())
	count(descWrites, sum.writes.Load())
	count(descBytesOut, sum.bytesOut.Load())
	count(descBytesIn, sum.bytesIn.Load())
	count(descSkipped, sum.skipped.Load())
	count(descUnkeyed, m.unkeyed.Load())
	count(descEvicted, m.evicted.Load())
	count(descHeartbeats, sum.heartbeats.Load())
	count(descViewers, sum.viewers.Load())
	g.counts.collect(count, gauge)
	count(descPolicies, sum.policies.Load())
	count(descSqueezed, m.logSqueezed.Load())
	count(descReads, m.replayReads.Load())
	count(descReadErrors, m.replayErrors.Load())
	count(descEpochs, m.epochs.Load())
	count(descAccepts, m.acceptErrors.Load())
	count(descTurnedOut, g.room.Out(anteroom.Crowded), anteroom.Crowded.String())
	gauge(descConns, float64(g.room.Len()))
	gauge(descConnLimit, float64(g.room.Places()))
	count(descStale, m.stale.Load())
	count(descTurned, m.turnedStale.Load())
	count(descOffered, m.offered.Load())
	count(descPreflights, m.preflights.Load())
	gauge(descStaleSlots, float64(g.staleSlots.Load()))
	gauge(descFull, float64(sum.full.Load()))
	gauge(descLeaving, float64(sum.leaving.Load()))
	gauge(descShared, float64(sum.shared.Load()))
	gauge(descSessions, float64(g.Sessions()))
	gauge(descLimit, float64(g.cfg.MaxSessions))
	gauge(descSocket, float64(g.cfg.Unsent), "unsent")
	gauge(descSocket, float64(g.cfg.ReceiveBuffer), "receive")
	gauge(descTopics, float64(g.topicCount.Load()))
	gauge(descTopicLimit, float64(g.cfg.MaxNodeTopics))
	gauge(descLogBytes, float64(g.logBytes.Load()))
	gauge(descLogLimit, float64(g.cfg.LogTotalBytes))
	gauge(descRules, float64(g.cfg.Rules.Hash()))
	gauge(descTails, float64(g.tails.missingNow()))
	gauge(descDraining, oneIf(g.draining.Load()))
	batching, _ := g.group.Batching()
	gauge(descIOUring, oneIf(batching))
	m.latency.Collect(ch)
	m.refused.Collect(ch)
	m.frames.Collect(ch)
	m.bad.Collect(ch)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// collect gives what there is of counts.
func (c *counts) collect(count func(d *prometheus.Desc, v uint64, labels ...string), gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	count(descReported, c.reported.Load())
	held := c.table.Stats()
	count(descAddedLost, held.Dropped)
	gauge(descAdded, float64(held.Entries))
	gauge(descAddedLimit, float64(held.Limit))
	gauge(descUnheard, float64(c.missing.Load()))
}

// collectLabelled gives the counters with one label of a closed set.
func (m *metrics) collectLabelled(count func(d *prometheus.Desc, v uint64, labels ...string)) {
	for f := range formats {
		count(descOpened, m.opened[f].Load(), f.String())
		count(descGoneOn, m.goneOn[f].Load(), f.String())
	}
	count(descAsks, m.granted.Load(), "session")
	count(descAsks, m.sentOn.Load(), "leg")
	for r := range closeReasons {
		count(descClosed, m.closed[r].Load(), r.String())
	}
	for r := range gapReasons {
		count(descGaps, m.gaps[r].Load(), r.String())
	}
	for s := range replaySources {
		count(descReplays, m.replays[s].Load(), s.String())
	}
	count(descKept, m.restored.Load(), "restored")
	count(descKept, m.unkept.Load(), "lost")
}

// sum is what all loops have counted.
func (g *Gateway) sum() *workerCounts {
	sum := &workerCounts{}
	for _, w := range g.workers {
		sum.messages.Add(w.counts.messages.Load())
		sum.writes.Add(w.counts.writes.Load())
		sum.bytesOut.Add(w.counts.bytesOut.Load())
		sum.bytesIn.Add(w.counts.bytesIn.Load())
		sum.heartbeats.Add(w.counts.heartbeats.Load())
		sum.skipped.Add(w.counts.skipped.Load())
		sum.policies.Add(w.counts.policies.Load())
		sum.viewers.Add(w.counts.viewers.Load())
		sum.full.Add(w.counts.full.Load())
		sum.leaving.Add(w.counts.leaving.Load())
		sum.shared.Add(w.counts.shared.Load())
		sum.feeds.Add(w.counts.feeds.Load())
	}
	return sum
}
