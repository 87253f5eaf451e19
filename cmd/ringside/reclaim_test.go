package main

import "testing"

func TestStorm(t *testing.T) {
	var s storm
	f := func(sessions uint64, want bool) {
		t.Helper()
		if got := s.over(sessions); got != want {
			t.Errorf("%d sessions: got %v, want %v", sessions, got, want)
		}
	}
	f(0, false)
	f(400, false) // a slope, no storm
	f(800, false)
	f(5000, false)
	f(5100, false) // still coming
	f(5120, true)
	f(5120, false) // once
	f(100, false)  // all gone
	f(100, true)
}
