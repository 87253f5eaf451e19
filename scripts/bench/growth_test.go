package main

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestGrowthOptions(t *testing.T) {
	f := parses(t, growthArg)
	f("", "")
	f("-only sessions,idle -shrink 10", "")
	f("-only sessions,weather", `"weather"`)
	f("-shrink 0", "-shrink")
	f("-window 0s", "-window")
	f("-idle -1s", "-idle")
	f("more", "more")
	o, err := parseGrowth(strings.Fields("-only rate -binary x -out x.md"))
	if want := "go run ./scripts/bench growth -only=rate"; err != nil || o.command != want || len(o.only) != 1 {
		t.Errorf("got %q, %q, %v, want %q", o.command, o.only, err, want)
	}
}

// What grows is what the points of an axis differ in, and the descriptors of a process are enough for all of them.
func TestGrowthAxes(t *testing.T) {
	for _, a := range growthAxes() {
		for i, p := range a.Points {
			n := p.Sessions[0]
			switch each := 2 * n / max(1, p.Routers); {
			case p.Direct && n/max(1, p.Gateways) > 15_000, !p.Direct && each > 18_000, p.X <= 0 && a.Log, p.Topics < 1, p.Topics%growthStride == 0:
				t.Errorf("%s: a point that can't be measured: %+v", a.Name, p)
			}
			if i > 0 && a.Points[i-1].Series == p.Series && a.Points[i-1].X >= p.X {
				t.Errorf("%s: %g comes after %g", a.Name, p.X, a.Points[i-1].X)
			}
		}
	}
}

func somePoint(x float64) pointResult {
	return pointResult{X: x, Sessions: 4000, Parked: 3999, Topics: 1, Routers: 1, Gateways: 1, Size: 200, Rate: 2, Messages: 20, Expected: 80_000, Deliveries: 80_000, P50: 20, P99: 40.5,
		CPU: parts{Router: 8, Gateway: 1.25, Redis: 0.25}, Memory: parts{Router: 1024, Gateway: 512}, Busy: 50}
}

func TestGrowthReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "GROWTH.md")
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(filepath.Dir(out), name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	keep := func(name string, at int64, points ...pointResult) {
		t.Helper()
		kept, err := readGrowth(growthFile(out))
		if err != nil {
			t.Fatal(err)
		}
		kept.Axes[name] = &axisResult{Measured: time.Unix(at, 0).UTC(), Version: "v" + name, Command: "measure " + name, Points: points}
		if err := kept.save(growthFile(out)); err != nil {
			t.Fatal(err)
		}
		if err := writeGrowth(out, kept); err != nil {
			t.Fatal(err)
		}
	}
	full := somePoint(8000)
	full.Saturated, full.P99, full.Lost, full.OutOfOrder, full.Untaken = []string{"the machine was busy"}, 999, 7, 1, 2
	keep("sessions", 1800000000, somePoint(1000), somePoint(4000), full)
	chain, alone := somePoint(1), somePoint(1)
	alone.Busy = mostBusy + 1
	chain.Series, alone.Series = seriesChain, seriesDirect
	keep("rate", 1800086400, chain, alone)
	few := somePoint(10)
	few.Others, few.Silences = 25.4, 1200
	few.Deliveries, few.Idle = 99, &parts{Router: 3, Gateway: 4.5, Redis: 1}
	keep("gateways", 1800172800, few)

	text := read("GROWTH.md")
	for _, want := range []string{
		"Measured on 15 January 2027, 08:00 UTC at version vsessions by `measure sessions`. 240,000 deliveries; **8,000 sessions: 1 were out of order**. **8,000 sessions: 2 messages were not taken**. **8,000 sessions: 7 deliveries were lost**.",
		"| 4,000 | 4,000, 3,999 | 2 | 80,000 | 8.0 | 1.2 | 0.2 | 9.5 | 0.0 | 38,000 | 20.00, 40.50 | 1.00 | 0.50 | 50 % |",
		"| 8,000 | 4,000, 3,999 | 2 | 80,000 | 8.0 | 1.2 | 0.2 | 9.5 | 0.0 | 38,000 | (20.00, 999) saturated |",
		"at version vrate by `measure rate`. 160,000 deliveries; every message arrived, once and in order.",
		"| " + seriesDirect + " | 1 | 4,000, 3,999 |",
		"| (20.00, 40.50) | 1.00 | 0.50 |",
		"| (20.00, 40.50) saturated | 1.00 | 0.50 | 91 % |",
		"| 10 | 3.0 | 4.5 | 1.0 | 8.5 |",
		"4,000 sessions, 1 topic, 1 router, 1 gateway, 200 bytes in a message, 2 messages per second, over all topics. Measured on",
		"once and in order. **10 gateways: while sessions were opened, heartbeats of gateways came so late that routers took them for gone, 1,200 times**. **The machine was not quiet: other programs used up to 25 % of it**.",
		"Not measured yet: `go run ./scripts/bench growth -only topics`.",
		"![growth-sessions-latency.svg](bench/growth-sessions-latency.svg)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the document lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "growth-gateways-latency.svg") {
		t.Error("a quantile of too few deliveries is drawn")
	}
	// What the machine made of it is no point of the line.
	if p50 := polyline(t, read("bench/growth-sessions-latency.svg")); strings.Count(p50, ",") != 2 {
		t.Errorf("want two points in %q", p50)
	}
	if cpu := polyline(t, read("bench/growth-sessions-cpu.svg")); strings.Count(cpu, ",") != 3 {
		t.Errorf("want three points in %q", cpu)
	}
	if rate := read("bench/growth-rate-cpu.svg"); !strings.Contains(rate, seriesChain) || strings.Contains(rate, ">"+partRedis+"<") {
		t.Error("want a line for each series, and no more")
	}
}

