//go:build fault

package fault

import (
	"os"
	"sync/atomic"
)

// Enabled is whether faults are built in.
const Enabled = true

// env names the one fault that a process has.
const env = "RINGSIDE_FAULT"

//nolint:gochecknoglobals // of builds that are wrong on purpose
var (
	chosen Fault
	count  atomic.Uint64
)

func init() {
	chosen = Fault(os.Getenv(env))
	os.Unsetenv(env) // the program refuses variables that it does not know
}

// Hit reports whether to do f wrong now: once in oneIn calls, when f is what the process is to do wrong.
func Hit(f Fault, oneIn uint64) bool { return chosen == f && count.Add(1)%oneIn == 0 }
