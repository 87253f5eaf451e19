package router

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/internal/topic"
)

// count is a number that one loop alone writes and anybody may read.
type count struct{ v atomic.Uint64 }

func (c *count) add(n uint64) { c.v.Store(c.v.Load() + n) }
func (c *count) dec()         { c.v.Store(c.v.Load() - 1) }

// side is where bytes go.
type side uint8

const (
	toClient side = iota
	toUpstream
	sides
)

func (s side) String() string { return [sides]string{"client", "upstream"}[s] }

// recordKind is what a leg's record was, as far as a router can tell.
type recordKind uint8

const (
	recordPosition recordKind = iota // data or a beacon of a topic
	recordTopic
	recordEnd
	recordMove
	recordRenew
	recordFeed
	recordUnknown
	recordKinds
)

func (k recordKind) String() string {
	return [recordKinds]string{"position", "topic", "end", "move", "renew", "feed", "unknown"}[k]
}

// counts are counted by one loop. Each loop's are memory of their own, padded against the neighbours'.
type counts struct {
	_        [64]byte
	opened   [isWebSocket | isLeg + 1]count
	greeted  [greetingOutcomes]count
	writes   [sides]count
	bytes    [sides]count
	records  [recordKinds]count
	dropped  count
	badLegs  count
	unkept   count        // parked sessions with notes of whose end no gateway could be told
	blocked  [sides]count // gauge: sessions whose socket is full
	waiting  count        // gauge: bytes kept for them
	moving   count        // gauge: sessions that are on their way to another gateway
	homeless count        // gauge: those of them without a leg
	carried  count        // gauge: sessions whose TLS a predecessor carries
	parked   count        // gauge: sessions that are served from feeds
	feeds    count        // gauge: feeds that are open
	_        [64]byte
}

// metrics are counted by whoever; none of them per message.
type metrics struct {
	closed       [closeReasons]atomic.Uint64
	dials        [dialOutcomes]atomic.Uint64
	moves        [moveReasons][moveOutcomes]atomic.Uint64
	unparked     [unparkReasons]atomic.Uint64
	silent       atomic.Uint64
	handedOver   atomic.Uint64
	adopted      atomic.Uint64
	fallbacks    atomic.Uint64
	preflights   atomic.Uint64
	acceptErrors atomic.Uint64
	proxied      [proxyOutcomes]atomic.Uint64
	refusals     *prometheus.CounterVec
	passes       *prometheus.CounterVec
	handshakes   prometheus.Histogram
	moveTime     prometheus.Histogram
}

// refusalReasons are all reasons for refusals, but for those of topics and most of those of heads.
//
//nolint:gochecknoglobals // a constant
var refusalReasons = []string{
	reasonHTTP, reasonFull, reasonDraining, reasonNoShard, reasonUpstream, "header_too_large", "uri_too_long",
	"body_too_large", "slow_request", "aborted", "method", "topic_missing", "origin", "bad_gateway",
	reasonPerIP, reasonQueueFull, reasonQueueTime,
}

func newMetrics() *metrics {
	m := &metrics{
		passes: newPassCounts(),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_router_refused_total", Help: "Requests turned down, by reason; upstream: by a gateway, whose answer was passed on.",
		}, []string{"reason"}),
		handshakes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ringside_router_handshake_seconds", Help: "Time from the first byte of a request for a session to a gateway's answer, or to its refusal.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		moveTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ringside_router_move_seconds", Help: "Time from when a session had to change gateways to when the new one had it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3, 5, 10, 30},
		}),
	}
	for _, r := range refusalReasons { // so that a rate shows the first one
		m.refusals.WithLabelValues(r)
	}
	for _, r := range httphead.Reasons {
		m.refusals.WithLabelValues(r)
	}
	for _, r := range topic.Reasons {
		m.refusals.WithLabelValues("topic_" + r)
	}
	return m
}

// refused counts a refusal. Reasons come from closed sets of our own, never from a client.
func (m *metrics) refused(reason string) { m.refusals.WithLabelValues(reason).Inc() }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ringside_router_"+name, help, labels, nil)
}

