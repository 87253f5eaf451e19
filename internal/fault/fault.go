// Package fault breaks the program on purpose, in builds with the tag "fault" only: the chaos harness has to notice each of
// its faults, or it would prove nothing. In all other builds it is constants that the compiler takes out.
package fault

// Fault is something that is done wrong now and then.
type Fault string

// The faults.
const (
	Drop     Fault = "drop"     // a gateway leaves out a message for one session
	Repeat   Fault = "repeat"   // a gateway sends a message to one session twice
	Position Fault = "position" // a router does not note a session's position
	Ack      Fault = "ack"      // a publish is acknowledged before, and so sometimes without, its message being added
	Epoch    Fault = "epoch"    // a position of another life of the stream passes for one of this
	Stale    Fault = "stale"    // a gateway does not notice that a stream has begun a new life
)
