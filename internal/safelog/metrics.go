package safelog

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"
)

//nolint:gochecknoglobals // constants in all but name
var (
	descSuppressed = prometheus.NewDesc("ringside_safelog_suppressed_total",
		"Lines that were not logged because there were too many of the same message, by level.", []string{"level"}, nil)
	descLimit = prometheus.NewDesc("ringside_safelog_lines_limit",
		"How many lines of one message are logged in 10 s, at each level above debug.", nil, nil)
)

// Describe implements prometheus.Collector.
func (p *pace) Describe(ch chan<- *prometheus.Desc) {
	ch <- descSuppressed
	ch <- descLimit
}

// Collect implements prometheus.Collector.
func (p *pace) Collect(ch chan<- prometheus.Metric) {
	for _, level := range []zapcore.Level{zapcore.InfoLevel, zapcore.WarnLevel, zapcore.ErrorLevel} {
		ch <- prometheus.MustNewConstMetric(descSuppressed, prometheus.CounterValue, float64(p.suppressed[level].Load()), level.String())
	}
	ch <- prometheus.MustNewConstMetric(descLimit, prometheus.GaugeValue, maxLines)
}
