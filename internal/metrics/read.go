package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// ByLabel are the counts of a vector with one label that are not zero, by the label's value. It does not block and is safe for
// concurrent use.
func ByLabel(v *prometheus.CounterVec) map[string]uint64 {
	ch := make(chan prometheus.Metric, 16)
	go func() {
		defer close(ch)
		v.Collect(ch)
	}()
	counts := map[string]uint64{}
	for m := range ch {
		var out dto.Metric
		if m.Write(&out) == nil && len(out.Label) == 1 && out.GetCounter().GetValue() > 0 {
			counts[out.Label[0].GetValue()] = uint64(out.GetCounter().GetValue())
		}
	}
	return counts
}

// Histogram is how often something took how long, since the start.
type Histogram struct {
	Bounds []float64 // upper bounds of the buckets, in seconds
	Counts []uint64  // in each bucket and those below; the last, beyond all bounds, is the number of all
}

// ReadHistogram reads a histogram. It does not block and is safe for concurrent use.
func ReadHistogram(h prometheus.Histogram) (r Histogram) {
	var out dto.Metric
	if h.Write(&out) != nil {
		return r
	}
	for _, b := range out.GetHistogram().GetBucket() {
		r.Bounds = append(r.Bounds, b.GetUpperBound())
		r.Counts = append(r.Counts, b.GetCumulativeCount())
	}
	r.Counts = append(r.Counts, out.GetHistogram().GetSampleCount())
	return r
}
