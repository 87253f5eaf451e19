package main

import (
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

func TestPayloadCarriesItsTime(t *testing.T) {
	now := time.Unix(1763900000, 123456789)
	p := payload(200, now)
	if len(p) != 200 {
		t.Errorf("size: got %d, want 200", len(p))
	}
	if got, ok := stamp([]byte(p)); !ok || got != now.UnixNano() {
		t.Errorf("time: got %d, %v, want %d", got, ok, now.UnixNano())
	}
	if _, ok := stamp([]byte("short")); ok {
		t.Error("a payload without a time: got one")
	}
}

// TestFeedInPieces cuts what a server sends at every place.
func TestFeedInPieces(t *testing.T) {
	small := payload(100, time.Now())
	large := payload(300, time.Now())
	stream := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" +
		"\x81" + string(rune(100)) + small + "\x81\x7e\x01\x2c" + large + "\x82\x64" + small
	for cut := range len(stream) {
		s := &session{worker: &worker{latency: hdr.New(1, latencyMax, latencyDigits)}, ready: make(chan error, 1)}
		for _, part := range []string{stream[:cut], stream[cut:]} {
			if err := s.feed([]byte(part)); err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		if !s.opened || s.frames != 3 || len(s.carry) != 0 {
			t.Fatalf("cut at %d: opened %v, %d frames, %d bytes left; want 3 frames", cut, s.opened, s.frames, len(s.carry))
		}
	}
}

func TestFeedRefuses(t *testing.T) {
	f := func(stream string) {
		t.Helper()
		s := &session{worker: &worker{}, ready: make(chan error, 1)}
		if err := s.feed([]byte(stream)); err == nil {
			t.Errorf("%q: got no error", stream)
		}
	}
	f("HTTP/1.1 503 Service Unavailable\r\n\r\n")
	f("HTTP/1.1 101 Switching Protocols\r\n\r\n\x88\x02\x03\xe8")
}

func TestSourcesSpread(t *testing.T) {
	seen := map[string]int{}
	for i := range 16000 {
		seen[source(i).String()]++
	}
	if want := 16000 / sessionsPerSource; len(seen) != want {
		t.Errorf("addresses: got %d, want %d", len(seen), want)
	}
	for ip := range seen {
		if !strings.HasPrefix(ip, "127.") || ip == "127.0.0.1" {
			t.Fatalf("address: got %s", ip)
		}
	}
}

func TestOptions(t *testing.T) {
	f := func(args, want string) {
		t.Helper()
		_, err := parseOptions(strings.Fields(args))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
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

func TestOwnClocks(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("SKIPPED: no /proc here")
	}
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); { // use some CPU time
	}
	if d, err := cpuTime(os.Getpid()); err != nil || d <= 0 {
		t.Errorf("CPU time: got %v, %v", d, err)
	}
	if n, err := pss(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("Pss: got %d, %v", n, err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if n, err := sockets(os.Getpid()); err != nil || n < 1 {
		t.Errorf("sockets: got %d, %v", n, err)
	}
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
