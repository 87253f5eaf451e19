package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/load/bench"
)

//go:embed handshakes.md.tmpl
var handshakesTemplate string

// handshakesBegin begins the section of BENCHMARKS.md that is of handshakes.
const handshakesBegin = "## Handshakes"

// handshakesData is what the template is filled with.
type handshakesData struct {
	Begin, Date, Machine, Command        string
	Versions                             []string
	Subscribers, Topics, Dialers, Rounds int
	Kinds                                []handshakeKind
	Busy                                 bool
}

// handshakeKind is the table of one kind of connections.
type handshakeKind struct {
	Name   string
	Rows   []handshakeRow
	Ratios []handshakeRatio
}

// handshakeRow is a way's line: medians over the rounds.
type handshakeRow struct {
	Way, Parts           string
	Rate, Least, Most    float64
	CPU, LeastC, MostC   float64 // of all but Redis and the generator, µs
	Redis, P50, P99, Gen float64
}

// handshakeRatio is what ours has over what another has, in the same round.
type handshakeRatio struct {
	Ours, Theirs                         string
	Rate, RateLeast, RateMost            float64
	Cheaper, CheaperLeast, CheaperMostly float64 // CPU of theirs over ours
}

// roundCost is the CPU time of a connection in all servers but Redis, µs, and by process.
func roundCost(r *bench.Result) (sum float64, parts string) {
	for _, u := range r.Used {
		if u.Name == "redis" || strings.HasPrefix(u.Name, "(") {
			continue
		}
		sum += u.PerDelivery
		parts += map[bool]string{true: ", "}[parts != ""] + fmt.Sprintf("%s %.0f", u.Name, u.PerDelivery)
	}
	return sum, parts
}

func redisOf(r *bench.Result) float64 {
	for _, u := range r.Used {
		if u.Name == "redis" {
			return u.PerDelivery
		}
	}
	return 0
}

// generatorOf is how many cores the processes of subscribers kept busy.
func generatorOf(r *bench.Result) (cores float64) {
	for _, u := range r.Used {
		if strings.HasPrefix(u.Name, "(") {
			cores += u.Cores
		}
	}
	return cores
}

// eachRound is f of each round.
func eachRound(results []*bench.Result, f func(*bench.Result) float64) (list []float64) {
	for _, r := range results {
		list = append(list, f(r))
	}
	return list
}

func roundRate(r *bench.Result) float64 { return r.Connect.Rate }

func roundCPU(r *bench.Result) float64 {
	sum, _ := roundCost(r)
	return sum
}

func (r *handshakeRun) report() handshakesData {
	d := handshakesData{Begin: handshakesBegin, Date: r.started.UTC().Format(time.DateOnly), Machine: machine(), Command: r.o.command, Versions: versions(armHAProxy),
		Subscribers: r.o.subscribers, Topics: r.o.topics, Dialers: r.o.dialers, Rounds: r.o.rounds}
	d.Versions = append(d.Versions, slices.DeleteFunc(peerVersions(), func(v string) bool { return !strings.Contains(v, "centrifuge") })...)
	for _, kind := range []string{kindLeaves, kindStays} {
		k := handshakeKind{Name: kind}
		for _, w := range r.ways {
			list := r.results[kind][w.name]
			if len(list) == 0 {
				continue
			}
			rates, costs := eachRound(list, roundRate), eachRound(list, roundCPU)
			row := handshakeRow{Way: w.name, Rate: median(rates), Least: slices.Min(rates), Most: slices.Max(rates), CPU: median(costs), LeastC: slices.Min(costs), MostC: slices.Max(costs),
				Redis: median(eachRound(list, redisOf)), Gen: median(eachRound(list, generatorOf)),
				P50: median(eachRound(list, func(r *bench.Result) float64 { return r.Connect.Percentiles.P50 })),
				P99: median(eachRound(list, func(r *bench.Result) float64 { return r.Connect.Percentiles.P99 }))}
			row.Parts = partsOf(list)
			k.Rows = append(k.Rows, row)
			for _, res := range list {
				d.Busy = d.Busy || res.Busy
			}
		}
		for _, pair := range [][2]string{{"router + gateway", "haproxy + centrifuge"}, {"router + gateway", "haproxy + gateway"}, {"gateway", "centrifuge"},
			{"router + gateway", "router + gateway, before"}, {"gateway", "gateway, before"}} {
			if x, ok := ratioOf(pair, r.results[kind]); ok {
				k.Ratios = append(k.Ratios, x)
			}
		}
		d.Kinds = append(d.Kinds, k)
	}
	return d
}

// partsOf are the medians of each process.
func partsOf(list []*bench.Result) (text string) {
	for i, u := range list[0].Used {
		if u.Name != "redis" && !strings.HasPrefix(u.Name, "(") {
			text += map[bool]string{true: ", "}[text != ""] + fmt.Sprintf("%s %.0f", u.Name, median(eachRound(list, func(r *bench.Result) float64 { return r.Used[i].PerDelivery })))
		}
	}
	return text
}

// ratioOf is that of a pair, round by round.
func ratioOf(pair [2]string, results map[string][]*bench.Result) (x handshakeRatio, ok bool) {
	ours, theirs := results[pair[0]], results[pair[1]]
	if len(ours) == 0 || len(ours) != len(theirs) {
		return x, false
	}
	var rates, costs []float64
	for i := range ours {
		rates, costs = append(rates, roundRate(ours[i])/roundRate(theirs[i])), append(costs, roundCPU(theirs[i])/roundCPU(ours[i]))
	}
	return handshakeRatio{Ours: pair[0], Theirs: pair[1], Rate: median(rates), RateLeast: slices.Min(rates), RateMost: slices.Max(rates),
		Cheaper: median(costs), CheaperLeast: slices.Min(costs), CheaperMostly: slices.Max(costs)}, true
}

// write writes the section, and leaves the rest of the file as it is.
func (r *handshakeRun) write() error {
	text, err := render(handshakesTemplate, r.report())
	if err != nil {
		return err
	}
	return writeSection(r.o.out, handshakesBegin, text)
}
