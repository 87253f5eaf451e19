// Package metrics makes the registry that a process's collectors are registered with, and serves it.
//
// There is one registry per process and no global one: each package has its own collectors, and the wiring in
// cmd/ringside registers them. What is common to every role is registered here: the Go runtime, the process and
// the build.
package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// New makes a registry with collectors for the Go runtime and the process, and with ringside_build_info, which is
// always 1 and whose labels say what runs: the program's version and its role.
func New(version, role string) *prometheus.Registry {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "ringside_build_info",
		Help:        "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version(), "role": role},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// maxScrapes bounds how many scrapes are served at once; more are answered with 503.
const maxScrapes = 4

// Handler serves the registry in Prometheus's text formats. It is safe for concurrent use. A collector that fails
// does not hide the others: what could be gathered is served, and the failure is counted in
// promhttp_metric_handler_errors_total.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		Registry:            r,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	})
}
