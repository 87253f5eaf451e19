package main

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func testPlan(seed uint64, faults ...string) []step {
	o := options{duration: 3 * time.Minute, faults: faults, routers: 2, gateways: 4}
	return plan(o.plan(seed))
}

func TestScheduleFollowsFromTheSeed(t *testing.T) {
	a, b := testPlan(1, allFaults...), testPlan(1, allFaults...)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed gives\n%v\nand\n%v", a, b)
	}
	if reflect.DeepEqual(a, testPlan(2, allFaults...)) {
		t.Error("two seeds give the same schedule")
	}
}

func TestScheduleHasEveryFault(t *testing.T) {
	for seed := range uint64(20) {
		seen := map[string]int{}
		for _, s := range testPlan(seed, allFaults...) {
			seen[s.Fault]++
			if s.Storm {
				seen[faultStorm]++
			}
		}
		for _, f := range allFaults {
			if seen[f] == 0 {
				t.Errorf("seed %d: no %s", seed, f)
			}
		}
	}
	for _, fault := range allFaults {
		if n := len(testPlan(1, fault)); (n == 0) != (fault == faultStorm) { // a storm is made of others
			t.Errorf("only %s: got %d faults", fault, n)
		}
	}
}

// Whatever the seed, some nodes are left, the faults end in time, and their order is that of time.
func TestScheduleLeavesNodes(t *testing.T) {
	for seed := range uint64(50) {
		o := options{duration: 2 * time.Minute, faults: allFaults, routers: 2, gateways: 4}
		cfg := o.plan(seed)
		steps := plan(cfg)
		if !slices.IsSortedFunc(steps, func(a, b step) int { return int(a.At - b.At) }) {
			t.Errorf("seed %d: not in order", seed)
		}
		for i, s := range steps {
			if s.At+s.For > o.duration {
				t.Errorf("seed %d: %v ends after %v", seed, s, o.duration)
			}
			hit := map[string]bool{}
			for _, other := range steps {
				if other.At <= s.At && s.At < other.At+other.For {
					if hit[other.Target] && other.Target != "" {
						t.Errorf("seed %d: %s has two faults at %v", seed, other.Target, s.At)
					}
					hit[other.Target] = true
					hit[other.Other] = true
				}
			}
			spare := 0
			for _, g := range cfg.Gateways {
				if !hit[g] {
					spare++
				}
			}
			if least := map[bool]int{true: 1, false: spareGateways}[s.Storm]; spare < least {
				t.Errorf("seed %d, fault %d (%v): %d gateways are left, want %d", seed, i, s, spare, least)
			}
			if hit["r1"] && hit["r2"] && !s.Storm && s.Fault != faultCut && s.Fault != faultSplit {
				down := 0
				for _, other := range steps {
					if other.At <= s.At && s.At < other.At+other.For && (other.Fault == faultRouter || other.Fault == faultTakeover) {
						down++
					}
				}
				if down > 1 {
					t.Errorf("seed %d: both routers are down at %v", seed, s.At)
				}
			}
		}
	}
}

func TestChosen(t *testing.T) {
	f := func(with, without string, want ...string) {
		t.Helper()
		got, err := chosen(with, without)
		if (err != nil) != (want == nil) || !slices.Equal(got, want) {
			t.Errorf("%q without %q: got %q, %v, want %q", with, without, got, err, want)
		}
	}
	f("kill,stop", "", faultKill, faultStop)
	f("stop,kill", "", faultKill, faultStop)
	f("kill,stop", "kill", faultStop)
	f("kill,flood", "")
	f("kill", "flood")
}

// Redis has one fault at a time and some peace afterwards, and one that loses data comes alone.
func TestScheduleOfRedis(t *testing.T) {
	ways := map[string]int{}
	for seed := range uint64(50) {
		steps := testPlan(seed, allFaults...)
		for _, s := range steps {
			ways[s.How]++
			for _, other := range steps {
				if other == s || other.At+other.For <= s.At || s.At+s.For+redisQuiet <= other.At {
					continue
				}
				if ofRedis(s.Fault) && ofRedis(other.Fault) {
					t.Errorf("seed %d: %v and %v", seed, s, other)
				}
				if s.How == withLoss && other.At < s.At+s.For {
					t.Errorf("seed %d: %v is not alone: %v", seed, s, other)
				}
			}
		}
	}
	for _, how := range []string{withLoss, withoutLoss, withHandover} {
		if ways[how] < 20 {
			t.Errorf("%d failovers %s, want more", ways[how], how)
		}
	}
}
