// Package position holds the two numbers that say where a session stands in a topic: the entry ID of a
// Redis stream, and the epoch of the stream that the ID belongs to.
//
// It is pure: no I/O, no clock. Every package that speaks of positions uses these types, so that there is
// one text form and one order.
package position

// ID is the ID of a Redis stream entry, `<ms>-<seq>`. IDs of one epoch of one stream are totally ordered.
type ID struct {
	Ms  uint64 // milliseconds since the UNIX epoch, by the clock of Redis
	Seq uint64 // counts the entries of one millisecond
}

// Position is where a session stands in a topic: everything up to and including ID has been seen in the
// life of the stream that Epoch names. The zero Position stands before every entry of no epoch at all.
type Position struct {
	Epoch uint32 // identity of one life of the stream; never 0 in a position that a gateway gave
	ID    ID
}
