package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Events come in the order of their moments, and those of one moment in that in which they were planned.
func TestAgenda(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var a agenda
	var want []event
	for i := range 5000 {
		at := moment(rng.IntN(500))
		a.plan(at, 0, int32(i))
		want = append(want, event{at: at, seq: uint64(i + 1), who: int32(i)})
	}
	slices.SortFunc(want, func(a, b event) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for i, w := range want {
		if e, ok := a.next(); !ok || e != w {
			t.Fatalf("event %d: got %+v, %v, want %+v", i, e, ok, w)
		}
	}
	if e, ok := a.next(); ok {
		t.Errorf("got %+v, want the end", e)
	}
}

// Everybody gets in, as often as the plan's clients are; those who obey come less often than those who don't, and a plan has one
// outcome.
func TestStorm(t *testing.T) {
	f := func(policy, limits bool) (attempts int) {
		t.Helper()
		p := usual(5000, host{Handshake: 400 * time.Microsecond, Refusal: 60 * time.Microsecond, Backlog: 4096, Cores: 2})
		p.Policy, p.Limits = policy, limits
		o := simulate(p)
		opened, refused, abandoned := 0, 0, 0
		for _, s := range o.Steps {
			attempts, opened, refused, abandoned = attempts+s.Attempts, opened+s.Opened, refused+s.Refused, abandoned+s.Abandoned
			if s.Open > p.Clients || s.Busy < 0 || s.Busy > 1.000001 || s.Delay < 0 {
				t.Errorf("policy %v, limits %v: got %+v", policy, limits, s)
			}
		}
		if opened != p.Clients || attempts != opened+refused+abandoned || o.Back[2] == 0 || o.Back[0] > o.Back[2] {
			t.Errorf("policy %v, limits %v: got %d of %d in, %d refused, %d given up, of %d attempts; %v", policy, limits, opened, p.Clients, refused, abandoned, attempts, o)
		}
		if again := simulate(p); again.String() != o.String() {
			t.Errorf("policy %v, limits %v: got %v, and then %v", policy, limits, o, again)
		}
		return attempts
	}
	f(false, false)
	if naive, obedient := f(false, true), f(true, true); obedient >= naive {
		t.Errorf("obedient clients came %d times, naive ones %d times", obedient, naive)
	}
}
