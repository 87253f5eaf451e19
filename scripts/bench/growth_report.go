package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/ringside-edge/ringside/internal/load/bench"
)

//go:embed growth.md.tmpl
var growthTemplate string

// growthResults are those of all axes, each of its own time. They are kept beside the document.
type growthResults struct {
	Axes map[string]*axisResult `json:"axes"`
}

// axisResult is what was seen along an axis.
type axisResult struct {
	Measured time.Time     `json:"measured"`
	Version  string        `json:"version"`
	Machine  string        `json:"machine"`
	Versions []string      `json:"versions"`
	Command  string        `json:"command"`
	Window   time.Duration `json:"window"`
	Note     string        `json:"note,omitempty"` // what is to be known of the run
	Points   []pointResult `json:"points"`
}

// growthFile is where the results of a document are kept.
func growthFile(out string) string { return filepath.Join(filepath.Dir(out), "bench", "growth.json") }

// readGrowth reads results; there are none yet when there is no file.
func readGrowth(path string) (r growthResults, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("cannot read results: %s: %w", path, err)
	}
	if r.Axes == nil {
		r.Axes = map[string]*axisResult{}
	}
	return r, nil
}

func (r growthResults) save(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// axisSection is what the document says of an axis.
type axisSection struct {
	axis
	Result   *axisResult // nil when it was not measured yet
	Pictures []string    // names of files in the folder bench
}

// writeGrowth writes the document and its pictures. What explains is in the template, and stays.
func writeGrowth(out string, r growthResults) error {
	pictures := map[string]bench.Chart{}
	t := template.New("growth").Funcs(template.FuncMap{"us": micros, "num": num, "count": count, "kb": func(v float64) string { return num(v / 1024) }, "float": toFloat})
	t.Funcs(template.FuncMap{"axis": func(name string) (string, error) {
		s, err := newSection(name, r, pictures)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		err = t.ExecuteTemplate(&b, "axis", s)
		return strings.TrimSpace(b.String()), err
	}})
	if _, err := t.Parse(growthTemplate); err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, r); err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(filepath.Dir(out), "bench"), 0o755); err != nil {
		return err
	}
	for name, c := range pictures {
		if err := os.WriteFile(filepath.Join(filepath.Dir(out), "bench", name), []byte(c.File()), 0o644); err != nil {
			return err
		}
	}
	say("writing %s", out)
	return os.WriteFile(out, []byte(strings.TrimSpace(b.String())+"\n"), 0o644)
}

// toFloat has a template count what is no float.
func toFloat(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	}
	panic(fmt.Sprintf("BUG: bench: %T is not counted", v))
}

// newSection is what there is of an axis, with its pictures.
func newSection(name string, r growthResults, pictures map[string]bench.Chart) (s axisSection, err error) {
	all := growthAxes()
	i := slices.IndexFunc(all, func(a axis) bool { return a.Name == name })
	if i < 0 {
		return s, fmt.Errorf("there is no axis %q", name)
	}
	s.axis = all[i]
	if s.Result = r.Axes[name]; s.Result == nil {
		return s, nil
	}
	for _, k := range curves {
		if c := k.draw(s); len(c.Lines) > 0 {
			file := "growth-" + name + "-" + k.name + ".svg"
			pictures[file] = c
			s.Pictures = append(s.Pictures, file)
		}
	}
	return s, nil
}

// curve is a kind of picture that axes have.
type curve struct {
	name, title, y string
	log            bool
	lines          []curveLine
}

// curveLine is a line, or one for each series where together is set.
type curveLine struct {
	name     string
	together bool // it is drawn of an axis with several series
	at       func(axisSection, pointResult) (float64, bool)
}

//nolint:gochecknoglobals // a constant in all but name
var curves = []curve{
	{"cpu", "CPU time per delivery", "µs", true, []curveLine{
		{"all", true, cpuOf(parts.All)},
		{partRouter, false, cpuOf(func(p parts) float64 { return p.Router })},
		{partGateway, false, cpuOf(func(p parts) float64 { return p.Gateway })},
		{partRedis, false, cpuOf(func(p parts) float64 { return p.Redis })},
	}},
	{"latency", "publish to receipt", "ms", true, []curveLine{
		{"p50", true, func(_ axisSection, r pointResult) (float64, bool) { return r.P50, r.timed() }},
		{"p99", true, func(_ axisSection, r pointResult) (float64, bool) { return r.P99, r.timed() }},
	}},
	{"memory", "user memory per session", "KB", false, []curveLine{
		{"all", true, memoryOfSession(parts.All)},
		{partRouter, false, memoryOfSession(func(p parts) float64 { return p.Router })},
		{partGateway, false, memoryOfSession(func(p parts) float64 { return p.Gateway })},
	}},
	{"idle", "CPU time without messages", "ms per second", false, []curveLine{
		{"router and gateway", true, func(_ axisSection, r pointResult) (float64, bool) {
			if r.Idle == nil {
				return 0, false
			}
			return r.Idle.Router + r.Idle.Gateway, true
		}},
	}},
}

func cpuOf(part func(parts) float64) func(axisSection, pointResult) (float64, bool) {
	return func(_ axisSection, r pointResult) (float64, bool) {
		v := part(r.CPU)
		return v, v > 0
	}
}

func memoryOfSession(part func(parts) float64) func(axisSection, pointResult) (float64, bool) {
	return func(s axisSection, r pointResult) (float64, bool) { return part(r.Memory) / 1024, s.Memory }
}

