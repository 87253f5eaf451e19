package load

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

func TestOwnClocks(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("SKIPPED: no /proc here")
	}
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); { // use some CPU time
	}
	if d, err := CPUTime(os.Getpid()); err != nil || d <= 0 {
		t.Errorf("CPU time: got %v, %v", d, err)
	}
	if n, err := PSS(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("Pss: got %d, %v", n, err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if n, err := Sockets(os.Getpid()); err != nil || n < 1 {
		t.Errorf("sockets: got %d, %v", n, err)
	}
	if d, err := UnusedTime(); err != nil || d <= 0 {
		t.Errorf("unused: got %v, %v", d, err)
	}
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

func TestSource(t *testing.T) {
	f := func(s Source, i int, want string) {
		t.Helper()
		if got := s.address(i); got.IsValid() && got.String() != want || !got.IsValid() && want != "" {
			t.Errorf("%+v, %d: got %v, want %q", s, i, got, want)
		}
	}
	f(Source{}, 5, "")
	f(Loopback(1), 0, "127.1.0.0")
	f(Loopback(1), 300, "127.1.1.44")
	f(Loopback(16), 47, "127.1.0.2")
	f(Source{Prefix: Loopback(1).Prefix, PerAddress: 1, Shared: 100, Behind: 50}, 99, "127.16.0.1")
	f(Source{Prefix: Loopback(1).Prefix, PerAddress: 1, Shared: 100, Behind: 50}, 100, "127.1.0.100")
	lan := netip.MustParsePrefix("10.1.2.0/30")
	f(Source{Prefix: lan}, 0, "10.1.2.1")
	f(Source{Prefix: lan}, 1, "10.1.2.2")
	f(Source{Prefix: lan}, 2, "10.1.2.1")
	f(Source{Prefix: netip.MustParsePrefix("10.1.2.3/32")}, 9, "10.1.2.3")
}

func TestTopicOf(t *testing.T) {
	f := func(topics int, hot float64, want ...int) {
		t.Helper()
		const n = 1000
		got := (&Spec{Topics: make([]string, topics), Hot: hot}).PerTopic(n)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%d topics, hot %v: got %v, want %v", topics, hot, got, want)
				return
			}
		}
	}
	f(1, 0, 1000)
	f(1, 0.9, 1000)
	f(4, 0, 250, 250, 250, 250)
	f(2, 0.9, 900, 100)
	f(5, 0.6, 600, 100, 100, 100, 100)
	f(2, 1, 1000, 0)
}

func TestBusiest(t *testing.T) {
	f := func(want int, opened ...int) {
		t.Helper()
		var list []Slice
		for _, n := range opened {
			list = append(list, Slice{Opened: n})
		}
		if got := Busiest(list); got != want {
			t.Errorf("%v: got %d, want %d", opened, got, want)
		}
	}
	f(0)
	f(3, 1, 2)
	f(14, 1, 2, 3, 4, 5)
	f(10, 10, 0, 0, 0, 1)
}