//nolint:gochecknoglobals // descriptors are constants in all but name
var (
	descSessions   = desc("sessions", "Sessions held, those in their handshake included.")
	descLimit      = desc("sessions_limit", "Bound of ringside_router_sessions.")
	descConns      = desc("http_connections", "Connections that are no session yet.")
	descConnLimit  = desc("http_connections_limit", "Bound of ringside_router_http_connections; above it connections wait to be accepted.")
	descGreeted    = desc("greeted_total", "Connections that an event loop has greeted, by what became of them: http is those that were handed over to the HTTP server.", "outcome")
	descOpened     = desc("opened_total", "Sessions begun, by what the client speaks and what the upstream is.", "client", "upstream")
	descClosed     = desc("closed_total", "Sessions ended, by reason.", "reason")
	descDials      = desc("dials_total", "Handshakes handed to a gateway, by outcome.", "outcome")
	descEjected    = desc("ejected", "Gateways that are tried last for a while, because they did not take a session.")
	descWrites     = desc("writes_total", "Writes that handed bytes on, by where to; with io_uring many of those to clients are one system call.", "to")
	descBytes      = desc("forwarded_bytes_total", "Bytes handed on, by where to.", "to")
	descRecords    = desc("records_total", "Records taken off legs, by what they were.", "kind")
	descDropped    = desc("dropped_bytes_total", "Bytes of clients that nobody takes: of event streams, or for an upstream that is gone.")
	descBadLegs    = desc("leg_errors_total", "Legs that broke their protocol.")
	descUnkept     = desc("unkept_total", "Sessions of Action Cable that ended while they were served from a feed, and of whose end no gateway could be told: a client that comes back subscribes anew.")
	descBlocked    = desc("sessions_blocked", "Sessions of which one socket is full and the other not read, by which.", "to")
	descWaiting    = desc("waiting_bytes", "Bytes read and not yet taken by the other side, or not acknowledged by a gateway.")
	descSocket     = desc("socket_limit_bytes", "What may wait in a session's sockets in the kernel, by where; 0 for what the system gives.", "buffer")
	descMoving     = desc("sessions_moving", "Sessions on their way to another gateway.")
	descHomeless   = desc("sessions_homeless", "Sessions whose gateway is gone and whose client waits for another.")
	descCarried    = desc("sessions_carried", "Sessions that came from a predecessor, which still carries their TLS.")
	descParked     = desc("sessions_parked", "Sessions that are served from feeds, and have no leg.")
	descUnparked   = desc("unparked_total", "Times that a parked session needed a leg again, by why.", "reason")
	descFeeds      = desc("feeds", "Feeds that are open: legs of the router's own, one for each loop and topic with enough sessions.")
	descFeedBytes  = desc("feed_log_bytes", "Bytes of the logs that parked sessions are served from.")
	descFeedLimit  = desc("feed_log_limit_bytes", "Bound of ringside_router_feed_log_bytes.")
	descMoves      = desc("moves_total", "Changes of gateways that have ended, by why they were made and how they ended.", "reason", "outcome")
	descSilent     = desc("gateways_silent_total", "Times that a gateway's heartbeat fell silent though its connection had not broken.")
	descSpilled    = desc("spilled_total", "New sessions that went past their preferred gateway because it had too many.")
	descBound      = desc("load_bound", "Sessions that a gateway may have, for each unit of its weight, before new ones of topics that are not pinned go to the next.")
	descHandover   = desc("handed_over_total", "Sessions given to a successor of this process, or taken from a predecessor.", "way")
	descPulse      = desc("gateways", "Gateways of ours, by what their heartbeat connection tells.", "pulse")
	descFrozen     = desc("ring_frozen", "1 while the last good ring stands in for a view that has lost too much at once.")
	descPreflights = desc("preflights_total", "Browsers that asked whether a page may ask for an event stream, and were told.")
	descFallbacks  = desc("fallbacks_total", "Requests that asked for no session and were answered here.")
	descAccepts    = desc("accept_errors_total", "Connections that could not be accepted.")
	descIOUring    = desc("io_uring", "1 while many clients are written to with one system call, 0 where each takes one of its own.")
	descDraining   = desc("draining", "1 while the router drains.")
)

// Describe implements prometheus.Collector.
func (r *Router) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, ch) }

