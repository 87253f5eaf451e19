package leg

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A router need not open a leg for a session that only listens: it asks for it on the feed of its topic, where the gateway has said that it takes
// that ([TakesAsks]), and the session begins parked. An ask is a [Members] whose All is askMark, whose Firsts is the ask's number, and whose Ended is
// the length of the client's handshake, as a gateway gets it on a leg, which follows. The answer is a record of kind [Granted].

const askMark = 1<<32 - 1

// MaxAsk bounds the handshake of an ask, in bytes.
const MaxAsk = 16 << 10

// AppendAsk appends an ask with a number of the router's choice. The request must not be longer than [MaxAsk].
func AppendAsk(b []byte, id uint32, request []byte) []byte {
	b = AppendMembers(b, Members{All: askMark, Firsts: id, Ended: uint32(len(request))})
	return append(b, request...)
}

// A router that lets a session of which it keeps notes end while it was served from a feed says so on that, because its gateway may have
// to remember it: by a [Members] whose All is leftMark, whose Firsts is the length of the session's ticket, and whose Ended is that of the
// ticket and the session's resume block, which follow.
const leftMark = 1<<32 - 2

// MaxLeft bounds ticket and resume block together, in bytes.
const MaxLeft = 64 << 10

// AppendLeft appends word of a session that has ended. It appends nothing where ticket and block are longer than [MaxLeft].
func AppendLeft(b []byte, ticket []byte, r Resume) []byte {
	at := len(b)
	b = append(AppendMembers(b, Members{All: leftMark, Firsts: uint32(len(ticket))}), ticket...)
	b = AppendResume(b, r)
	n := len(b) - at - MembersSize
	if n > MaxLeft {
		return b[:at]
	}
	binary.BigEndian.PutUint32(b[at+8:], uint32(n))
	return b
}

// ErrWords is of a feed on which something is said that is none of the words of this version.
var ErrWords = errors.New("leg: what is said on a feed is malformed")

// Words reads what a router says on a feed, however it is cut. The zero Words is ready to use.
type Words struct {
	part [MembersSize]byte // of a word that is not whole yet
	have int               // bytes in part
	word Members           // behind which something comes; left is what is missing of it
	left int
	body []byte
}

// Listener hears the words. What it is given is valid during the call.
type Listener interface {
	FeedMembers(m Members)
	FeedAsked(id uint32, request []byte)
	FeedLeft(ticket, resume []byte) // the resume block is as [ParseResume] reads it
}

// Take takes p in, and tells of each word that is whole. Behind an error, which is [ErrWords], nothing more can be understood.
func (w *Words) Take(p []byte, l Listener) error {
	for len(p) > 0 {
		if w.left > 0 {
			n := min(w.left, len(p))
			w.body = append(w.body, p[:n]...)
			p = p[n:]
			if w.left -= n; w.left == 0 {
				w.tell(l)
				w.body = w.body[:0]
			}
			continue
		}
		n := copy(w.part[w.have:], p)
		p = p[n:]
		if w.have += n; w.have < MembersSize {
			return nil
		}
		w.have = 0
		m := ParseMembers(w.part[:])
		switch limit := wordLimit(m.All); {
		case limit == 0:
			l.FeedMembers(m)
		case m.Ended == 0 || m.Ended > limit || m.All == leftMark && m.Firsts > m.Ended:
			return fmt.Errorf("%w: something of %d bytes", ErrWords, m.Ended)
		default:
			w.word, w.left = m, int(m.Ended)
		}
	}
	return nil
}

// wordLimit is how much may come behind a word, in bytes; 0: nothing does.
func wordLimit(mark uint32) uint32 {
	switch mark {
	case askMark:
		return MaxAsk
	case leftMark:
		return MaxLeft
	}
	return 0
}

func (w *Words) tell(l Listener) {
	if w.word.All == leftMark {
		l.FeedLeft(w.body[:w.word.Firsts], w.body[w.word.Firsts:])
		return
	}
	l.FeedAsked(w.word.Firsts, w.body)
}

// Grant is what the bytes of a [Granted] record say:
//
//	| id u32 | policy u32 | ticket length u16 | head length u16 | ticket… | head… | first bytes… |
//
// big endian. Where the session has to come on a leg there is nothing behind the number. The record's position is where the client stands,
// and its flags are those of a [Feed] record: the feed is the one that the record comes on.
type Grant struct {
	ID     uint32 // the ask's
	Begins bool   // the session has begun, and is parked at the record's position; else it has to come on a leg
	Policy uint32 // version of the backoff policy that its client is told
	Ticket []byte // sealed
	Head   []byte // of the answer to the client
	First  []byte // what the client is told behind that
}

const grantHead = 12

// AppendGrant appends the bytes of a [Granted] record. Ticket and head must have less than 64 KiB each.
func AppendGrant(b []byte, g Grant) []byte {
	b = binary.BigEndian.AppendUint32(b, g.ID)
	if !g.Begins {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, g.Policy)
	b = binary.BigEndian.AppendUint16(b, uint16(len(g.Ticket)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(g.Head)))
	return append(append(append(b, g.Ticket...), g.Head...), g.First...)
}

// ParseGrant reads the bytes of a [Granted] record. What it returns lies in b. ok is false when they can't be one.
func ParseGrant(b []byte) (g Grant, ok bool) {
	switch {
	case len(b) == 4:
		return Grant{ID: binary.BigEndian.Uint32(b)}, true
	case len(b) < grantHead:
		return Grant{}, false
	}
	g = Grant{ID: binary.BigEndian.Uint32(b), Begins: true, Policy: binary.BigEndian.Uint32(b[4:])}
	ticket, head := int(binary.BigEndian.Uint16(b[8:])), int(binary.BigEndian.Uint16(b[10:]))
	if b = b[grantHead:]; ticket == 0 || ticket > maxTicket || head == 0 || ticket+head > len(b) {
		return Grant{}, false
	}
	g.Ticket, g.Head, g.First = b[:ticket], b[ticket:ticket+head], b[ticket+head:]
	return g, true
}
