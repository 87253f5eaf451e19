package main

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
)

var errBroken = errors.New("broken")

// waits ends when it is told to, with the error that the context has.
func waits(stopped chan<- string, name string) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		stopped <- name
		return ctx.Err()
	}}
}

func TestRunAll(t *testing.T) {
	f := func(name string, first func(context.Context) error, want string) {
		t.Helper()
		stopped := make(chan string, 2)
		err := runAll(t.Context(), waits(stopped, "a"), part{"first", first}, waits(stopped, "b"))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || len(stopped) != 2 {
			t.Errorf("%s: got %q with %d others stopped, want %q with both", name, got, len(stopped), want)
		}
	}
	f("an error", func(context.Context) error { return errBroken }, "first: broken")
	f("an end", func(context.Context) error { return nil }, "")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runAll(ctx, waits(make(chan string, 1), "a")); err != nil {
		t.Errorf("told to stop: got %v, want nil", err)
	}
	// What goes wrong while the parts stop is not lost.
	err := runAll(t.Context(), part{"", func(context.Context) error { return nil }},
		part{"late", func(ctx context.Context) error { <-ctx.Done(); return errBroken }})
	if !errors.Is(err, errBroken) {
		t.Errorf("an error at the end: got %v, want %v", err, errBroken)
	}
}

func TestSignals(t *testing.T) {
	ch := make(chan os.Signal)
	leave := newTrigger()
	done := make(chan error, 1)
	go func() { done <- obey(t.Context(), ch, leave) }()
	ch <- syscall.SIGTERM
	<-leave.pulled()
	ch <- syscall.SIGINT
	if err := <-done; !errors.Is(err, errForced) {
		t.Errorf("the second signal: got %v, want %v", err, errForced)
	}

	leave = newTrigger()
	leave.pull()
	go func() { done <- obey(t.Context(), ch, leave) }()
	ch <- syscall.SIGTERM
	if err := <-done; !errors.Is(err, errForced) {
		t.Errorf("a signal while it leaves: got %v, want %v", err, errForced)
	}

	// One that comes once it has drained: as preStop and then SIGTERM do.
	leave = newTrigger()
	leave.pull()
	leave.over.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- obey(ctx, ch, leave) }()
	ch <- syscall.SIGTERM
	ch <- syscall.SIGTERM
	cancel()
	if err := <-done; err != nil {
		t.Errorf("a signal when it has drained: got %v, want nil", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := obey(ctx, ch, newTrigger()); err != nil {
		t.Errorf("told to stop: got %v, want nil", err)
	}
}
