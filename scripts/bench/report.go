package main

import (
	_ "embed"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

//go:embed report.md.tmpl
var reportTemplate string

// What is asked of Ringside. The report says of each whether it was met.
const (
	idleRouterMax  = 1024.0 // bytes of user memory per idle session
	idleGatewayMax = 1536.0
	routerMax      = 12.0 // µs of CPU per delivered message
	gatewayMax     = 10.0
	ratioMax       = 1.0  // CPU of the router over that of the better proxy
	memoryShareMax = 0.25 // idle memory of the router over that of HAProxy
)

// reportData is what the template is filled with.
type reportData struct {
	Date     string
	Machine  string
	Versions []string
	Command  string
	Size     int
	Subs     int
	Few      int // sessions of the first step of the memory measurement
	Further  int // and of the second
	Window   time.Duration
	Rounds   int
	Memory   []memorySample
	Rates    []rateTable
	Goals    []goal
	Missing  int64
	LeftOut  []string
}

// rateTable is the result at one rate: a row for each arm.
type rateTable struct {
	Rate   float64
	Rows   []row
	Ratios []ratio
}

// row is an arm's result: medians over the rounds.
type row struct {
	Arm            string
	Proxy, Gateway float64 // µs per delivery; Proxy is NaN without one
	Low, High      float64 // the extremes of Proxy over the rounds
	P50, P99, Max  time.Duration
}

// ratio compares the router's CPU with another's, round by round.
type ratio struct {
	Against string
	Median  float64
	Rounds  []float64
}

// goal is a limit and what was measured.
type goal struct {
	What     string
	Limit    float64
	Measured float64
	Unit     string
}

// Met reports whether the limit was kept.
func (g goal) Met() string {
	switch {
	case math.IsNaN(g.Measured):
		return "not measured"
	case g.Measured <= g.Limit:
		return "yes"
	}
	return "**no**"
}

// write makes the report.
func (m *measurement) write() error {
	return fill(reportTemplate, m.o.out, m.report())
}

// fill writes a template with its data to a file, and keeps what is written by itself; to the standard output for "-".
func fill(text, out string, data any) error {
	report, err := render(text, data)
	if err != nil {
		return err
	}
	if out == "-" {
		fmt.Print(report)
		return nil
	}
	old, err := readOld(out)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, []byte(withSections(report, old, nil)), 0o644); err != nil {
		return err
	}
	say("wrote %s", out)
	return nil
}

func (m *measurement) report() reportData {
	d := reportData{
		Date:     m.started.UTC().Format(time.DateOnly),
		Machine:  machine(),
		Versions: versions(armHAProxy, armNginx),
		Command:  m.o.command,
		Size:     m.o.size,
		Subs:     m.o.subscribers,
		Few:      m.o.subscribers / fewShare,
		Further:  m.o.subscribers - m.o.subscribers/fewShare,
		Window:   m.o.window,
		Rounds:   m.o.rounds,
		Memory:   m.memory,
	}
	for _, rate := range m.o.rates {
		d.Rates = append(d.Rates, m.rateTable(rate))
	}
	for _, s := range m.samples {
		d.Missing += s.Missing
	}
	for _, name := range []string{armHAProxy, armNginx} {
		if !slices.ContainsFunc(m.stage.arms, func(a arm) bool { return a.Name == name }) {
			d.LeftOut = append(d.LeftOut, name)
		}
	}
	d.Goals = m.goals(d.Rates)
	return d
}

func (m *measurement) rateTable(rate float64) rateTable {
	t := rateTable{Rate: rate}
	for _, a := range m.stage.arms {
		proxy := m.series(a.Name, rate, func(s sample) float64 { return inMicros(s.Proxy) })
		r := row{
			Arm:     a.Name,
			Proxy:   median(proxy),
			Low:     slices.Min(proxy),
			High:    slices.Max(proxy),
			Gateway: median(m.series(a.Name, rate, func(s sample) float64 { return inMicros(s.Gateway) })),
			P50:     time.Duration(median(m.series(a.Name, rate, func(s sample) float64 { return float64(s.P50) }))),
			P99:     time.Duration(median(m.series(a.Name, rate, func(s sample) float64 { return float64(s.P99) }))),
			Max:     time.Duration(median(m.series(a.Name, rate, func(s sample) float64 { return float64(s.Max) }))),
		}
		if a.pid == 0 {
			r.Proxy, r.Low, r.High = math.NaN(), math.NaN(), math.NaN()
		}
		t.Rows = append(t.Rows, r)
	}
	ours := m.series(armRouter, rate, func(s sample) float64 { return inMicros(s.Proxy) })
	for _, name := range []string{armHAProxy, armNginx} {
		theirs := m.series(name, rate, func(s sample) float64 { return inMicros(s.Proxy) })
		if len(theirs) == len(ours) {
			t.Ratios = append(t.Ratios, newRatio(name, ours, theirs))
		}
	}
	return t
}

func newRatio(against string, ours, theirs []float64) ratio {
	r := ratio{Against: against}
	for i := range ours {
		r.Rounds = append(r.Rounds, ours[i]/theirs[i])
	}
	r.Median = median(r.Rounds)
	return r
}

// series is one value of an arm's samples at a rate, round by round.
func (m *measurement) series(name string, rate float64, f func(sample) float64) []float64 {
	var list []float64
	for _, s := range m.samples {
		if s.Arm == name && s.Rate == rate {
			list = append(list, f(s))
		}
	}
	return list
}

func (m *measurement) goals(rates []rateTable) []goal {
	router, gateway, haproxy := m.perSession(armRouter), m.perSession(gatewayName), m.perSession(armHAProxy)
	goals := []goal{
		{"idle session, router", idleRouterMax, router, "B"},
		{"idle session, gateway", idleGatewayMax, gateway, "B"},
		{"idle session, router over HAProxy", memoryShareMax, router / haproxy, "×"},
	}
	for _, t := range rates {
		at := fmt.Sprintf(" at %g/s", t.Rate)
		ours := t.Rows[0] // the router is the first arm
		goals = append(goals,
			goal{"CPU per delivery, gateway" + at, gatewayMax, ours.Gateway, "µs"},
			goal{"CPU per delivery, router" + at, routerMax, ours.Proxy, "µs"})
		worst := math.NaN()
		for _, r := range t.Ratios { // the better proxy is the one that we look worse against
			if !(worst > r.Median) {
				worst = r.Median
			}
		}
		goals = append(goals, goal{"CPU per delivery, router over the better proxy" + at, ratioMax, worst, "×"})
	}
	return goals
}

// perSession is NaN when it was not measured.
func (m *measurement) perSession(process string) float64 {
	for _, s := range m.memory {
		if s.Process == process {
			return s.PerSession()
		}
	}
	return math.NaN()
}
