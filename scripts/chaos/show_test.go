package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/progress"
)

// The display tells which seed it is, goes on only, and is at 100 % when all are over.
func TestDisplay(t *testing.T) {
	var out bytes.Buffer
	d := &display{bar: progress.New(progress.Config{Out: &out}), duration: time.Minute, seeds: 2}
	d.begin(3)
	at := func(after time.Duration) float64 { return d.done(time.Unix(0, d.began.Load()).Add(after)) }
	if half, whole, late := at(30*time.Second), at(time.Minute), at(time.Hour); half <= 0 || whole <= half || late <= whole || late >= 1 {
		t.Errorf("the first seed: %v, %v, %v", half, whole, late)
	}
	d.began.Add(-int64(10 * time.Second)) // it takes so long
	d.begin(4)
	d.faults.Add(1)
	d.violations.Add(5)
	if begun, half := at(0), at(5*time.Second); begun < 1 || begun > 1.1 || half < 1.4 || half > 1.6 {
		t.Errorf("the second seed: %v, %v", begun, half)
	}
	d.end(true)
	for _, want := range []string{"seed 1 of 2: 0 %, 0 of 3 faults, 0 violations\n", "seed 2 of 2: 50 %, 0 of 4 faults, 0 violations", "all seeds: 100 %, 5 violations"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %q, want %q in it", &out, want)
		}
	}
}
