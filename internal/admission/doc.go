// Package admission decides who may open a session now, and when the others shall come back: what makes a slope of a
// crowd that returns at once.
//
//	Limiter  how often one address, or one token, may come
//	Uses     a pass is good once
//	Door     how many handshakes are under way (Gradient), who waits and in which order, and how many it takes per second
//	Book     when whoever is turned away shall return
//	Pacer    how fast connections are accepted while the event loops lag
//
// It is pure: it starts nothing, waits for nothing and reads no clock; the time comes in with every call, and random
// numbers with the configuration, so that a simulation runs exactly what a router runs. It does not know HTTP, sockets or
// the encoding of passes. Every structure is bounded, and safe for concurrent use unless it says otherwise.
package admission

// Class is what a handshake is worth: the higher is let in first.
type Class uint8

// The classes, lowest first.
const (
	New      Class = iota // nothing speaks for it
	Resume                // it goes on with a session that it had
	Reserved              // it was turned away before, and comes when it was told to
	Classes
)

func (c Class) String() string { return [Classes]string{"new", "resume", "reserved"}[c] }
