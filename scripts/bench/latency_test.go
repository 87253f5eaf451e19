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
)

func TestLatencyOptions(t *testing.T) {
	f := func(args, want string) {
		t.Helper()
		_, err := parse(append([]string{latencyArg}, strings.Fields(args)...))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
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

func TestReceiptsArePacked(t *testing.T) {
	var b []byte
	want := []receipt{{1, 2}, {math.MaxInt64, -1}}
	for _, r := range want {
		b = r.pack(b)
	}
	if got := unpackReceipts(b); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := unpackReceipts(nil); len(got) != 0 {
		t.Errorf("of nothing: got %v", got)
	}
}

// twoMessages are due at 0 and 10 ms, sent 1 ms late, and answered 2 ms after that.
func twoMessages() *batch {
	b := &batch{start: time.Unix(1800000000, 123), every: 10 * time.Millisecond, messages: make([]message, 2)}
	for i := range b.messages {
		due := time.Duration(i) * b.every
		b.messages[i] = message{due: due, sent: due + time.Millisecond, answered: due + 3*time.Millisecond}
	}
	return b
}

// came is a frame of message i that came so long after it was due.
func (b *batch) came(i int, after time.Duration) receipt {
	due := b.start.UnixNano() + int64(i)*int64(b.every)
	return receipt{due, due + int64(after)}
}

func TestSplit(t *testing.T) {
	b := twoMessages()
	got, err := b.split([]receipt{
		b.came(0, 2*time.Millisecond), b.came(0, 7*time.Millisecond), b.came(1, 4*time.Millisecond),
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
	f("after", got.after, 3, 0, 4*time.Millisecond)
}

func TestSplitRefuses(t *testing.T) {
	b := twoMessages()
	f := func(want string, receipts ...receipt) {
		t.Helper()
		if _, err := b.split(receipts, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", receipts, err, want)
		}
	}
	f("more than 1", b.came(1, 1), b.came(1, 2))
	f("no message was due", b.came(2, 1))
	f("no message was due", b.came(-1, 1))
	f("no message was due", receipt{b.start.UnixNano() + 1, b.start.UnixNano() + 2})
	f("not one")
}

func TestUnusedTime(t *testing.T) {
	got, err := unusedTime("cpu  10 20 30 400 50 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n")
	if want := 4500 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2", "cpu a b c d e f", "intr 1 2 3 4 5 6"} {
		if _, err := unusedTime(bad); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

// oneWay has a Redis that uses 100 ms in 10 s without messages and 1.3 s in 20 s with 10,000 of them.
func oneWay() way {
	b := twoMessages()
	times, err := b.split([]receipt{b.came(0, 3*time.Millisecond), b.came(1, 12*time.Millisecond)}, 1)
	if err != nil {
		panic(err)
	}
	return way{
		Gateways: 3, Via: viaPost, Messages: 10000, times: times,
		Idle: load{took: 10 * time.Second, redis: 100 * time.Millisecond, unused: 10 * time.Second * time.Duration(runtime.NumCPU())},
		Busy: load{took: 20 * time.Second, ours: 4 * time.Second * time.Duration(runtime.NumCPU()), redis: 1300 * time.Millisecond, router: 2 * time.Second, gateways: time.Second},
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

// TestOwnLoad reads the clocks of this machine.
func TestOwnLoad(t *testing.T) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Skip("SKIPPED: no /proc here")
	}
	if d, err := unusedTime(string(b)); err != nil || d <= 0 {
		t.Errorf("got %v, %v", d, err)
	}
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
		"    go run ./scripts/bench latency -window=20s\n",
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
