// Package observe has no code: its tests hold what operators look at. The alert rules do what they say, by promtool, and each has a
// runbook; a real Prometheus scrapes a real cluster by the configuration that is shipped, and no alert fires while it is well; every
// query of the board has an answer; and docs/METRICS.md lists exactly the metrics that there are.
//
// They need redis-server, prometheus and promtool: `scripts/setup redis-server prometheus`. Without them they fail.
package observe
