package load

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Times are kept in microseconds, up to a quarter of an hour, with three digits; those of an interval with two.
const (
	mostMicros     = 900_000_000
	digits         = 3
	intervalDigits = 2
)

func newHist() *hdr.Histogram { return hdr.New(1, mostMicros, digits) }

func record(h *hdr.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), mostMicros)) // it is in range
}

// Record adds a time to a histogram that [NewHist] made.
func Record(h *hdr.Histogram, d time.Duration) { record(h, d) }

// NewHist is an empty histogram of times.
func NewHist() *hdr.Histogram { return newHist() }

// Quantile is a percentile of a histogram of times, 0 for that of none.
func Quantile(h *hdr.Histogram, percent float64) time.Duration {
	if h == nil || h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.ValueAtQuantile(percent)) * time.Microsecond
}

// merge adds what was exported to a histogram, which it makes where there is none.
func merge(to **hdr.Histogram, from *hdr.Snapshot) {
	switch {
	case from == nil:
	case *to == nil:
		*to = hdr.Import(from)
	default:
		(*to).Merge(hdr.Import(from))
	}
}

// Percentiles are of times, in milliseconds.
type Percentiles struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P75   float64 `json:"p75"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

// PercentilesOf reads them off a histogram of times.
func PercentilesOf(h *hdr.Histogram) Percentiles {
	if h == nil || h.TotalCount() == 0 {
		return Percentiles{}
	}
	ms := func(percent float64) float64 { return float64(h.ValueAtQuantile(percent)) / 1000 }
	return Percentiles{h.TotalCount(), h.Mean() / 1000, ms(50), ms(75), ms(90), ms(95), ms(99), ms(99.9), float64(h.Max()) / 1000}
}
