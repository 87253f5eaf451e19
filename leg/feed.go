package leg

import (
	"encoding/binary"
	"fmt"
)

// Offer is what the bytes of a [Feed] record say:
//
//	| key u64 | sealed ticket… |
//
// big endian. The position of the record's header has no meaning but for the milliseconds of its ID: Unix time in ms when the
// session has to have a leg of its own again, 0 for never.
type Offer struct {
	Key    uint64 // the same for all sessions, of whatever gateway, that get the topic in the same bytes
	Ticket []byte // opens the feed, sealed
}

const offerHead = 8

// AppendOffer appends the bytes of a [Feed] record to b.
func AppendOffer(b []byte, o Offer) []byte {
	return append(binary.BigEndian.AppendUint64(b, o.Key), o.Ticket...)
}

// ParseOffer reads the bytes of a [Feed] record. The ticket lies in b. ok is false when it can't be one.
func ParseOffer(b []byte) (o Offer, ok bool) {
	if len(b) <= offerHead || len(b) > offerHead+maxTicket {
		return Offer{}, false
	}
	return Offer{Key: binary.BigEndian.Uint64(b), Ticket: b[offerHead:]}, true
}

// Members are for how many sessions a feed stands.
type Members struct {
	All    uint32 // that follow its topic
	Firsts uint32 // of them those that have no other topic, or of whose topics it is the one that is counted
	Ended  uint32 // such that have ended since the leg began, instead of getting a leg of their own
}

// MembersSize is the length of what [AppendMembers] appends, in bytes.
const MembersSize = 12

// AppendMembers appends what a router says on a feed, whenever that has changed.
func AppendMembers(b []byte, m Members) []byte {
	for _, n := range []uint32{m.All, m.Firsts, m.Ended} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// ParseMembers is the reverse: of the first [MembersSize] bytes of b.
func ParseMembers(b []byte) Members {
	return Members{All: binary.BigEndian.Uint32(b), Firsts: binary.BigEndian.Uint32(b[4:]), Ended: binary.BigEndian.Uint32(b[8:])}
}

// Next reads the record at the beginning of b. n is its length in bytes with its header, 0 as long as it is not whole. body lies
// in b. It does not allocate.
func Next(b []byte) (h Header, body []byte, n int, err error) {
	if len(b) < HeaderSize {
		return Header{}, nil, 0, nil
	}
	if h, err = ParseHeader(b); err != nil {
		return Header{}, nil, 0, fmt.Errorf("at a record's beginning: %w", err)
	}
	if n = HeaderSize + int(h.Length); n > len(b) {
		return h, nil, 0, nil
	}
	return h, b[HeaderSize:n], n, nil
}
