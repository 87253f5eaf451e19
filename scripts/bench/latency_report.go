package main

import (
	_ "embed"
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/load"
)

//go:embed latency.md.tmpl
var latencyTemplate string

// What is asked of the way of a message, from publish to socket, in ms.
const (
	p50Max = 2.0
	p99Max = 10.0
)

// latencyData is what the template is filled with.
type latencyData struct {
	Date     string
	Machine  string
	Versions []string
	Command  string
	Subs     int
	Topics   int
	Each     int // subscribers of a topic
	Rate     float64
	Size     int
	Lanes    int // HTTP connections
	Warmup   time.Duration
	Window   time.Duration
	Idle     time.Duration
	Goals    []goal
	Ways     []way
	Missing  int64
	Others   float64 // percent of the machine that other programs used, where it was most
}

// Noisy reports that the machine was not quiet.
func (d latencyData) Noisy() bool { return d.Others > othersMax }

// othersMax is how much of a machine that counts as quiet other programs may use, in percent.
const othersMax = 10

func latencyReport(o latencyOptions, started time.Time, ways []way) latencyData {
	d := latencyData{
		Date:     started.UTC().Format(time.DateOnly),
		Machine:  machine(),
		Versions: versions(),
		Command:  o.command,
		Subs:     o.subscribers,
		Topics:   o.topics,
		Each:     o.subscribers / o.topics,
		Rate:     o.rate,
		Size:     o.size,
		Lanes:    o.connections,
		Warmup:   o.warmup,
		Window:   o.window,
		Idle:     o.idle,
		Ways:     ways,
	}
	for i := range ways {
		w := &ways[i]
		d.Missing += w.Missing
		d.Others = max(d.Others, w.Idle.Others(), w.Busy.Others())
		for _, g := range []struct{ q, limit float64 }{{50, p50Max}, {99, p99Max}} {
			what := fmt.Sprintf("p%.0f, %s, %s", g.q, w.Publisher(), w.Cluster())
			d.Goals = append(d.Goals, goal{what, g.limit, inMillis(load.Quantile(w.total, g.q)), "ms"})
		}
	}
	return d
}

// Publisher names the way to publish.
func (w *way) Publisher() string {
	if w.Via == viaPost {
		return "`POST /publish`"
	}
	return "`XADD`"
}

// Cluster names the number of gateways.
func (w *way) Cluster() string {
	if w.Gateways == 1 {
		return "1 gateway"
	}
	return fmt.Sprintf("%d gateways", w.Gateways)
}

// Percent is the share of the frames that came before the publisher had its answer.
func (w *way) Percent() float64 { return 100 * w.Ahead }

// part is a line of the table of latencies: quantiles in ms.
type part struct {
	What                     string
	P50, P90, P99, P999, Max float64
}

// Parts are the whole way and what it is made of.
func (w *way) Parts() []part {
	return []part{
		newPart("**due → socket**", w.total),
		newPart("due → sent", w.late),
		newPart("sent → answered", w.call),
		newPart("answered → socket", w.after),
	}
}

func newPart(what string, h *hdr.Histogram) part {
	q := func(q float64) float64 { return inMillis(load.Quantile(h, q)) }
	return part{what, q(50), q(90), q(99), q(99.9), q(100)}
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
