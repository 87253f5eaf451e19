package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes: what a script can tell apart. A new one needs a line in exits, which --help, the manual page and docs/CLI.md are made from.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
	exitUnfinished  = 5
	exitInterrupted = 128 // and the number of the signal
)

// exits says what each code means.
//
//nolint:gochecknoglobals // a constant in all but name
var exits = []struct {
	code    string
	meaning string
}{
	{"0", "Done."},
	{"1", "Failed: what was asked for could not be done, or what was checked is not well. The message says why."},
	{"2", "Usage: the command line, the environment or a file that it names is wrong. Nothing was tried."},
	{"3", "Not reachable: nobody answers there, TLS fails, or it is no Ringside node."},
	{"4", "Refused: the node says no, to the token, to the topic or to the shard. Trying again will not help."},
	{"5", "Not finished: the time was over, and it may still happen, or has. A drain goes on; a publish may have been carried out: repeat it with the same --id."},
	{"130", "Interrupted by SIGINT (Ctrl-C); 143 by SIGTERM."},
}

// failure is an error with an exit code of its own, and what the person at the terminal can do about it.
type failure struct {
	code   int
	err    error  // nil when all is said already
	advice string // a sentence, or empty
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// exitCode is the code that an error ends the program with.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	return exitFailure
}

// usage is an error of whoever called the program.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &failure{code: exitUsage, err: err}
}

// interruptible is ctx until the first SIGINT or SIGTERM; a second one ends the process at once. stop must be called.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer signal.Stop(signals)
		select {
		case <-ctx.Done():
		case got := <-signals:
			code := exitFailure
			if number, ok := got.(syscall.Signal); ok {
				code = exitInterrupted + int(number)
			}
			cancel(&failure{code: code, err: errors.New("interrupted")})
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// interrupted is why a context of [interruptible] has ended, when it was by a signal; else nil.
func interrupted(ctx context.Context) error {
	if f, ok := errors.AsType[*failure](context.Cause(ctx)); ok {
		return f
	}
	return nil
}
