//go:build fault

package fault

import (
	"os"
	"sync/atomic"
	"time"
)

// Enabled is whether faults are built in.
const Enabled = true

const (
	// env names the one fault that a process has.
	env = "RINGSIDE_FAULT"
	// stallEnv names a file: as long as it is there, tails are stuck.
	stallEnv = "RINGSIDE_FAULT_STALL"
)

//nolint:gochecknoglobals // of builds that are wrong on purpose
var (
	chosen Fault
	stall  string
	count  atomic.Uint64
)

func init() {
	chosen = Fault(os.Getenv(env))
	stall = os.Getenv(stallEnv)
	os.Unsetenv(env) // the program refuses variables that it does not know
	os.Unsetenv(stallEnv)
}

// Hit reports whether to do f wrong now: once in oneIn calls, when f is what the process is to do wrong.
func Hit(f Fault, oneIn uint64) bool { return chosen == f && count.Add(1)%oneIn == 0 }

// Stall holds its caller up for as long as a tail is to be stuck.
func Stall() {
	for stall != "" {
		if _, err := os.Stat(stall); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