// timed reports whether times are the product's: the machine had something left, and there were enough of them.
func (r pointResult) timed() bool { return !r.saturated() && r.Deliveries >= leastDeliveries }

// saturated reports whether the machine, or the generator, had nothing left.
func (r pointResult) saturated() bool { return len(r.Saturated) > 0 || r.Busy > mostBusy }

// leastDeliveries is how many a p99 is worth something of, and mostBusy how busy a machine may be whose times are not its own, in percent.
const leastDeliveries, mostBusy = 100, 90

// draw draws the curve of an axis: a line for each part, or, of an axis with several series, one for each of them.
func (k curve) draw(s axisSection) bench.Chart {
	c := bench.Chart{Title: k.title, X: s.X, Y: k.y, Log: k.log, LogX: s.Log}
	var series []string
	for _, p := range s.Result.Points {
		if !slices.Contains(series, p.Series) {
			series = append(series, p.Series)
		}
	}
	for _, name := range series {
		for _, l := range k.lines {
			if len(series) > 1 && !l.together {
				continue
			}
			line := bench.Line{Name: l.name}
			if name != "" {
				line.Name = name
				if len(k.lines) == 2 {
					line.Name += ", " + l.name
				}
			}
			for _, p := range s.Result.Points {
				if v, ok := l.at(s, p); ok && p.Series == name {
					line.Points = append(line.Points, [2]float64{p.X, v})
				}
			}
			if len(line.Points) > 0 {
				c.Lines = append(c.Lines, line)
			}
		}
	}
	return c
}

// Still is what is the same at all points.
func (s axisSection) Still() string {
	var list []string
	same := func(of func(pointResult) float64, one, many string) {
		v := of(s.Result.Points[0])
		if v > 0 && !slices.ContainsFunc(s.Result.Points, func(r pointResult) bool { return of(r) != v && r.Routers+r.Gateways > 0 }) {
			list = append(list, count(v)+" "+map[bool]string{true: one, false: many}[v == 1])
		}
	}
	same(func(r pointResult) float64 { return float64(r.Sessions) }, "session", "sessions")
	same(func(r pointResult) float64 { return float64(r.Topics) }, "topic", "topics")
	same(func(r pointResult) float64 { return float64(r.Routers) }, "router", "routers")
	same(func(r pointResult) float64 { return float64(r.Gateways) }, "gateway", "gateways")
	same(func(r pointResult) float64 { return float64(r.Size) }, "byte", "bytes in a message")
	same(func(r pointResult) float64 { return r.Rate }, "message per second", "messages per second, over all topics")
	return strings.Join(list, ", ")
}

// HasIdle reports whether the axis was measured without messages.
func (s axisSection) HasIdle() bool {
	return slices.ContainsFunc(s.Result.Points, func(r pointResult) bool { return r.Idle != nil })
}

// HasMessages reports whether it was measured with some.
func (s axisSection) HasMessages() bool {
	return slices.ContainsFunc(s.Result.Points, func(r pointResult) bool { return r.Messages > 0 })
}

// Series reports whether it has several.
func (s axisSection) Series() bool { return s.Result.Points[0].Series != "" }

// Faults are what did not arrive as it should, at which point.
func (s axisSection) Faults() (list []string) {
	for _, r := range s.Result.Points {
		for what, n := range map[string]int64{"deliveries were lost": r.Lost, "were repeated": r.Repeated, "were out of order": r.OutOfOrder,
			"connections were lost": r.Closed, "messages were not taken": int64(r.Untaken)} {
			if n > 0 {
				list = append(list, fmt.Sprintf("%s %s: %s %s", strings.TrimSpace(r.Series+" "+count(r.X)), s.X, count(float64(n)), what))
			}
		}
	}
	slices.Sort(list)
	return list
}

// Noise is what else is to be known of the machine.
func (s axisSection) Noise() (list []string) {
	others := 0.0
	if s.Result.Note != "" {
		list = append(list, s.Result.Note)
	}
	for _, r := range s.Result.Points {
		others = max(others, r.Others)
		if r.Silences > 0 {
			list = append(list, fmt.Sprintf("%s %s: while sessions were opened, heartbeats of gateways came so late that routers took them for gone, %s times", strings.TrimSpace(r.Series+" "+count(r.X)), s.X, count(float64(r.Silences))))
		}
	}
	if others > othersMax {
		list = append(list, fmt.Sprintf("The machine was not quiet: other programs used up to %.0f %% of it", others))
	}
	return list
}

// Deliveries is how many there were.
func (s axisSection) Deliveries() string {
	n := int64(0)
	for _, r := range s.Result.Points {
		n += r.Deliveries
	}
	return count(float64(n))
}

// PerMessage is the CPU time of all parts for each message, µs, beyond what they use without any where that was measured.
func (r pointResult) PerMessage() string {
	if r.Messages == 0 {
		return "–"
	}
	return count(float64(int64(r.CPU.All() * float64(r.Deliveries) / float64(r.Messages))))
}

// Latency are the quantiles as the table shows them.
func (r pointResult) Latency() string {
	switch {
	case r.Deliveries < leastDeliveries:
		return fmt.Sprintf("(%s, %s)", num(r.P50), num(r.P99))
	case r.saturated():
		return fmt.Sprintf("(%s, %s) saturated", num(r.P50), num(r.P99))
	}
	return num(r.P50) + ", " + num(r.P99)
}
