package admission

import (
	"net/netip"
	"testing"
	"time"
)

// BenchmarkAllow is an address that comes again, among many.
func BenchmarkAllow(b *testing.B) {
	l := NewLimiter[netip.Addr](LimiterConfig{Rate: 1e6, Burst: 1e6, Size: 1 << 12})
	addrs := make([]netip.Addr, 1<<10)
	start := time.Unix(1_800_000_000, 0)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		l.Allow(start, AddrKey(addrs[i]))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if !l.Allow(start.Add(time.Duration(i)*time.Microsecond), AddrKey(addrs[i&(len(addrs)-1)])) {
			b.Fatal("refused")
		}
	}
}
