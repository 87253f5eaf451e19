package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/load/bench"
)

func TestPeerOptions(t *testing.T) {
	f := parses(t, peersArg)
	f("", "")
	f("-rounds 0", "a round")
	f("-topics 10 -subscribers 5", "as many subscribers")
	f("-size 3", "-size")
	f("more", "more")
	f("-subscribers 100000000", "open files")
}

// oneRound is a round with a knee, p99, and CPU time of a server and of Redis.
func oneRound(knee, p99, cpu float64) one {
	return one{
		phase: &bench.Phase{Latency: load.Percentiles{P50: 1, P99: p99}, Processes: []bench.Used{{Name: "x", PerDelivery: cpu}, {Name: "redis", PerDelivery: 2}}, Warnings: []string{"busy"}},
		ramp:  &bench.Result{Knee: knee, Phases: []*bench.Phase{{Rate: 200, Latency: load.Percentiles{P99: 300}}, {Rate: 100, Latency: load.Percentiles{P99: 20}}}},
		pss:   4096 * 10,
	}
}

// The section of peers is written anew, and what else the file has stays; the other report keeps the section.
func TestPeersReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "b.md")
	if err := os.WriteFile(out, []byte("# Benchmarks\n\nOthers.\n\n"+peersBegin+"\n\nold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := peerOptions{options: options{subscribers: 10, size: 200, rounds: 3, out: out}, topics: 2, rate: 50}
	r := &peerRun{o: o, started: time.Unix(1800000000, 0), pairs: []pair{{Peer: "haproxy + centrifuge", results: [2][]one{
		{oneRound(300, 5, 10), oneRound(100, 7, 30), oneRound(200, 6, 20)}, {oneRound(50, 9, 40), oneRound(50, 9, 40), oneRound(50, 9, 40)}}},
		{Peer: peerAlone, results: [2][]one{{oneRound(300, 5, 10)}, {oneRound(100, 8, 40)}}}}}
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	m := &measurement{o: options{subscribers: 10, size: 200, out: out}, stage: &stage{arms: []arm{{Name: armRouter, pid: 1}}}}
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Benchmarks\n", peersBegin + "\n\nWritten by `scripts/bench` on 2027-01-15",
		"| haproxy + centrifuge | ringside | 1.00 | 6.00 | 20.0 | 2.0 | 4.00 | 200 | 300, 100, 200 |",
		"|  | haproxy + centrifuge | 1.00 | 9.00 | 40.0 | 2.0 | 4.00 | 50 | 50, 50, 50 |",
		"- **ringside, beside haproxy + centrifuge: busy**",
		"| CPU per delivery of router, gateway and Redis | 10.00 µs | 12.00 µs | **no** |\n| the same over centrifuge alone and Redis | 0.50 × | 0.29 × | yes |",
		"| p99 over centrifuge alone | 0.50 × | 0.62 × | **no** |\n| highest rate of centrifuge alone over ours | 0.50 × | 0.33 × | yes |",
		"![p99 by rate of publishing: ringside beside haproxy + centrifuge](bench/peer-haproxy-centrifuge.svg)",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "old") || strings.Count(string(text), peersBegin) != 1 {
		t.Errorf("the old section is still there:\n%s", text)
	}
	svg, err := os.ReadFile(filepath.Join(filepath.Dir(out), "bench", "peer-haproxy-centrifuge.svg"))
	if err != nil || strings.Count(string(svg), "<polyline") != 2 || !strings.HasPrefix(string(svg), "<svg xmlns=") {
		t.Errorf("the picture is %s, %v", svg, err)
	}
}
