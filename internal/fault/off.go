//go:build !fault

package fault

// Enabled is whether faults are built in.
const Enabled = false

// Hit reports whether to do f wrong now: never.
func Hit(Fault, uint64) bool { return false }

// Stall holds its caller up for as long as a tail is to be stuck: not at all.
func Stall() {}
