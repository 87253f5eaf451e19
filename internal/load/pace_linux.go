package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// precise asks the system not to put off the wake-ups of this thread, so that they come together with others, until the
// function that it returns is called.
func precise() (undo func()) {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it a pause is 50 µs longer
	return func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }
}

// pause waits until t. A timer of Go's comes up to a millisecond late in a process that does nothing else, which would
// count as latency.
func pause(t time.Time) {
	for d := time.Until(t); d > 0; d = time.Until(t) {
		ts := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&ts, nil) // it ends early for a signal
	}
}
