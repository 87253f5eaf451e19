package leg

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ringside-edge/ringside/internal/position"
)

// Resume is what a router tells a gateway, as the first bytes of a leg that goes on with a session:
//
//	| length u32 | version u8 | flags u8 | first u32 | topics u32 | topic… |
//	topic: | length u8 | name… | flags u8 | epoch u32 | ID ms u64 | ID seq u64 |
//
// big endian; length counts what follows it.
type Resume struct {
	// Begun says that an earlier gateway has told the router of topics; else the session begins with the ticket's.
	Begun bool
	// First is the index in Topics of the one whose next message must be sent before anything else, because the client
	// has a part of it; -1 for none.
	First  int
	Topics []Standing
}

// Standing is where a session stands in a topic.
type Standing struct {
	Name     string
	Position position.Position
	Asked    bool // as the flag [Asked]
}

// IsNote reports whether a standing's name is none of a topic, but a note of the gateway's, which it wants to have back: it begins with a
// byte that no topic's name has.
func IsNote(name string) bool { return name != "" && name[0] == 0 }

const (
	resumeVersion = 1
	resumeBegun   = 1 // flag
	resumeHead    = 4 + 1 + 1 + 4 + 4
	standingSize  = 1 + 1 + 4 + 8 + 8 // and the name
	noFirst       = 1<<32 - 1
)

// ErrResume is the cause of everything that is wrong with a resume block.
var ErrResume = errors.New("leg: the resume block is malformed")

// AppendResume appends r to b. Names must have 255 bytes at most.
func AppendResume(b []byte, r Resume) []byte {
	at := len(b)
	var flags byte
	if r.Begun {
		flags |= resumeBegun
	}
	first := uint32(noFirst)
	if r.First >= 0 {
		first = uint32(r.First)
	}
	b = append(b, 0, 0, 0, 0, resumeVersion, flags)
	b = binary.BigEndian.AppendUint32(b, first)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Topics)))
	for i := range r.Topics {
		t := &r.Topics[i]
		b = append(append(b, byte(len(t.Name))), t.Name...)
		var f Flags
		if t.Asked {
			f = Asked
		}
		b = binary.BigEndian.AppendUint32(append(b, byte(f)), t.Position.Epoch)
		b = binary.BigEndian.AppendUint64(b, t.Position.ID.Ms)
		b = binary.BigEndian.AppendUint64(b, t.Position.ID.Seq)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// ParseResume reads a resume block of at most maxTopics topics from the beginning of b. n is its length in bytes, 0 as
// long as it is not whole. All errors are [ErrResume].
func ParseResume(b []byte, maxTopics int) (r Resume, n int, err error) {
	if len(b) < 4 {
		return Resume{}, 0, nil
	}
	length := uint64(binary.BigEndian.Uint32(b))
	if length < resumeHead-4 || length > resumeHead+uint64(maxTopics)*(standingSize+maxName) {
		return Resume{}, 0, fmt.Errorf("%w: %d bytes", ErrResume, length)
	}
	if uint64(len(b)) < 4+length {
		return Resume{}, 0, nil
	}
	n = 4 + int(length)
	version, flags := b[4], b[5]
	first, count := binary.BigEndian.Uint32(b[6:]), binary.BigEndian.Uint32(b[10:])
	switch {
	case version != resumeVersion:
		return Resume{}, 0, fmt.Errorf("%w: version %d", ErrResume, version)
	case uint64(count) > uint64(maxTopics):
		return Resume{}, 0, fmt.Errorf("%w: %d topics", ErrResume, count)
	case first != noFirst && first >= count:
		return Resume{}, 0, fmt.Errorf("%w: the first of its topics is none of them", ErrResume)
	}
	r = Resume{Begun: flags&resumeBegun != 0, First: -1, Topics: make([]Standing, 0, count)}
	if first != noFirst {
		r.First = int(first)
	}
	rest := b[resumeHead:n]
	for range count {
		if len(rest) < 1 || len(rest) < standingSize+int(rest[0]) {
			return Resume{}, 0, fmt.Errorf("%w: a topic is cut off", ErrResume)
		}
		name := rest[1 : 1+int(rest[0])]
		f := rest[1+len(name):]
		r.Topics = append(r.Topics, Standing{
			Name: string(name), Asked: Flags(f[0])&Asked != 0,
			Position: position.Position{
				Epoch: binary.BigEndian.Uint32(f[1:]),
				ID:    position.ID{Ms: binary.BigEndian.Uint64(f[5:]), Seq: binary.BigEndian.Uint64(f[13:])},
			},
		})
		rest = f[standingSize-1:]
	}
	if len(rest) > 0 {
		return Resume{}, 0, fmt.Errorf("%w: %d bytes too many", ErrResume, len(rest))
	}
	return r, n, nil
}
