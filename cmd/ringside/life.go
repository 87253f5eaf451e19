package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// part is something that runs as long as the node does.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// runAll runs the parts until the first of them ends, for whatever reason, then stops the others and waits for
// all. It returns the error that ended it; nil when ctx ended or a part was done.
func runAll(ctx context.Context, parts ...part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(parts))
	for _, p := range parts {
		go func() {
			err := p.run(ctx)
			if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				err = nil // it ended because it was told to
			}
			if err != nil && p.name != "" {
				err = fmt.Errorf("%s: %w", p.name, err)
			}
			ended <- err
		}()
	}
	first := <-ended
	cancel()
	for range len(parts) - 1 {
		if err := <-ended; first == nil {
			first = err
		}
	}
	return first
}

// trigger is something that happens once, and that many may cause.
type trigger struct {
	once sync.Once
	done chan struct{}
	over atomic.Bool // of a drain: nobody is waited for any more
}

func newTrigger() *trigger { return &trigger{done: make(chan struct{})} }

// pull makes it happen. It does not block; pulling again does nothing.
func (t *trigger) pull() { t.once.Do(func() { close(t.done) }) }

// pulled is closed once it has happened.
func (t *trigger) pulled() <-chan struct{} { return t.done }

// has reports whether it has happened.
func (t *trigger) has() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// errForced ends a node that was told to stop while it drained.
var errForced = errors.New("stopped by a second signal, before the drain was over")

// signals pulls leave at the first SIGTERM or SIGINT and ends with errForced at the second.
func signals(leave *trigger) part {
	return part{"", func(ctx context.Context) error {
		ch := make(chan os.Signal, 2)
		signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT)
		defer signal.Stop(ch)
		return obey(ctx, ch, leave)
	}}
}

// obey is [signals] with the signals handed in. One that comes while the node leaves already, because somebody asked
// its admin port, counts as the second. Once the drain is over there is nothing to cut short: a manager that has waited for it, and then
// stops the node as it stops everything, does not get a failure for that.
func obey(ctx context.Context, signals <-chan os.Signal, leave *trigger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
		}
		if leave.over.Load() {
			continue
		}
		if leave.has() {
			return errForced
		}
		leave.pull()
	}
}
