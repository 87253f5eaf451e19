// Package leg is what a router and a gateway say to each other: the records in which a gateway sends a session's
// bytes, and the signed headers by which a gateway knows a router.
//
// A record is
//
//	 0        4      5       6          8        12       16         24         32
//	| length | kind | flags | reserved | topic  | epoch  | ID ms    | ID seq   | bytes…
//	  u32      u8     u8      u16=0      u32      u32      u64        u64        big endian
//
// with length bytes behind the header. They end on a message boundary of whatever the client speaks, so that a router
// can change gateways between two records without the client noticing. Topic is a number that the gateway's process has
// given to a topic, the same for all its sessions: a record is one byte string, shared by all of them.
//
// A record of no topic, that is of topic 0, acknowledges: its ID's milliseconds say how many of the bytes that came from
// the client on this leg the gateway is done with, all answers to them included; 0 says nothing. What is not acknowledged
// the router keeps for the next gateway.
//
// A session changes gateways like this: the router asks the next one with the [Ticket] that the first one gave, reads its
// answer, lets go of the old leg, and sends a [Resume]: the topics that the client follows and where it stands in them.
// Behind it come, once more, the client's bytes that were not acknowledged.
//
// Of a topic that many of a router's sessions follow the gateway need not send every message to each: it offers a feed ([Offer]), a
// leg that the router opens for itself, as if it were a session's next, and shares out. The session's own leg is let go of and
// opened anew when it is needed. On a feed the router says by [AppendMembers] for how many sessions it stands, and asks by [AppendAsk] for more
// that need no leg to begin with.
//
// The package is pure: no I/O, and no clock but the one it is handed.
package leg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ringside-edge/ringside/internal/position"
)

// HeaderSize is the length of a record's header in bytes.
const HeaderSize = 32

// MaxRecord is the most bytes that a record may have behind its header: several times the largest payload, for
// encodings that grow it.
const MaxRecord = 64 << 20

// Kind says what a record is for.
type Kind uint8

// The kinds. A reader passes over unknown kinds below 128 and refuses the others.
const (
	Data   Kind = 1 // whole messages for the client; with a topic, its position behind them
	Topic  Kind = 2 // the bytes are a topic's name and not for the client, who stands at the position and follows it from there
	Beacon Kind = 3 // the topic's position has moved without a message; bytes, if any, are for the client
	End    Kind = 4 // the last bytes for the client: the session has ended on purpose
	Move   Kind = 5 // the gateway wants the session to go elsewhere, and serves it until it does; no bytes
	Renew  Kind = 6 // the bytes are the session's ticket from now on, in place of the last one
	Feed   Kind = 7 // the bytes are an [Offer]: the router may serve the topic to the session itself

	Granted Kind = 8 // on a feed: the bytes are a [Grant], and none for the client of a session on a leg

	mustUnderstand Kind = 128
)

// Flags modify a kind.
type Flags uint8

// The flags of a [Topic] record.
const (
	// Off says that the session no longer follows the topic.
	Off Flags = 1
	// Asked says that the client has not been told yet that it follows the topic; the position is where it wants to
	// begin, zero for what comes next.
	Asked Flags = 2
	// TakesAsks says, on a feed, that the gateway can be asked for sessions there: [AppendAsk].
	TakesAsks Flags = 4
)

// Strict is the flag of a [Feed] record that says: a client that does not keep up must have a leg of its own.
const Strict Flags = 1

// Header is a record's header.
type Header struct {
	Length   uint32 // bytes behind the header
	Kind     Kind
	Flags    Flags
	Topic    uint32 // 0: the record belongs to no topic
	Position position.Position
}

// ForClient reports whether the bytes of a record of this kind go to the client.
func (k Kind) ForClient() bool { return k == Data || k == Beacon || k == End }

// Acknowledged is how many bytes of the client's the gateway is done with, as far as the record tells; else 0.
func (h Header) Acknowledged() uint64 {
	if h.Topic != 0 || h.Kind == Topic {
		return 0
	}
	return h.Position.ID.Ms
}

// Acknowledge is the position of a record of no topic that says: n bytes of the client's are done with.
func Acknowledge(n uint64) position.Position { return position.Position{ID: position.ID{Ms: n}} }

// Told is the position of a record of no topic that says: with its bytes the client has been told of the backoff policy of
// this version. Readers that don't know it see no difference.
func Told(version uint32) position.Position {
	return position.Position{ID: position.ID{Seq: uint64(version)}}
}

// PutHeader writes h into the first [HeaderSize] bytes of b.
func PutHeader(b []byte, h Header) {
	_ = b[HeaderSize-1]
	binary.BigEndian.PutUint32(b, h.Length)
	b[4], b[5], b[6], b[7] = byte(h.Kind), byte(h.Flags), 0, 0
	binary.BigEndian.PutUint32(b[8:], h.Topic)
	binary.BigEndian.PutUint32(b[12:], h.Position.Epoch)
	binary.BigEndian.PutUint64(b[16:], h.Position.ID.Ms)
	binary.BigEndian.PutUint64(b[24:], h.Position.ID.Seq)
}

// AppendRecord appends a record to b: h, with the length of body, and body.
func AppendRecord[T string | []byte](b []byte, h Header, body T) []byte {
	h.Length = uint32(len(body))
	return append(AppendHeader(slices.Grow(b, HeaderSize+len(body)), h), body...)
}

// AppendHeader appends h to b.
func AppendHeader(b []byte, h Header) []byte {
	var hdr [HeaderSize]byte
	PutHeader(hdr[:], h)
	return append(b, hdr[:]...)
}

// What makes a header unacceptable.
var (
	ErrTooLarge = errors.New("leg: the record is too large")
	ErrKind     = errors.New("leg: a record of an unknown kind that must be understood")
	ErrReserved = errors.New("leg: the reserved bytes are not zero")
	ErrName     = errors.New("leg: the topic's name is too long")
)

// maxName is the length of the longest name in a [Topic] record.
const maxName = 255

// ParseHeader reads the first [HeaderSize] bytes of b.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("leg: a header of %d bytes is too short", len(b))
	}
	h := decodeHeader(b)
	switch {
	case h.Length > MaxRecord:
		return Header{}, ErrTooLarge
	case b[6] != 0 || b[7] != 0:
		return Header{}, ErrReserved
	case h.Kind == 0 || h.Kind >= mustUnderstand:
		return Header{}, ErrKind
	case h.Kind == Topic && h.Length > maxName:
		return Header{}, ErrName
	}
	return h, nil
}

// decodeHeader reads a header without checking it.
func decodeHeader(b []byte) Header {
	return Header{
		Length: binary.BigEndian.Uint32(b), Kind: Kind(b[4]), Flags: Flags(b[5]), Topic: binary.BigEndian.Uint32(b[8:]),
		Position: position.Position{
			Epoch: binary.BigEndian.Uint32(b[12:]),
			ID:    position.ID{Ms: binary.BigEndian.Uint64(b[16:]), Seq: binary.BigEndian.Uint64(b[24:])},
		},
	}
}
