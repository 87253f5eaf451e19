package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

func TestRedisOptions(t *testing.T) {
	f := parses(t, redisArg)
	f("", "")
	f("-parts linger,publish -gateways 2 -rates 1,2.5", "")
	f("-parts linger,all", "-parts")
	f("-gateways 1,none", "-gateways")
	f("-rates -1", "-rates")
	f("-rounds 0", "a round")
	f("-size 3", "-size")
	f("more", "more")
	f("-topics 100000000", "open files")
}

// redisWay is a measurement of so many messages in 10 s in which Redis used so much, and 10 ms more per second than that without any.
func redisWay(messages int, redis time.Duration) way {
	w := way{Messages: messages, Idle: clock{took: time.Second, redis: 10 * time.Millisecond},
		Busy: clock{took: 10 * time.Second, redis: redis + 100*time.Millisecond, ours: time.Second, unused: 19 * time.Second}}
	w.total = load.NewHist()
	load.Record(w.total, 2*time.Millisecond)
	return w
}

func TestRedisReports(t *testing.T) {
	out := filepath.Join(t.TempDir(), "b.md")
	if err := os.WriteFile(out, []byte("# Benchmarks\n\nOthers.\n\n"+handshakesBegin+"\n\nof handshakes\n\n"+peersBegin+"\n\nof peers\n\n"+redisBegin(partLinger)+"\n\nold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := redisOptions{topics: 4, size: 200, rounds: 3, window: time.Second, out: out}
	r := &readings{readers: readers{3, true}}
	for _, cpu := range []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 100 * time.Millisecond} {
		r.owner = append(r.owner, redisWay(1000, cpu))
		r.everywhere = append(r.everywhere, redisWay(1000, 2*cpu))
	}
	l := map[float64][]woken{5000: {{way: redisWay(1000, time.Second), reads: 1000, entries: 4000, lingered: 0.5}}}
	p := [][]published{{{perSecond: 1000, redis: 5, busy: 90}}, {{perSecond: 500, redis: 9, busy: 45}}}
	for part, f := range map[string]func(h redisHead) (string, error){
		partReaders: func(h redisHead) (string, error) { return reportReaders(h, 500, []*readings{r}) },
		partLinger: func(h redisHead) (string, error) {
			return reportLinger(h, []float64{5000}, []*lingering{{Linger: 2 * time.Millisecond, rounds: l}})
		},
		partPublish: func(h redisHead) (string, error) { return reportPublish(h, publishWays()[:2], p) },
	} {
		text, err := f(o.head(part, time.Unix(1800000000, 0)))
		if err == nil {
			err = writeSection(out, redisBegin(part), text)
		}
		if err != nil {
			t.Fatalf("%s: %v", part, err)
		}
	}
	// The first report keeps them all.
	m := &measurement{o: options{subscribers: 10, size: 200, out: out}, stage: &stage{arms: []arm{{Name: armRouter, pid: 1}}}}
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	at := -1
	for _, begin := range ownSections() {
		i := strings.Index(text, "\n\n"+begin+"\n\n")
		if i <= at || strings.Count(text, begin) != 1 {
			t.Errorf("%q stands at %d, behind %d:\n%s", begin, i, at, text)
		}
		at = i
	}
	for _, want := range []string{
		"of peers\n",
		"| 3 | yes | 100.0 | 50.00, 150, 100 | 0.0 | 200.0 | 100, 300, 200 | 0.0 | 10.0 |",
		"| 5000 | 2ms | 1000.0 | 1000 | 0.0 | 100 | 4.00 | 50 | 2.00 | 2.00 |",
		"| plain `XADD` | 4 connections, 64 commands under way on each | 1000 | 1000 | 5.0 | 90 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "\nold\n") || strings.Contains(text, "Others.") || strings.Contains(text, "Other programs") {
		t.Errorf("what was to be written anew is still there:\n%s", text)
	}
}

func TestCutSection(t *testing.T) {
	f := func(text, rest, section string) {
		t.Helper()
		if r, s := cutSection(text, "## B"); r != rest || s != section {
			t.Errorf("%q: got %q and %q, want %q and %q", text, r, s, rest, section)
		}
	}
	f("", "", "")
	f("# A\n\n## Bc\n", "# A\n\n## Bc\n", "")
	f("# A\n\n## B\n\nb\n", "# A\n\n", "## B\n\nb\n")
	f("## B\n### b\n\n## C\n\nc\n", "## C\n\nc\n", "## B\n### b\n\n")
}
