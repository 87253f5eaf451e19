package leg

import "github.com/ringside-edge/ringside/internal/position"

// Sink hears what a [Stripper] finds between the bytes for the client. Its methods must not block.
type Sink interface {
	// LegTopic tells that the session follows a topic from h.Position on, or no longer (h.Flags has [Off]). name is
	// valid during the call.
	LegTopic(h Header, name []byte)
	// LegPosition tells that a whole record of the topic has been stripped: with the bytes given out so far the client
	// stands at p.
	LegPosition(topic uint32, p position.Position)
	// LegEnd tells that the session has ended on purpose. What comes behind is not looked at.
	LegEnd()
	// LegUnknown tells of a record of an unknown kind that was passed over.
	LegUnknown(k Kind)
}

// Stripper takes the records off a leg's bytes, wherever reads have cut them. The zero Stripper stands at a record's
// beginning. It keeps no reference to the bytes it is given.
type Stripper struct {
	name   *[]byte          // of a Topic record that is half way; nil as a rule
	left   uint32           // inside: bytes of the record that are still to come
	given  uint32           // inside: bytes of it for the client that were given out
	have   uint8            // bytes of header that have come
	inside bool             // header is whole, and was checked: its record is half way
	ended  bool             // an End record is complete
	header [HeaderSize]byte // as it came: a session that is idle between two records needs no more than its bytes
}

// Strip takes what one read of the leg has returned and gives back what of it is for the client. The result lies in
// buf; for one whole record it is a part of buf where it stands, otherwise records are moved together in place. It does
// not allocate, but for a [Topic] record that a read has cut. After an error, or LegEnd, the leg must not be read on.
func (s *Stripper) Strip(buf []byte, sink Sink) (client []byte, err error) {
	start, out := 0, 0 // what is for the client: buf[start:out]
	for in := 0; in < len(buf) && !s.ended; {
		if !s.inside {
			n := copy(s.header[s.have:], buf[in:])
			in += n
			s.have += uint8(n)
			if s.have < HeaderSize {
				break
			}
			h, err := ParseHeader(s.header[:])
			if err != nil {
				return buf[start:out], err
			}
			s.inside, s.left, s.given, s.have = true, h.Length, 0, 0
			if s.left > 0 {
				continue
			}
		}
		body := buf[in:min(len(buf), in+int(s.left))]
		in += len(body)
		s.left -= uint32(len(body))
		if s.kind().ForClient() {
			if out == start { // the first bytes stay where they are
				start, out = in-len(body), in-len(body)
			}
			out += copy(buf[out:], body)
			s.given += uint32(len(body))
		}
		s.body(body, sink)
	}
	return buf[start:out], nil
}

// body settles the bytes of a record that have come, and the record when it is whole.
func (s *Stripper) body(b []byte, sink Sink) {
	whole := s.left == 0
	switch {
	case s.kind() == Topic && !whole:
		s.keepName(b)
		return
	case !whole:
		return
	}
	s.inside = false
	h := decodeHeader(s.header[:])
	switch h.Kind {
	case Topic:
		name := b
		if s.name != nil {
			s.keepName(b)
			name = *s.name
		}
		sink.LegTopic(h, name)
		s.name = nil
	case Data, Beacon:
		if h.Topic != 0 {
			sink.LegPosition(h.Topic, h.Position)
		}
	case End:
		s.ended = true
		sink.LegEnd()
	default:
		sink.LegUnknown(h.Kind)
	}
}

func (s *Stripper) kind() Kind { return Kind(s.header[4]) }

func (s *Stripper) keepName(b []byte) {
	if s.name == nil {
		s.name = new([]byte)
	}
	*s.name = append(*s.name, b...)
}

// AtBoundary reports whether the bytes given out so far end on a message boundary of the client's.
func (s *Stripper) AtBoundary() bool { return !s.inside || s.given == 0 }

// Partial is how many of the bytes given out belong to a record that is not whole yet.
func (s *Stripper) Partial() uint32 {
	if !s.inside {
		return 0
	}
	return s.given
}
