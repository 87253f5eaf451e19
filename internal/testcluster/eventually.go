package testcluster

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// pollEvery is how often a condition is looked at again.
const pollEvery = 20 * time.Millisecond

// Limit is how long a condition may take to become true before a test gives up: long enough that only a real
// failure reaches it on a busy machine.
func Limit() time.Duration {
	if Race {
		return 90 * time.Second
	}
	return 45 * time.Second
}

// Eventually calls f until it returns nil and fails the test with f's last error when that takes longer than
// [Limit]. what names the condition.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit())
	defer cancel()
	if err := Poll(ctx, f); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Soon waits until ok holds, and fails the test when that takes longer than [Limit]. It is for conditions that come true
// within milliseconds and have nothing to say when they don't.
func Soon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(Limit())
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never came true: %s", what)
		}
	}
}

// Poll calls f until it returns nil; when ctx ends first it returns f's last error.
func Poll(ctx context.Context, f func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in time: %w", err)
		case <-tick.C:
		}
	}
}
