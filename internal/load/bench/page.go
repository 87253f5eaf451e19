package bench

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/load"
)

//go:embed page.html.tmpl
var pageTemplate string

// WriteHTML writes the result as one page that needs nothing else: pictures are in it, and no script.
func (r *Result) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"style":   func() template.CSS { return template.CSS(chartStyle) }, //nolint:gosec // it is ours
		"reasons": load.Reasons,
		"join":    func(list []string) string { return strings.Join(list, ", ") },
		"mb":      func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) },
		"f1":      func(v float64) string { return fmt.Sprintf("%.1f", v) },
		"f2":      func(v float64) string { return fmt.Sprintf("%.2f", v) },
	}).Parse(pageTemplate)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}

// Charts are the pictures of the page.
func (r *Result) Charts() (list []template.HTML) {
	var charts []Chart
	switch {
	case r.Mode == Ramp && len(r.Phases) > 0:
		charts = append(charts, r.rampChart())
	case len(r.Phases) > 0:
		charts = append(charts, r.Phases[0].charts()...)
	}
	if curve := r.curve(); len(curve.Lines) > 0 {
		charts = append(charts, curve)
	}
	if len(r.Storms) > 0 {
		charts = append(charts, r.stormCharts()...)
	}
	if c := r.Connect; c != nil && r.Mode == Handshakes {
		charts = append(charts, Chart{Title: "Connections opened", X: "s", Y: "per second", Lines: []Line{perSecond("opened", c.slices, func(s load.Slice) int { return s.Opened })}})
	}
	for _, c := range charts {
		list = append(list, c.SVG())
	}
	return list
}

func (p *Phase) charts() []Chart {
	var p50, p99, most, rate Line
	p50.Name, p99.Name, most.Name, rate.Name = "p50", "p99", "max", "deliveries"
	for _, i := range p.Intervals {
		p50.Points = append(p50.Points, [2]float64{i.At, i.P50})
		p99.Points = append(p99.Points, [2]float64{i.At, i.P99})
		most.Points = append(most.Points, [2]float64{i.At, i.Max})
		rate.Points = append(rate.Points, [2]float64{i.At, i.Rate})
	}
	return []Chart{
		{Title: "Latency, second by second", X: "s", Y: "ms", Log: true, Lines: []Line{p50, p99, most}},
		{Title: "Deliveries", X: "s", Y: "per second", Lines: []Line{rate}},
	}
}

// rampChart has the rates in the order of their size.
func (r *Result) rampChart() Chart {
	c := Chart{Title: "Latency by rate of publishing", X: "messages/s", Y: "ms", Log: true, Lines: []Line{{Name: "p50"}, {Name: "p99"}, {Name: "limit"}}}
	for _, p := range r.byRate() {
		c.Lines[0].Points = append(c.Lines[0].Points, [2]float64{p.Rate, p.Latency.P50})
		c.Lines[1].Points = append(c.Lines[1].Points, [2]float64{p.Rate, p.Latency.P99})
		c.Lines[2].Points = append(c.Lines[2].Points, [2]float64{p.Rate, ms(r.limit)})
	}
	return c
}

// curve is the distribution of latency, of the first phases, and of connections.
func (r *Result) curve() Chart {
	c := Chart{Title: "Distribution", X: "nines: 1 is p90, 2 is p99", Y: "ms", Log: true}
	add := func(name string, h *hdr.Histogram) {
		if h == nil || h.TotalCount() == 0 || len(c.Lines) == 4 {
			return
		}
		s := Line{Name: name}
		for nines := 0.0; nines <= 4; nines += 0.125 {
			s.Points = append(s.Points, [2]float64{nines, max(0.001, ms(load.Quantile(h, 100*(1-pow10(-nines)))))})
		}
		c.Lines = append(c.Lines, s)
	}
	for _, p := range r.byRate() {
		add(fmt.Sprintf("%g/s", p.Rate), p.hist)
	}
	if r.Connect != nil && len(r.Phases) == 0 {
		add("connecting", r.Connect.hist)
	}
	return c
}

func (r *Result) stormCharts() []Chart {
	back, attempts := Chart{Title: "Subscribers that are back", X: "s", Y: "subscribers"}, Chart{Title: "Attempts", X: "s", Y: "per second"}
	for _, s := range r.Storms {
		line, sum := Line{Name: string(s.Way)}, 0
		for i, slice := range s.Slices {
			sum += slice.Opened
			line.Points = append(line.Points, [2]float64{float64(i+1) * load.Step.Seconds(), float64(sum)})
		}
		back.Lines = append(back.Lines, line)
		attempts.Lines = append(attempts.Lines, perSecond(string(s.Way), s.Slices, func(s load.Slice) int { return s.Attempts }))
	}
	return []Chart{back, attempts}
}

func perSecond(name string, list []load.Slice, of func(load.Slice) int) Line {
	s := Line{Name: name}
	for i, slice := range list {
		s.Points = append(s.Points, [2]float64{float64(i+1) * load.Step.Seconds(), float64(of(slice)) / load.Step.Seconds()})
	}
	return s
}

// byRate are the phases, the slowest first.
func (r *Result) byRate() []*Phase {
	return slices.SortedStableFunc(slices.Values(r.Phases), func(a, b *Phase) int { return cmp.Compare(a.Rate, b.Rate) })
}

func pow10(v float64) float64 { return math.Pow(10, v) }