// polyline are the points of the first line.
func polyline(t *testing.T, svg string) string {
	t.Helper()
	_, rest, ok := strings.Cut(svg, `points="`)
	if !ok {
		t.Fatal("there is no line")
	}
	points, _, _ := strings.Cut(rest, `"`)
	return points
}

// The server that does nothing but send takes commands as the publisher writes them.
func TestLastWord(t *testing.T) {
	f := func(in, want string, fails bool) {
		t.Helper()
		got, err := lastWord(bufio.NewReader(strings.NewReader(in)))
		if string(got) != want && !fails || (err != nil) != fails {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	f("*2\r\n$4\r\nXADD\r\n$5\r\na\r\nbc\r\n", "a\r\nbc", false)
	f("*1\r\n$0\r\n\r\n", "", false)
	f("*2\r\n$4\r\nXADD\r\n", "", true)
	f("*1\r\n$9999999999\r\n", "", true)
	f("GET / HTTP/1.1\r\n", "", true)
	f("", "", true)
}

// What it is sent by a press comes to every subscriber, once.
func TestSends(t *testing.T) {
	addr, err := testcluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runSends(ctx, addr) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	testcluster.Soon(t, "the server listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	f, err := load.NewFleet(1, load.Inside)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stop() //nolint:errcheck // what it has counted is what counts
	if err := f.Open(ctx, rawSpec(addr, []string{"a"}), 20); err != nil {
		t.Fatal(err)
	}
	p, err := newPress(redisURL(addr), []string{"a"}, growthSize, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, got, err := deliver(ctx, f, p, 100, 50*time.Millisecond, 20, false)
	if err != nil || got.Frames != 100 || got.Repeated+got.Missing+got.Disordered != 0 {
		t.Errorf("got %+v, %v, want 100 frames", got, err)
	}
}

func TestCount(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		if got := count(v); got != want {
			t.Errorf("%g: got %s, want %s", v, got, want)
		}
	}
	f(0, "0")
	f(0.5, "0.5")
	f(999, "999")
	f(1000, "1,000")
	f(50000, "50,000")
	f(1234567, "1,234,567")
}
