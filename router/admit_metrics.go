package router

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/leg"
)

// What became of passes beside what [leg.PassErrors] says; labels of ringside_router_passes_total.
const (
	passReserved = "reservation"
	passResume   = "resume"
	passAgain    = "again"
	passTooOften = "too_often"
)

func newPassCounts() *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ringside_router_passes_total",
		Help: "Passes that clients have shown: believed (reservation, resume), used again, a session resumed too often, or why not believed.",
	}, []string{"outcome"})
	for _, o := range append([]string{passReserved, passResume, passAgain, passTooOften}, leg.PassErrors...) {
		c.WithLabelValues(o)
	}
	return c
}

// pass counts a pass. Outcomes come from a closed set of our own.
func (m *metrics) pass(outcome string) { m.passes.WithLabelValues(outcome).Inc() }

//nolint:gochecknoglobals // descriptors are constants in all but name
var (
	descAdmitLimit  = desc("admission_limit", "Handshakes that may be under way at present; 0 without a limit.")
	descAdmitted    = desc("admission_handshakes", "Handshakes under way with gateways.")
	descQueue       = desc("admission_queue", "Handshakes that wait to begin.")
	descQueueLimit  = desc("admission_queue_limit", "Bound of ringside_router_admission_queue.")
	descAdmitRate   = desc("admission_rate", "Handshakes per second that are expected to be taken.")
	descAdmitLeast  = desc("admission_least_seconds", "Latency of handshakes with next to no load; 0 while it is not known.")
	descEntered     = desc("admitted_total", "Handshakes let in, by what spoke for them.", "class")
	descWaited      = desc("admission_queued_total", "Handshakes that had to wait, by what spoke for them.", "class")
	descBooked      = desc("reservations_total", "Returns that were booked for clients turned away.")
	descOverbooked  = desc("reservations_overbooked_total", "Those of them beyond the return window, spread over its second half.")
	descBacklog     = desc("reservations_backlog_seconds", "Until when returns are booked, from now.")
	descLimiterKeys = desc("limiter_keys", "Keys known to a limiter, by what it limits.", "limiter")
	descLimiterSize = desc("limiter_keys_limit", "Bound of ringside_router_limiter_keys.", "limiter")
	descLimiterOut  = desc("limiter_evicted_total", "Keys forgotten because they had not come for a while.", "limiter")
	descLimiterNo   = desc("limiter_refused_total", "Uses refused.", "limiter")
	descLimiterOver = desc("limiter_overflow_total", "Uses by keys that found no place, which share one bucket.", "limiter")
	descPasses      = desc("passes_remembered", "Reservations remembered as used.")
	descPassesLimit = desc("passes_remembered_limit", "Bound of ringside_router_passes_remembered; above it reservations are worth nothing.")
	descAcceptRate  = desc("accept_rate_limit", "Connections accepted per second at most; it shrinks while event loops lag. 0 without a limit.")
	descLag         = desc("loop_lag_seconds", "How long the slowest event loop took to turn, at the last look.")
)

func (r *Router) collectAdmission(ch chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	now, g := r.now(), &r.gate
	var door admission.DoorStats
	if g.door != nil {
		door = g.door.Stats(now)
	}
	send(gauge, descAdmitLimit, float64(door.Limit))
	send(gauge, descAdmitted, float64(door.InFlight))
	send(gauge, descQueue, float64(door.Queued))
	send(gauge, descQueueLimit, float64(door.QueueSize))
	send(gauge, descAdmitRate, r.rate(now))
	send(gauge, descAdmitLeast, door.Least.Seconds())
	for c := range admission.Classes {
		send(counter, descEntered, float64(door.Entered[c]), c.String())
		send(counter, descWaited, float64(door.Waited[c]), c.String())
	}
	book := g.book.Stats(now)
	send(counter, descBooked, float64(book.Booked))
	send(counter, descOverbooked, float64(book.Overbooked))
	send(gauge, descBacklog, book.Backlog.Seconds())
	var perIP admission.LimiterStats
	if g.perIP != nil {
		perIP = g.perIP.Stats()
	}
	for name, s := range map[string]admission.LimiterStats{
		"address": perIP, "address_pass": g.perIPPass.Stats(), "session": g.perSession.Stats(),
	} {
		send(gauge, descLimiterKeys, float64(s.Keys), name)
		send(gauge, descLimiterSize, float64(s.Size), name)
		send(counter, descLimiterOut, float64(s.Evicted), name)
		send(counter, descLimiterNo, float64(s.Refused), name)
		send(counter, descLimiterOver, float64(s.Overflowed), name)
	}
	send(gauge, descPasses, float64(g.uses.Len()))
	send(gauge, descPassesLimit, usesSize)
	if g.pacer != nil {
		rate, lag := g.pacer.Rate()
		send(gauge, descAcceptRate, rate)
		send(gauge, descLag, lag.Seconds())
	} else {
		send(gauge, descAcceptRate, 0)
		send(gauge, descLag, 0)
	}
	r.metrics.passes.Collect(ch)
}
