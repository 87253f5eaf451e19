// Package handover passes open descriptors, each with the state of what uses them, from a running process to its
// successor, over a UNIX stream socket.
//
// The old process listens, and the successor dials. Either says small things with Send. The old process gives its
// items in batches: the successor receives a batch, acknowledges it, and only then uses its descriptors. Until then they
// belong to the Conn, so that a successor that fails gives nothing away, and the old process goes on with what it still
// holds:
//
//	old process                      successor
//	Listen, Accept                   Dial
//	Give(kind, items)  ── batch ──►  Receive
//	returns nil        ◄── ack ────  Ack
//	closes its own descriptors       uses its duplicates
//
// It knows nothing of what the descriptors and their state are. Both processes must run as the same user.
package handover

import "errors"

// Limits of what is exchanged. They hold for who sends and are checked again by who receives.
const (
	MaxState   = 32 << 20 // bytes, the state of an item, and the payload of a message
	MaxBatch   = 64 << 20 // bytes, a batch: the states, and 8 for each item
	MaxItems   = 4096     // items in a batch
	MaxItemFDs = 253      // descriptors of an item
	MaxFDs     = 16384    // descriptors of a batch
)

var (
	// ErrVersion says that the other process speaks another version; the text has both.
	ErrVersion = errors.New("the versions of the handover differ")
	// ErrForeign says that what the other side speaks is no handover at all.
	ErrForeign = errors.New("the other side speaks no handover")
	// ErrPeer says that the other process runs as another user.
	ErrPeer = errors.New("the other process runs as another user")
	// ErrInUse says that somebody answers at the path already.
	ErrInUse = errors.New("another process listens there")
	// ErrTooLarge says that a batch or a message is above a limit, or a batch empty. Nothing of it was sent, and the
	// connection stays usable.
	ErrTooLarge = errors.New("outside of the limits of a handover")
	// ErrMalformed says that the other side sent what a handover does not have.
	ErrMalformed = errors.New("malformed frame")
	// ErrTruncated says that the system had no room for all the descriptors of a batch: the limit of open files, as a
	// rule.
	ErrTruncated = errors.New("descriptors are lost: is the limit of open files too low?")
	// ErrUnsure says that a batch was sent whole, and nobody knows whether the successor has it.
	ErrUnsure = errors.New("no word came back")
)

// Item is one thing that is handed over: opaque state, and the descriptors that belong to it, in an order that the two
// processes agree on.
type Item struct {
	State []byte
	FDs   []int
}

// Message is what Receive returns. It is a batch when it has Items, and then has no payload.
type Message struct {
	Kind    byte
	Payload []byte
	Items   []Item
}