// Collect implements prometheus.Collector. Safe for concurrent use.
func (r *Router) Collect(ch chan<- prometheus.Metric) {
	r.collectCounters(ch)
	r.collectAdmission(ch)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for to := range sides {
		gauge(descBlocked, float64(r.sum(func(c *counts) *count { return &c.blocked[to] })), to.String())
	}
	gauge(descSocket, float64(r.cfg.Unsent), "unsent")
	gauge(descSocket, float64(r.cfg.ReceiveBuffer), "receive")
	gauge(descMoving, float64(r.sum(func(c *counts) *count { return &c.moving })))
	gauge(descCarried, float64(r.sum(func(c *counts) *count { return &c.carried })))
	gauge(descParked, float64(r.sum(func(c *counts) *count { return &c.parked })))
	gauge(descFeeds, float64(r.sum(func(c *counts) *count { return &c.feeds })))
	gauge(descFeedBytes, float64(r.feedBytes.Load()))
	gauge(descFeedLimit, float64(r.cfg.FeedTotalBytes))
	gauge(descHomeless, float64(r.sum(func(c *counts) *count { return &c.homeless })))
	for state, name := range map[pulseState]string{pulseUnknown: "unknown", pulseUp: "up", pulseDown: "down", pulseSilent: "silent"} {
		gauge(descPulse, float64(r.shards.count(state)), name)
	}
	gauge(descBound, r.spread.present())
	gauge(descFrozen, float64(oneIf(r.placement.look().frozen)))
	gauge(descWaiting, float64(r.sum(func(c *counts) *count { return &c.waiting })))
	gauge(descSessions, float64(r.Sessions()))
	gauge(descLimit, float64(r.cfg.MaxSessions))
	gauge(descConns, float64(r.conns.room.Len()))
	gauge(descConnLimit, float64(r.conns.room.Places()))
	gauge(descEjected, float64(r.ejected.len(r.now())))
	gauge(descDraining, float64(oneIf(r.draining.Load())))
	batching, _ := r.group.Batching()
	gauge(descIOUring, float64(oneIf(batching)))
	r.metrics.refusals.Collect(ch)
	r.metrics.handshakes.Collect(ch)
	r.metrics.moveTime.Collect(ch)
}

func (r *Router) collectCounters(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for kind := range isWebSocket | isLeg + 1 {
		client, upstream := "sse", "raw"
		if kind&isWebSocket != 0 {
			client = "websocket"
		}
		if kind&isLeg != 0 {
			upstream = "leg"
		}
		counter(descOpened, r.sum(func(c *counts) *count { return &c.opened[kind] }), client, upstream)
	}
	for outcome := range greetingOutcomes {
		counter(descGreeted, r.sum(func(c *counts) *count { return &c.greeted[outcome] }), outcome.String())
	}
	for to := range sides {
		counter(descWrites, r.sum(func(c *counts) *count { return &c.writes[to] }), to.String())
		counter(descBytes, r.sum(func(c *counts) *count { return &c.bytes[to] }), to.String())
	}
	for kind := range recordKinds {
		counter(descRecords, r.sum(func(c *counts) *count { return &c.records[kind] }), kind.String())
	}
	counter(descDropped, r.sum(func(c *counts) *count { return &c.dropped }))
	counter(descBadLegs, r.sum(func(c *counts) *count { return &c.badLegs }))
	counter(descUnkept, r.sum(func(c *counts) *count { return &c.unkept }))
	for reason := range closeReasons {
		counter(descClosed, r.metrics.closed[reason].Load(), reason.String())
	}
	for outcome := range dialOutcomes {
		counter(descDials, r.metrics.dials[outcome].Load(), outcome.String())
	}
	for reason := range moveReasons {
		for outcome := range moveOutcomes {
			counter(descMoves, r.metrics.moves[reason][outcome].Load(), reason.String(), outcome.String())
		}
	}
	for reason := range unparkReasons {
		counter(descUnparked, r.metrics.unparked[reason].Load(), reason.String())
	}
	for outcome := range proxyOutcomes {
		counter(descProxy, r.metrics.proxied[outcome].Load(), outcome.String())
	}
	for reason := range anteroom.Reasons {
		counter(descTurnedOut, r.conns.room.Out(reason), reason.String())
	}
	counter(descHandover, r.metrics.handedOver.Load(), "given")
	counter(descHandover, r.metrics.adopted.Load(), "taken")
	counter(descSpilled, r.spread.spilled.Load())
	counter(descSilent, r.metrics.silent.Load())
	counter(descFallbacks, r.metrics.fallbacks.Load())
	counter(descPreflights, r.metrics.preflights.Load())
	counter(descAccepts, r.metrics.acceptErrors.Load())
}

// sum adds up one count over all loops.
func (r *Router) sum(of func(*counts) *count) (n uint64) {
	for _, w := range r.workers {
		n += of(w.counts).v.Load()
	}
	return n
}
