package main

import "testing"

func TestStorm(t *testing.T) {
	var s storm
	at := uint64(0)
	f := func(mib float64, want change) {
		t.Helper()
		at += uint64(mib * (1 << 20))
		if got := s.look(at); got != want {
			t.Errorf("%g MiB: got %v, want %v", mib, got, want)
		}
	}
	quiet := func(mib float64) {
		t.Helper()
		for range reclaimQuiet - 1 {
			f(mib, stormGoesOn)
		}
		f(mib, stormEnds)
		f(mib, stormGoesOn) // once
	}
	f(20, stormGoesOn) // the program begins
	quiet(0.1)
	f(3, stormGoesOn) // a slope, no storm
	f(3, stormGoesOn)
	f(50, stormBegins)
	f(50, stormGoesOn)
	f(1, stormGoesOn)
	f(3, stormGoesOn) // still coming
	quiet(2)
}

// What the storms are measured by moves.
func TestAllocated(t *testing.T) {
	before := allocated()
	b := make([]byte, 1<<20)
	if n := allocated() - before; n < uint64(len(b)) {
		t.Errorf("%d bytes allocated, want %d at least", n, len(b))
	}
}
