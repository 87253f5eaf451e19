package main

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed report.md.tmpl
var reportTemplate string

// line is a row of a seed's table.
type line struct{ What, Value string }

// table is what a seed came to, row by row.
func (r *result) table() []line {
	v := r.verdict
	rows := []line{{"faults", r.faults()}}
	rows = append(rows,
		line{"sessions, and topics followed by them", fmt.Sprintf("%d, %d", r.sessions, r.tracks)},
		line{"sessions moved to another gateway, at least", fmt.Sprintf("%.0f", r.moves)},
		line{"published: acknowledged, refused, ambiguous", fmt.Sprintf("%d, %d, %d",
			v.Published[outcomeOK], v.Published[outcomeFailed], v.Published[outcomeAmbiguous])},
		line{"messages in Redis", fmt.Sprint(v.Entries)},
		line{"deliveries checked", fmt.Sprint(v.Deliveries)},
		line{"gaps told, deliveries that they stand for", fmt.Sprintf("%d, %d", v.Gaps, v.Gapped)},
		line{"of them because a session that reads without pauses fell behind", fmt.Sprint(v.HealthyGap)},
	)
	rows = append(rows, r.redisTable()...)
	rows = append(rows,
		line{"connections closed with their router", fmt.Sprint(r.expected)},
		line{"closed inside a message that Redis had lost, of clients that read slowly", fmt.Sprint(r.severed)},
		line{"connections closed against the rules", fmt.Sprint(r.against)},
		line{"attempts to connect that failed", fmt.Sprint(r.attempts)},
		line{"lost", fmt.Sprint(v.Counts[badLost])},
		line{"repeated", fmt.Sprint(v.Counts[badRepeated])},
		line{"out of order", fmt.Sprint(v.Counts[badOrder])},
		line{"changed or invented", fmt.Sprint(v.Counts[badPayload] + v.Counts[badPhantom])},
		line{"longest silence", fmt.Sprintf("%.2f s (%s; %s)", v.Silence.Seconds(), r.near(v.SilenceAt), v.SilenceOf)},
		line{"nodes disagreed at the longest: after a change, a split", fmt.Sprintf("%.1f s, %.1f s", r.agreed.Seconds(), r.rejoined.Seconds())},
	)
	for _, m := range r.memory {
		if m.After == 0 {
			rows = append(rows, line{"memory of the largest " + m.Role, "not measured: there is no /proc"})
			continue
		}
		rows = append(rows, line{"memory of the largest " + m.Role + ", before and after",
			fmt.Sprintf("%.1f MiB, %.1f MiB (%.0f s)", mib(m.Before), mib(m.After), m.Took.Seconds())})
	}
	return append(rows, line{"violations", fmt.Sprint(v.bad())})
}

// redisTable is what the faults of Redis came to, if there were any.
func (r *result) redisTable() []line {
	v := r.verdict
	if !slices.ContainsFunc(allFaults, func(f string) bool { return ofRedis(f) && r.done[f] > 0 }) {
		return nil
	}
	return []line{
		{"messages that Redis lost by a fault, lives of streams that ended", fmt.Sprintf("%d, %d", v.Gone, v.Losses)},
		{"gaps told because of that", fmt.Sprint(v.EpochGaps)},
		{"of new lives, deliveries that those gaps stand for", fmt.Sprint(v.Skipped)},
		{"lost before anybody had seen it, so that no gap was told", fmt.Sprint(v.Unseen)},
		{"sessions told that a topic is stale", fmt.Sprint(v.Stale)},
		{"of those connected while Redis was silent, told and cleared after", fmt.Sprintf("%d, %.1f s (%s), %.1f s at most",
			v.Outages, v.ToldAfter.Seconds(), v.ToldLast, v.ClearAfter.Seconds())},
		{"told of a gap, or lost without one, against the rules", fmt.Sprint(v.Counts[badGap] + v.Counts[badEpoch] + v.Counts[badUntold])},
	}
}

// faults says how many faults of each kind were made.
func (r *result) faults() string {
	var parts []string
	for _, f := range allFaults {
		if n := r.done[f]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, f))
		}
		if why := r.skipped[f]; why != "" {
			parts = append(parts, f+" not covered: "+why)
		}
	}
	storms := map[time.Duration]bool{}
	for _, s := range r.steps {
		if s.Storm {
			storms[s.At] = true
		}
	}
	text := strings.Join(parts, ", ")
	switch n := len(storms); n {
	case 0:
	case 1:
		text += "; some of them in a storm"
	default:
		text += fmt.Sprintf("; some of them in %d storms", n)
	}
	return text
}

// print shows a seed's table and what was violated.
func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "\nseed %d, %.0f s\n", r.seed, r.took.Seconds())
	for _, l := range r.table() {
		fmt.Fprintf(w, "  %-56s %s\n", l.What, l.Value)
	}
	for _, x := range r.verdict.Violations {
		fmt.Fprintf(w, "VIOLATED %-9s %7.2fs of the faults (%s)  %s\n", x.Kind, (x.At - r.began).Seconds(), r.near(x.At), x.Text)
	}
	if r.logs != "" {
		fmt.Fprintf(w, "logs: %s\n", r.logs)
	}
	fmt.Fprintln(w)
}

// near names the newest fault that had begun by a moment of the run.
func (r *result) near(at time.Duration) string {
	name := "before any fault"
	for _, s := range r.steps {
		if r.began+s.At <= at {
			name = strings.TrimSpace(s.Fault + " " + s.Target)
		}
	}
	return name
}

// writeReport writes the results of all seeds.
func writeReport(o options, results []*result) error {
	type seed struct {
		Seed  uint64
		Rows  []line
		Found []violation
		Again string
	}
	d := struct {
		Date, Machine, Redis, Command string
		Told, Clear                   float64
		Duration                      time.Duration
		Seeds                         []seed
		Bad                           int
	}{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: machine(), Redis: redisVersion(),
		Command:  fmt.Sprintf("%s -seed=%d -seeds=%d", o.command, o.seed, o.seeds),
		Duration: o.duration, Told: inTime.Told.Seconds(), Clear: inTime.Clear.Seconds(),
	}
	for _, r := range results {
		d.Seeds = append(d.Seeds, seed{r.seed, r.table(), r.verdict.Violations, r.replay})
		d.Bad += r.verdict.bad()
	}
	t, err := template.New("report").Parse(reportTemplate)
	if err != nil {
		return err
	}
	var w io.Writer = os.Stdout
	if o.out != "-" {
		f, err := os.Create(o.out)
		if err != nil {
			return err
		}
		defer f.Close()
		w = f
	}
	if err := t.Execute(w, d); err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	return nil
}

// machine describes where the run took place.
func machine() string {
	cpu := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s, %s, %s", runtime.NumCPU(), cpu, runtime.GOOS, runtime.Version())
}

func redisVersion() string {
	b, err := exec.Command("redis-server", "--version").Output()
	if err != nil {
		return "unknown"
	}
	for _, f := range strings.Fields(string(b)) {
		if v, ok := strings.CutPrefix(f, "v="); ok {
			return v
		}
	}
	return "unknown"
}
