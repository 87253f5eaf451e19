package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// numbers are what a benchmark says of itself, by unit.
type numbers map[string]float64

// results are those of benchmarks, by name, without "Benchmark" and the number of cores.
type results map[string]numbers

// parse reads what `go test -bench` prints: of each benchmark the least of what it says, however often it ran.
func parse(out []byte) (results, error) {
	rs := results{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(words[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		n := numbers{}
		for i := 2; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q is no line of a benchmark", strings.TrimSpace(line))
			}
			n[words[i+1]] = v
		}
		rs.least(results{name: n})
	}
	return rs, nil
}

// cost is what is compared of a benchmark: CPU time where it tells that, else time. 0 when it tells neither.
func (n numbers) cost() float64 {
	for unit, v := range n {
		if strings.HasPrefix(unit, "cpu-") {
			return v
		}
	}
	return n["ns/op"]
}

// least keeps the smaller of each number.
func (rs results) least(more results) {
	for name, n := range more {
		if rs[name] == nil {
			rs[name] = numbers{}
		}
		for unit, v := range n {
			if was, ok := rs[name][unit]; !ok || v < was {
				rs[name][unit] = v
			}
		}
	}
}

// window is how long a benchmark runs at a time, and how often in a process.
type window struct {
	time  string
	count int
}

// run runs benchmarks in a process of their own. Those within one can be named behind a slash.
func (b built) run(ctx context.Context, layout int, bench string, w window) (results, error) {
	cmd := exec.CommandContext(ctx, b.programs[layout%len(b.programs)], "-test.run=^$", "-test.bench="+bench, "-test.benchmem", "-test.timeout=5m",
		"-test.benchtime="+w.time, "-test.count="+strconv.Itoa(w.count))
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "GODEBUG=", "GOGC=100", "GOMEMLIMIT=off")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w:\n%s", cmd, err, out.Bytes()[max(0, out.Len()-2000):])
	}
	return parse(out.Bytes())
}

// pair is the same benchmarks of the earlier release and of this one, and what they have cost.
type pair struct {
	old, new built
	window   window
	bench    string

	turns   int                  // rounds so far
	was, is results              // the least so far
	ratios  map[string][]float64 // of each round
}

func newPair(was, is built, bench string, w window) *pair {
	return &pair{old: was, new: is, window: w, bench: bench, was: results{}, is: results{}, ratios: map[string][]float64{}}
}

// rounds runs old and new in turns, A B B A, so that neither has the better half of what the machine does meanwhile.
func (p *pair) rounds(ctx context.Context, n int, bench string) error {
	for range n {
		was, is := results{}, results{}
		for i, b := range []built{p.old, p.new, p.new, p.old} {
			rs, err := b.run(ctx, 2*p.turns+i/2, bench, p.window)
			switch {
			case err != nil:
				return err
			case i == 0 || i == 3:
				was.least(rs)
			default:
				is.least(rs)
			}
		}
		p.turns++
		for name := range is {
			if a, b := was[name].cost(), is[name].cost(); a > 0 && b > 0 {
				p.ratios[name] = append(p.ratios[name], b/a)
			}
		}
		p.was.least(was)
		p.is.least(is)
	}
	return nil
}

// ratio is what a benchmark costs beside the earlier release; 0 when it has no cost on one side. Of the ratio of the least that each has cost and the
// median of the rounds' ratios it is the smaller one: others on the machine spoil the second, and a processor that is faster for a moment the
// first; what costs more shows in both.
func (p *pair) ratio(name string) float64 {
	rs := slices.Sorted(slices.Values(p.ratios[name]))
	if len(rs) == 0 {
		return 0
	}
	return min(p.is[name].cost()/p.was[name].cost(), rs[len(rs)/2], rs[(len(rs)-1)/2])
}
