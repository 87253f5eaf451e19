package gossip

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// onlyMetric collects one of a node's metrics.
type onlyMetric struct {
	*Node
	desc *prometheus.Desc
}

func (o onlyMetric) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		o.Node.Collect(all)
	}()
	for m := range all {
		if m.Desc() == o.desc {
			ch <- m
		}
	}
}

func TestMetrics(t *testing.T) {
	rs := cluster(t, 2)
	problems, err := testutil.CollectAndLint(rs[0])
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v", problems, err)
	}
	f := func(name string, want int) {
		t.Helper()
		if got := testutil.CollectAndCount(rs[0], "ringside_gossip_"+name); got != want {
			t.Errorf("%s: got %d series, want %d", name, got, want)
		}
	}
	f("members", 2*4) // whatever the cluster
	f("rejected_total", 2)
	f("join_errors_total", 6)
	f("ring_version", 1)
	f("lost_members", 1)
	version := func(r *runner) float64 { return testutil.ToFloat64(onlyMetric{r.Node, descRing}) }
	if a, b := version(rs[0]), version(rs[2]); a != b || a == 0 {
		t.Errorf("ring versions: got %v and %v, want the same", a, b)
	}
	before := version(rs[0])
	rs[2].stop()
	agree(t, 1, rs[:2]...)
	if version(rs[0]) == before {
		t.Error("another ring has the same version")
	}
}
