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

func TestHandshakeOptions(t *testing.T) {
	f := parses(t, handshakesArg)
	f("", "")
	f("-rounds 0", "a round")
	f("-dialers 0", "dialers")
	f("-topics 10 -subscribers 5", "as many subscribers")
	f("more", "more")
	f("-subscribers 100000000", "open files")
}

// opened is a round: its rate, and the CPU time of a connection at a proxy and at a server.
func opened(rate, proxy, server float64) *bench.Result {
	return &bench.Result{Connect: &bench.Connects{Rate: rate, Percentiles: load.Percentiles{P50: 3, P99: 9}}, Used: []bench.Used{
		{Name: "router", PerDelivery: proxy}, {Name: "gateway", PerDelivery: server}, {Name: "redis", PerDelivery: 7}, {Name: "(subscribers 1)", PerDelivery: 50, Cores: 0.4}}}
}

// The section stands before that of peers, and leaves the rest of the file as it is; the main report keeps it.
func TestHandshakesReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "b.md")
	if err := os.WriteFile(out, []byte("# Benchmarks\n\nOthers.\n\n"+peersBegin+"\n\nof peers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := func(n string) route { return route{server: server{name: n}} }
	r := &handshakeRun{o: handshakeOptions{options: options{subscribers: 10, rounds: 3, out: out}, topics: 2, dialers: 64}, started: time.Unix(1800000000, 0),
		ways: []route{name("router + gateway"), name("haproxy + centrifuge")}, results: map[string]map[string][]*bench.Result{
			kindLeaves: {"router + gateway": {opened(300, 10, 20), opened(100, 30, 40), opened(200, 20, 30)}, "haproxy + centrifuge": {opened(100, 60, 60), opened(100, 60, 80), opened(100, 50, 50)}},
			kindStays:  {"router + gateway": {opened(1, 1, 1)}}}}
	for range 2 { // the second takes the place of the first
		if err := r.write(); err != nil {
			t.Fatal(err)
		}
	}
	m := &measurement{o: options{subscribers: 10, size: 200, out: out}, stage: &stage{arms: []arm{{Name: armRouter, pid: 1}}}}
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{
		"# Benchmarks\n", "## Handshakes\n\nWritten by `scripts/bench` on 2027-01-15",
		"| router + gateway | 200 | 100–300 | 50 | 30–70 | router 20, gateway 30 | 7 | 0.40 | 3.00 | 9.00 |",
		"| router + gateway | haproxy + centrifuge | 2.00 | 1.00–3.00 | 2.00 | 2.00–4.00 |",
		peersBegin + "\n\nof peers\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Count(text, handshakesBegin) != 1 || strings.Index(text, handshakesBegin) > strings.Index(text, peersBegin) {
		t.Errorf("the section is not once before that of peers:\n%s", text)
	}
}
