package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
)

// allocs is what a benchmark allocates in each turn.
type allocs struct {
	allocs, bytes float64
}

// How often a benchmark turns when its allocations are counted: the count is cut down to whole ones, so that what the runtime
// allocates in between does not show.
const (
	pureTurns   = "2000x"
	socketTurns = "30x"
)

// countAllocs is what the benchmarks of a package allocate: the least of two runs.
func countAllocs(ctx context.Context, t target, b built) (map[string]allocs, error) {
	rs := results{}
	for range 2 {
		for turns, names := range map[string][]string{pureTurns: t.pure, socketTurns: t.socketNames()} {
			if len(names) == 0 {
				continue
			}
			more, err := b.run(ctx, 0, pattern(names), window{turns, 1})
			if err != nil {
				return nil, err
			}
			rs.least(more)
		}
	}
	found := map[string]allocs{}
	for name, n := range rs {
		found[t.pkg+"."+name] = allocs{n["allocs/op"], n["B/op"]}
	}
	return found, nil
}

// slack is how much a benchmark may differ from what is written down, in allocations and bytes. Where all is computed allocations are exact; bytes
// are not quite, because what grows now and then is shared out.
func (a allocs) slack(socket *withSocket) (n, bytes float64) {
	if socket != nil {
		return socket.slack, max(1<<14, a.bytes*0.5)
	}
	return 0, max(8, a.bytes*0.02)
}

// sameAs reports how a differs from what is written down, "" when it does not; more tells that it is more.
func (a allocs) sameAs(was allocs, socket *withSocket) (how string, more bool) {
	n, bytes := was.slack(socket)
	switch {
	case math.Abs(a.allocs-was.allocs) > n:
		return fmt.Sprintf("%g allocations, not %g", a.allocs, was.allocs), a.allocs > was.allocs
	case math.Abs(a.bytes-was.bytes) > bytes:
		return fmt.Sprintf("%g bytes, not %g", a.bytes, was.bytes), a.bytes > was.bytes
	}
	return "", false
}

const allocsHead = `# What the benchmarks of hot paths allocate in each turn. Written by: make bench-guard-update
# With %s
`

// goVersion is the version of Go without its last number.
func goVersion() string {
	parts := strings.SplitN(runtime.Version(), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func writeAllocs(file string, all map[string]allocs) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, allocsHead, goVersion())
	for _, name := range sorted(all) {
		fmt.Fprintf(&b, "%-44s %6g allocs %8g bytes\n", name, all[name].allocs, all[name].bytes)
	}
	return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // it is committed
}

func sorted[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}

// readAllocs reads what is written down, and with which version of Go it was.
func readAllocs(file string) (all map[string]allocs, version string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	all = map[string]allocs{}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		line := sc.Text()
		if v, ok := strings.CutPrefix(line, "# With "); ok {
			version = v
		}
		if line == "" || line[0] == '#' {
			continue
		}
		var name string
		var a allocs
		if _, err := fmt.Sscanf(line, "%s %g allocs %g bytes", &name, &a.allocs, &a.bytes); err != nil {
			return nil, "", fmt.Errorf("%s: %q: %w", file, line, err)
		}
		all[name] = a
	}
	return all, version, nil
}
