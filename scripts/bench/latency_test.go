package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/load"
)

func TestLatencyOptions(t *testing.T) {
	f := parses(t, latencyArg)
	f("", "")
	f("-gateways 2 -via xadd", "")
	f("-gateways 1,few", "-gateways")
	f("-gateways 0", "-gateways")
	f("-via mail", "-via")
	f("-subscribers 150 -topics 100", "multiple")
	f("-subscribers 0 -topics 0", "multiple")
	f("-rate 0", "-rate")
	f("-idle 0s", "-idle")
	f("-size 10", "-size")
	f("more", "more")
	f("-subscribers 100000000", "open files")
	o, err := parseLatency(strings.Fields("-binary x -window 1s -out x.md"))
	if want := "go run ./scripts/bench latency -window=1s"; err != nil || o.command != want {
		t.Errorf("command: got %q, %v, want %q", o.command, err, want)
	}
}

// twoMessages are due at 0 and 10 ms, sent 1 ms late, and answered 2 ms after that.
func twoMessages() *load.Batch {
	b := &load.Batch{Start: time.Unix(1800000000, 123), Every: 10 * time.Millisecond, Late: load.NewHist(), Call: load.NewHist()}
	for i := range 2 {
		due := time.Duration(i) * b.Every
		b.Messages = append(b.Messages, load.Message{Due: due, Sent: due + time.Millisecond, Answered: due + 3*time.Millisecond})
		load.Record(b.Late, time.Millisecond)
		load.Record(b.Call, 2*time.Millisecond)
	}
	return b
}

// came is a frame of message i that came so long after it was due.
func came(b *load.Batch, i int, after time.Duration) load.Receipt {
	due := b.Start.UnixNano() + int64(i)*int64(b.Every)
	return load.Receipt{Due: due, At: due + int64(after)}
}

func TestSplit(t *testing.T) {
	b := twoMessages()
	got, err := split(b, []load.Receipt{
		came(b, 0, 2*time.Millisecond), came(b, 0, 7*time.Millisecond), came(b, 1, 4*time.Millisecond),
	}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got.Missing != 1 || math.Abs(got.Ahead-1.0/3) > 1e-9 {
		t.Errorf("missing %d, ahead %v; want 1 and a third", got.Missing, got.Ahead)
	}
	f := func(what string, h *hdr.Histogram, count int64, least, most time.Duration) {
		t.Helper()
		near := func(us int64, want time.Duration) bool {
			return math.Abs(float64(us)-inMicros(want)) <= 0.001*inMicros(want)
		}
		if h.TotalCount() != count || !near(h.Min(), least) || !near(h.Max(), most) {
			t.Errorf("%s: got %d from %d to %d µs, want %d from %v to %v", what, h.TotalCount(), h.Min(), h.Max(), count, least, most)
		}
	}
	f("total", got.total, 3, 2*time.Millisecond, 7*time.Millisecond)
	f("late", got.late, 2, time.Millisecond, time.Millisecond)
	f("call", got.call, 2, 2*time.Millisecond, 2*time.Millisecond)
	f("after", got.after, 3, time.Microsecond, 4*time.Millisecond)
}

func TestSplitRefuses(t *testing.T) {
	b := twoMessages()
	f := func(want string, receipts ...load.Receipt) {
		t.Helper()
		if _, err := split(b, receipts, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", receipts, err, want)
		}
	}
	f("more than 1", came(b, 1, 1), came(b, 1, 2))
	f("no message was due", came(b, 2, 1))
	f("no message was due", came(b, -1, 1))
	f("no message was due", load.Receipt{Due: b.Start.UnixNano() + 1, At: b.Start.UnixNano() + 2})
	f("not one")
}

// oneWay has a Redis that uses 100 ms in 10 s without messages and 1.3 s in 20 s with 10,000 of them.
func oneWay() way {
	b := twoMessages()
	times, err := split(b, []load.Receipt{came(b, 0, 3*time.Millisecond), came(b, 1, 12*time.Millisecond)}, 1)
	if err != nil {
		panic(err)
	}
	return way{
		Gateways: 3, Via: viaPost, Messages: 10000, times: times,
		Idle: clock{took: 10 * time.Second, redis: 100 * time.Millisecond, unused: 10 * time.Second * time.Duration(runtime.NumCPU())},
		Busy: clock{took: 20 * time.Second, ours: 4 * time.Second * time.Duration(runtime.NumCPU()), redis: 1300 * time.Millisecond, routers: 2 * time.Second, gateways: time.Second},
	}
}

func TestCPUPerMessage(t *testing.T) {
	w := oneWay()
	f := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	f("redis", w.Redis(), 110)
	f("redis, idle", w.RedisIdle(), 10)
	f("router", w.Router(), 200)
	f("gateways", w.AllGateways(), 100)
}

func TestLatencyReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "latency.md")
	o, err := parseLatency(strings.Fields("-window 20s"))
	if err != nil {
		t.Fatal(err)
	}
	one := oneWay()
	one.Gateways, one.Via, one.Missing = 1, viaXADD, 7
	if err := fill(latencyTemplate, out, latencyReport(o, time.Unix(1800000000, 0), []way{one, oneWay()})); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"on 2027-01-15;",
		"\ngo run ./scripts/bench latency -window=20s\n",
		"1000 subscribers over `ringside.raw` WebSockets through one router, 5 on each of 200 topics",
		"**7 frames did not arrive in time.**",
		"**The machine was not quiet**: other programs used up to 80 % of it",
		"| p50, `XADD`, 1 gateway | 2.00 ms | 3.00 ms | **no** |",
		"| p99, `POST /publish`, 3 gateways | 10.00 ms | 12.01 ms | **no** |",
		"| 3 | `POST /publish` | **due → socket** | 3.00 | 12.01 | 12.01 | 12.01 | 12.01 |  |\n|  |  | due → sent | 1.00 |",
		"| answered → socket | 0.00 | 9.01 | 9.01 | 9.01 | 9.01 | 0 % |",
		"| 1 | `XADD` | 110.0 | 10.0 | 200.0 | 0.0 | 100.0 | 0.0 | 100 % | 80 % |",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the report lacks %q:\n%s", want, b)
		}
	}
}
