package gossip

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/ring"
)

// metrics are the node's counts.
type metrics struct {
	changes     atomic.Uint64
	tellErrors  atomic.Uint64
	badMessages atomic.Uint64
	badMeta     atomic.Uint64
	ghosts      atomic.Uint64
	replaced    atomic.Int64
	suppressed  atomic.Uint64
	rejected    *prometheus.CounterVec
	joinErrors  *prometheus.CounterVec

	mu     sync.Mutex
	warned map[string]time.Time // guarded by mu
}

func newMetrics() *metrics {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ringside_gossip_" + name, Help: help}, []string{"reason"})
	}
	m := &metrics{
		rejected:   vec("rejected_total", "Gossip refused, by what was different: the secret or the cluster."),
		joinErrors: vec("join_errors_total", "Seeds and lost nodes that could not be joined, by why."),
		warned:     make(map[string]time.Time),
	}
	for _, r := range rejections { // so that a rate shows the first one
		m.rejected.WithLabelValues(r.reason)
	}
	for _, r := range []string{joinResolve, joinRefused, joinTimeout, joinClosed, joinSecret, joinOther} {
		m.joinErrors.WithLabelValues(r)
	}
	return m
}

// warnEvery is how often the same complaint is logged.
const warnEvery = time.Minute

// mayWarn reports whether it is time to log this complaint, one of a closed set.
func (m *metrics) mayWarn(reason string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, ok := m.warned[reason]; ok && now.Sub(last) < warnEvery {
		return false
	}
	m.warned[reason] = now
	return true
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ringside_gossip_"+name, help, labels, nil)
}

//nolint:gochecknoglobals // descriptors are constants in all but name
var (
	descMembers  = desc("members", "Members known, this one included.", "role", "state")
	descChanges  = desc("changes_total", "Changes of the membership.")
	descRing     = desc("ring_version", "The ring's version as a number: nodes agree when it is equal.")
	descReplaced = desc("replaced_members", "Live nodes whose ID a later one claims: for seconds after a restart, for long when two have one ID.")
	descLost     = desc("lost_members", "Nodes that went without a word and are looked for.")
	descQuiet    = desc("log_suppressed_total", "Lines of memberlist that were not logged because there were too many.")
	descTell     = desc("tell_errors_total", "Changes of this node that could not be told at once.")
	descBad      = desc("bad_messages_total", "Messages and metadata that were not understood.")
	descGhosts   = desc("ghosts_total", "States of departed nodes that were kept from coming back.")
)

// Describe implements prometheus.Collector.
func (n *Node) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(n, ch) }

// Collect implements prometheus.Collector.
func (n *Node) Collect(ch chan<- prometheus.Metric) {
	r := n.Ring()
	counts := map[[2]string]int{}
	for _, role := range []ring.Role{ring.RoleRouter, ring.RoleGateway} {
		for _, s := range []ring.State{ring.StateJoining, ring.StateActive, ring.StateDraining, ring.StateLeft} {
			counts[[2]string{role.String(), s.String()}] = 0
		}
	}
	for _, m := range r.Members() {
		counts[[2]string{m.Role.String(), m.State.String()}]++
	}
	for k, c := range counts {
		ch <- prometheus.MustNewConstMetric(descMembers, prometheus.GaugeValue, float64(c), k[0], k[1])
	}
	// The first 52 bits, which a float64 holds exactly.
	version, _ := strconv.ParseUint(r.Version()[:13], 16, 64)
	ch <- prometheus.MustNewConstMetric(descRing, prometheus.GaugeValue, float64(version))
	ch <- prometheus.MustNewConstMetric(descReplaced, prometheus.GaugeValue, float64(n.metrics.replaced.Load()))
	ch <- prometheus.MustNewConstMetric(descLost, prometheus.GaugeValue, float64(n.view.lostSize()))
	for d, v := range map[*prometheus.Desc]uint64{
		descChanges: n.metrics.changes.Load(), descTell: n.metrics.tellErrors.Load(),
		descBad: n.metrics.badMessages.Load() + n.metrics.badMeta.Load(), descGhosts: n.metrics.ghosts.Load(), descQuiet: n.metrics.suppressed.Load(),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	n.metrics.rejected.Collect(ch)
	n.metrics.joinErrors.Collect(ch)
}
