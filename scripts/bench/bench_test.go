package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// parses is how a command line is held: want is what the error says of it, and "" that there is none. before stands in front of the arguments.
func parses(t *testing.T, before ...string) func(args, want string) {
	return func(args, want string) {
		t.Helper()
		_, err := parse(append(slices.Clone(before), strings.Fields(args)...))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

func TestOptions(t *testing.T) {
	f := parses(t)
	f("", "")
	f("-rates 1,20.5 -rounds 2", "")
	f("-rates 1,fast", "-rates")
	f("-rounds 0", "-rounds")
	f("-size 10", "-size")
	f("more", "more")
	o, err := parseOptions([]string{"-out", "x.md", "-rounds", "2"})
	if want := "go run ./scripts/bench -rounds=2"; err != nil || o.command != want {
		t.Errorf("command: got %q, %v, want %q", o.command, err, want)
	}
	f("-subscribers 100000000", "open files")
}

// TestReport fills the template with samples of two rounds.
func TestReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "report.md")
	m := &measurement{
		o: options{subscribers: 10, size: 200, rates: []float64{1, 5}, window: time.Second, rounds: 2, out: out},
		stage: &stage{arms: []arm{
			{Name: armRouter, pid: 1}, {Name: armHAProxy, pid: 2}, {Name: armDirect},
		}},
		memory: []memorySample{
			{armRouter, 1 << 20, 1<<20 + 4000, 1<<20 + 10*800, 10},
			{gatewayName, 1 << 20, 1 << 20, 1<<20 + 10*2000, 10},
			{armHAProxy, 1 << 20, 1 << 20, 1<<20 + 10*4000, 10},
		},
	}
	for round := range 2 {
		for _, rate := range m.o.rates {
			m.samples = append(m.samples,
				sample{Arm: armRouter, Rate: rate, Proxy: time.Duration(10+round) * time.Microsecond, Gateway: 9 * time.Microsecond},
				sample{Arm: armHAProxy, Rate: rate, Proxy: 12 * time.Microsecond},
				sample{Arm: armDirect, Rate: rate})
		}
	}
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| idle session, router | 1024 B | 800 B | yes |",
		"| idle session, gateway | 1536 B | 2000 B | **no** |",
		"| idle session, router over HAProxy | 0.25 × | 0.20 × | yes |",
		"| CPU per delivery, router at 5/s | 12.00 µs | 10.50 µs | yes |",
		"| CPU per delivery, router over the better proxy at 5/s | 1.00 × | 0.88 × | yes |",
		"| ringside router | 1.0 | 1.0 | 1.0 | 800 | 500 |",
		"| haproxy | 0.88 | 0.83, 0.92 |",
		"| no proxy | – | – | 0.0 |",
		"**nginx was not there and is left out.**",
		"### 5 messages per second",
		"### 1 message per second",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the report lacks %q:\n%s", want, b)
		}
	}
}

func TestMedian(t *testing.T) {
	f := func(want float64, list ...float64) {
		t.Helper()
		if got := median(list); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("median of %v: got %v, want %v", list, got, want)
		}
	}
	f(2, 3, 1, 2)
	f(1.5, 1, 2)
	f(math.NaN())
}
