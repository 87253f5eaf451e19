package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/load/bench"
)

//go:embed peers.md.tmpl
var peersTemplate string

// peersBegin begins the section of BENCHMARKS.md that is of peers.
const peersBegin = "## Beside other servers"

// peersData is what the template is filled with.
type peersData struct {
	Begin, Date, Machine, Command     string
	Versions, Warnings                []string
	Subscribers, Topics, Size, Rounds int
	Rate                              float64
	Limit                             time.Duration
	Lost                              int64
	Goals                             []goal
	Rows                              []peerRow
	Pictures                          []peerPicture
}

// peerRow is a server's line: medians over the rounds.
type peerRow struct {
	Beside, Server                     string
	P50, P99, CPU, Redis, Memory, Knee float64
	Knees                              string
}

type peerPicture struct{ Title, File string }

func (r *peerRun) report() peersData {
	d := peersData{Begin: peersBegin, Date: r.started.UTC().Format(time.DateOnly), Machine: machine(), Command: r.o.command, Versions: versions(armHAProxy, armNginx),
		Subscribers: r.o.subscribers, Topics: r.o.topics, Size: r.o.size, Rounds: r.o.rounds, Rate: r.o.rate, Limit: peerLimit}
	d.Versions = append(d.Versions, peerVersions()...)
	for _, p := range r.pairs {
		switch p.Peer {
		case peerAlone:
			d.Goals = append(d.Goals, p.goals(r.o.subscribers)...)
		case peerAnyCable:
			d.Goals = append(d.Goals, p.highest())
		}
		for i, results := range p.results {
			row := peerRow{Beside: p.Peer, Server: "ringside"}
			if i > 0 {
				row.Beside, row.Server = "", p.Peer
			}
			row.fill(results, r.o.subscribers)
			d.Rows = append(d.Rows, row)
			for _, one := range results {
				d.Lost += one.phase.Lost + one.phase.Repeated
				for _, w := range one.phase.Warnings {
					if w = fmt.Sprintf("%s, beside %s: %s", row.Server, p.Peer, w); !slices.Contains(d.Warnings, w) && len(d.Warnings) < mostWarnings {
						d.Warnings = append(d.Warnings, w)
					}
				}
			}
		}
	}
	return d
}

// goals are what the whole chain is to cost beside another server alone. Where it is to reach more, it is the other's share that is bounded.
func (p pair) goals(subscribers int) []goal {
	cpu := func(o one) float64 { return o.cpu(true) + o.cpu(false) }
	p99 := func(o one) float64 { return o.phase.Latency.P99 }
	var costs, memory []float64
	for _, o := range p.results[0] {
		costs, memory = append(costs, cpu(o)), append(memory, float64(o.pss)/float64(subscribers))
	}
	return []goal{
		{"CPU per delivery of router, gateway and Redis", 10, median(costs), "µs"},
		{"the same over " + p.Peer + " alone and Redis", 0.5, p.ratio(cpu), "×"},
		{"memory per subscriber of router and gateway", 1024, median(memory), "B"},
		{"p99 over " + p.Peer + " alone", 0.5, p.ratio(p99), "×"},
		p.highest(),
	}
}

// highest is the goal for the knee.
func (p pair) highest() goal {
	return goal{"highest rate of " + p.Peer + " alone over ours", 0.5, p.ratio(func(o one) float64 { return 1 / o.ramp.Knee }), "×"}
}

// ratio is ours over theirs, the median over the rounds.
func (p pair) ratio(f func(one) float64) float64 {
	var list []float64
	for i, ours := range p.results[0] {
		list = append(list, f(ours)/f(p.results[1][i]))
	}
	return median(list)
}

// cpu is the CPU time per delivery of Redis, or of all others, µs.
func (o one) cpu(redis bool) (sum float64) {
	for _, u := range o.phase.Processes {
		if (u.Name == "redis") == redis {
			sum += u.PerDelivery
		}
	}
	return sum
}

// mostWarnings is how many of them the report tells.
const mostWarnings = 5

func (w *peerRow) fill(results []one, subscribers int) {
	of := func(f func(one) float64) float64 {
		var list []float64
		for _, r := range results {
			list = append(list, f(r))
		}
		return median(list)
	}
	cpu := func(redis bool) func(one) float64 { return func(o one) float64 { return o.cpu(redis) } }
	w.P50, w.P99 = of(func(o one) float64 { return o.phase.Latency.P50 }), of(func(o one) float64 { return o.phase.Latency.P99 })
	w.CPU, w.Redis = of(cpu(false)), of(cpu(true))
	w.Memory = of(func(o one) float64 { return float64(o.pss) / 1024 / float64(subscribers) })
	w.Knee = of(func(o one) float64 { return o.ramp.Knee })
	var knees []string
	for _, r := range results {
		knees = append(knees, fmt.Sprintf("%g", r.ramp.Knee))
	}
	w.Knees = strings.Join(knees, ", ")
}

// peerVersions are those of the servers of others.
func peerVersions() (list []string) {
	for file, name := range map[string]string{"scripts/peers/centrifuge/go.mod": "github.com/centrifugal/centrifuge ", "scripts/peers/anycable/go.mod": "github.com/anycable/anycable-go ",
		"internal/e2e/testdata/iopeer/package.json": `"socket.io": "`} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if _, rest, ok := strings.Cut(string(text), name); ok {
			rest, _, _ = strings.Cut(rest, "\n")
			list = append(list, strings.Trim(name, `": `)+" "+strings.Trim(rest, `",`))
		}
	}
	slices.Sort(list)
	return list
}

// write writes the section, and leaves the rest of the file as it is.
func (r *peerRun) write() error {
	d := r.report()
	if r.o.out != "-" {
		if err := r.pictures(&d); err != nil {
			return err
		}
	}
	section, err := render(peersTemplate, d)
	if err != nil {
		return err
	}
	return writeSection(r.o.out, peersBegin, section)
}

// pictures draws the way to the knee of each pair: the round whose knee is the median's.
func (r *peerRun) pictures(d *peersData) error {
	dir := filepath.Join(filepath.Dir(r.o.out), "bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range r.pairs {
		c := bench.Chart{Title: "ringside beside " + p.Peer, X: "messages/s", Y: "ms", Log: true}
		for i, results := range p.results {
			name := map[int]string{0: "ringside", 1: p.Peer}[i]
			c.Lines = append(c.Lines, rampLine(name+", p99", middle(results)))
		}
		file := "peer-" + strings.NewReplacer(" ", "", "+", "-", ".", "").Replace(p.Peer) + ".svg"
		if err := os.WriteFile(filepath.Join(dir, file), []byte(c.File()), 0o644); err != nil {
			return err
		}
		d.Pictures = append(d.Pictures, peerPicture{"p99 by rate of publishing: " + c.Title, "bench/" + file})
	}
	return nil
}

// middle is the round whose knee is nearest to the median.
func middle(results []one) *bench.Result {
	var knees []float64
	for _, r := range results {
		knees = append(knees, r.ramp.Knee)
	}
	m := median(knees)
	return slices.MinFunc(results, func(a, b one) int { return cmp.Compare(math.Abs(a.ramp.Knee-m), math.Abs(b.ramp.Knee-m)) }).ramp
}

func rampLine(name string, r *bench.Result) bench.Line {
	l := bench.Line{Name: name}
	for _, p := range r.Phases {
		l.Points = append(l.Points, [2]float64{p.Rate, p.Latency.P99})
	}
	slices.SortFunc(l.Points, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
	return l
}
