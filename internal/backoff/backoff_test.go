package backoff

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestWith(t *testing.T) {
	f := func(changes, want string) {
		t.Helper()
		p, err := Default().With(strings.Fields(changes)...)
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", changes, got, want)
		}
	}
	f("", "min=200ms max=30s factor=2 jitter=0.5")
	f("min=1s jitter=0", "min=1s max=30s factor=2 jitter=0")
	f("min=1s min=2s", "min is given twice")
	f("min", "want name=value")
	f("min=x", "min=x can't be read")
	f("speed=1", `"speed" is no part of the policy`)
	f("min=31s", "max is 30s")
	f("min=1us", "whole milliseconds")
	f("max=2h", "max is 2h0m0s")
	f("factor=0.5", "factor is 0.5")
	f("factor=NaN", "factor is NaN")
	f("jitter=1", "jitter is 1")
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(Default())
	if want := `{"min":200,"max":30000,"factor":2,"jitter":0.5}`; err != nil || string(b) != want {
		t.Fatalf("got %s, %v, want %s", b, err, want)
	}
	var p Policy
	if err := json.Unmarshal(b, &p); err != nil || p != Default() {
		t.Errorf("got %v, %v", p, err)
	}
	if err := json.Unmarshal([]byte(`{"min":9223372036854775807}`), &p); err == nil {
		t.Error("a time out of range is taken")
	}
}

// What is chosen for a client stays within the policy, whatever the policy is.
func TestDelays(t *testing.T) {
	for _, p := range []Policy{Default(), {time.Millisecond, time.Millisecond, 1, 0}, {time.Second, 2 * time.Second, 10, 0.9}} {
		for range 1000 {
			if d := p.Delay(3); d < time.Duration(float64(p.Min)*(1-p.Jitter)) || d > time.Duration(float64(p.Max)*(1+p.Jitter)) {
				t.Fatalf("%v: delay %v", p, d)
			}
			for name, d := range map[string]time.Duration{"over": p.Over(time.Hour), "soon": p.Soon(), "steady": p.Steady(), "paced": p.Paced(time.Hour)} {
				if d < p.Min || d > p.Max {
					t.Fatalf("%v: %s %v", p, name, d)
				}
			}
			if d := p.Paced(10 * time.Millisecond); d > p.Min+10*time.Millisecond {
				t.Fatalf("%v: over 10 ms paced %v", p, d)
			}
			if d := p.Paced(time.Hour); d > p.SoonMost() {
				t.Fatalf("%v: over an hour paced %v", p, d)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	other, _ := Default().With("jitter=0.4")
	same := Default()
	if same.Version() != Default().Version() || Default().Version() == other.Version() || other.Version() == 0 {
		t.Errorf("versions %x and %x", Default().Version(), other.Version())
	}
}
