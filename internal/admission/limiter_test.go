package admission

import (
	"net/netip"
	"testing"
	"time"
)

var epoch = time.Unix(1_800_000_000, 0)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// allowed is how many of n uses at once a key gets.
func allowed[K comparable](l *Limiter[K], now time.Time, key K, n int) (got int) {
	for range n {
		if l.Allow(now, key) {
			got++
		}
	}
	return got
}

func TestLimiterBurstAndRate(t *testing.T) {
	l := NewLimiter[string](LimiterConfig{Rate: 3, Burst: 20, Size: 10})
	f := func(after time.Duration, key string, want int) {
		t.Helper()
		if got := allowed(l, at(after), key, 100); got != want {
			t.Errorf("%s at %v: got %d, want %d", key, after, got, want)
		}
	}
	f(0, "a", 20)
	f(0, "b", 20) // another is not concerned
	f(0, "a", 0)
	f(time.Second, "a", 3)
	f(3*time.Second, "a", 6)
	f(time.Minute, "a", 20) // and not more, however long it was quiet
}

func TestLimiterForgetsOnlyWhoIsFullAgain(t *testing.T) {
	l := NewLimiter[int](LimiterConfig{Rate: 1, Burst: 5, Size: 100})
	allowed(l, at(0), -1, 10) // the offender
	for i := range 10_000 {
		l.Allow(at(time.Millisecond), i)
	}
	if got := allowed(l, at(2*time.Millisecond), -1, 10); got != 0 {
		t.Errorf("a flood of addresses set an offender free: %d more uses", got)
	}
	s := l.Stats()
	if s.Keys != 100 || s.Evicted != 0 {
		t.Errorf("got %d keys and %d evicted, want 100 and none", s.Keys, s.Evicted)
	}
	if s.Overflowed == 0 || s.OverflowedRefused == 0 {
		t.Errorf("those without a place share a bucket that has no end: %+v", s)
	}
	// Once the flood is over the table empties by itself, a few at each call.
	for i := range 60 {
		l.Allow(at(time.Minute+time.Duration(i)*time.Second), -1)
	}
	if got := l.Stats().Keys; got != 1 {
		t.Errorf("%d keys are left, want the one that still comes", got)
	}
}

func TestAddrKey(t *testing.T) {
	f := func(addr, want string) {
		t.Helper()
		if got := AddrKey(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
	f("192.0.2.7", "192.0.2.7")
	f("::ffff:192.0.2.7", "192.0.2.7")
	f("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")
	f("2001:db8:1:2::", "2001:db8:1:2::")
	f("2001:db8:1:3::", "2001:db8:1:3::")
	f("fe80::1%eth0", "fe80::")
}

func TestAllowed(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	f := func(addr string, want bool) {
		t.Helper()
		if got := Allowed(list, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
	f("10.1.2.3", true)
	f("::ffff:10.1.2.3", true)
	f("11.0.0.1", false)
	f("2001:db8::1", true)
	f("2001:db9::1", false)
}

func TestLimiterAllocatesNothing(t *testing.T) {
	l := NewLimiter[netip.Addr](LimiterConfig{Rate: 3, Burst: 20, Size: 10})
	a := netip.MustParseAddr("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() { l.Allow(at(0), AddrKey(a)) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestUsesOnce(t *testing.T) {
	u := NewUses(3)
	f := func(now time.Duration, nonce uint64, expires time.Duration, want bool) {
		t.Helper()
		if got := u.First(at(now), nonce, at(expires)); got != want {
			t.Errorf("%d at %v: got %v, want %v", nonce, now, got, want)
		}
	}
	f(0, 1, 10*time.Second, true)
	f(0, 1, 10*time.Second, false)
	f(9*time.Second, 1, 10*time.Second, false)
	f(9*time.Second, 2, 20*time.Second, true)
	f(9*time.Second, 3, MaxPassLife+time.Hour, false) // could not be remembered
	f(9*time.Second, 4, 20*time.Second, true)
	f(9*time.Second, 5, 20*time.Second, false) // full
	f(13*time.Second, 5, 20*time.Second, true) // the first has expired
	f(13*time.Second, 2, 20*time.Second, false)
	f(time.Hour, 9, time.Hour+10*time.Second, true)
	if got := u.Len(); got != 1 {
		t.Errorf("%d are remembered, want 1", got)
	}
}

func BenchmarkLimiterFlood(b *testing.B) {
	l := NewLimiter[netip.Addr](LimiterConfig{Rate: 3, Burst: 20, Size: 1 << 17})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		l.Allow(at(time.Duration(i)*time.Microsecond), a)
	}
}
