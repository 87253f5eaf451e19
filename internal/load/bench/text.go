package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/ringside-edge/ringside/internal/load"
)

// WriteText writes the result for a person.
func (r *Result) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line(string(r.Mode), "%d subscribers (%d processes), %d topics, %s at %s", r.Subscribers, r.Processes, r.Topics, r.Template, strings.Join(r.Targets, ", "))
	if r.Interrupted {
		line("", "interrupted after %.1f s", r.Took)
	}
	if c := r.Connect; c != nil {
		line("connections", "%d of %d opened in %.2f s, %.0f/s; %d attempts, %d refused, %d failed", c.Opened, c.Wanted, c.Seconds, c.Rate, c.Attempts, c.Refused, c.Failed)
		line("  ms", "%s", percentiles(c.Percentiles))
		if len(c.Reasons) > 0 {
			line("  errors", "%s", load.Reasons(c.Reasons))
		}
	}
	for _, u := range r.Used {
		line("  "+u.Name, "%.1f s of CPU, %.2f cores, %.1f µs per connection%s", u.CPUSeconds, u.Cores, u.PerDelivery, memory(u.PSS))
	}
	if r.Busy {
		line("  WARNING", "a process of subscribers was busy all the time: the rate may be its own; take more --processes")
	}
	for _, p := range r.Phases {
		p.text(r, line)
	}
	for _, s := range r.Storms {
		s.text(line)
	}
	if r.Mode == Ramp {
		r.knee(line)
	}
	for _, f := range r.Failures() {
		line("FAILED", "%s", f)
	}
	return out.Flush()
}

func (r *Result) knee(line func(name, format string, args ...any)) {
	switch {
	case r.Knee == 0:
		line("knee", "not even %g messages/s held", r.Beyond)
	case r.Beyond == 0:
		line("knee", "not reached: %g messages/s held", r.Knee)
	default:
		line("knee", "%g messages/s held, %g did not", r.Knee, r.Beyond)
	}
}

func (p *Phase) text(r *Result, line func(name, format string, args ...any)) {
	name := fmt.Sprintf("%g messages/s", p.Rate)
	if r.Mode == Ramp {
		name += map[bool]string{true: ", held", false: ", NOT held"}[p.Held]
	}
	line(name, "%s", p.Why)
	line("  published", "%d in %.1f s, %d taken; late by p50 %.2f, p99 %.2f ms; answered in p50 %.2f, p99 %.2f ms", p.Published, p.Seconds, p.Acknowledged,
		p.Late.P50, p.Late.P99, p.Call.P50, p.Call.P99)
	line("  delivered", "%d of %d, %.0f/s, %.2f MB/s", p.Delivered, p.Expected, p.DeliveryRate, p.MBps)
	line("  latency ms", "%s", percentiles(p.Latency))
	line("  wrong", "%d lost, %d repeated, %d out of order, %d connections lost", p.Lost, p.Repeated, p.OutOfOrder, p.LostConnections)
	if len(p.Errors) > 0 {
		line("  errors", "%s", load.Reasons(p.Errors))
	}
	for _, u := range p.Processes {
		line("  "+u.Name, "%.2f cores, %.2f µs of CPU per delivery%s", u.Cores, u.PerDelivery, memory(u.PSS))
	}
	for _, u := range p.Generator {
		line("  ("+u.Name+")", "%.2f cores, %.2f µs of CPU per delivery", u.Cores, u.PerDelivery)
	}
	for _, w := range p.Warnings {
		line("  WARNING", "%s", w)
	}
}

func (s *StormResult) text(line func(name, format string, args ...any)) {
	line("storm, "+string(s.Way), "%d of %d back; half after %.2f s, 99 %% after %.2f s, all after %.2f s", s.Back, s.Of, s.Half, s.Most, s.All)
	line("  attempts", "%d, %d refused, %d failed; %d came back in the busiest second", s.Attempts, s.Refused, s.Abandoned, s.Busiest)
	if len(s.Reasons) > 0 {
		line("  errors", "%s", load.Reasons(s.Reasons))
	}
	if s.Published > 0 {
		line("  messages", "%d published, %d delivered, %d lost, %d repeated, %d out of order, %d while away", s.Published, s.Delivered, s.Lost, s.Repeated, s.OutOfOrder, s.Away)
	}
}

func memory(pss int64) string {
	if pss == 0 {
		return ""
	}
	return fmt.Sprintf(", %.1f MB (Pss)", float64(pss)/(1<<20))
}

func percentiles(p load.Percentiles) string {
	return fmt.Sprintf("p50 %.2f  p75 %.2f  p90 %.2f  p95 %.2f  p99 %.2f  p99.9 %.2f  max %.2f  mean %.2f", p.P50, p.P75, p.P90, p.P95, p.P99, p.P999, p.Max, p.Mean)
}
