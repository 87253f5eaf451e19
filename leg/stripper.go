package leg

import (
	"errors"
	"fmt"

	"github.com/ringside-edge/ringside/internal/position"
)

// Sink hears what a [Stripper] finds between the bytes for the client. Its methods must not block.
type Sink interface {
	// LegTopic tells that the session follows a topic from h.Position on, or no longer (h.Flags has [Off]). name is
	// valid during the call.
	LegTopic(h Header, name []byte)
	// LegPosition tells that a whole record of the topic has been stripped: with the bytes given out so far the client
	// stands at p.
	LegPosition(topic uint32, p position.Position)
	// LegAck tells that the gateway is done with the first n bytes that the client has sent on this leg.
	LegAck(n uint64)
	// LegTold tells that the client has been told of the backoff policy of this version.
	LegTold(version uint32)
	// LegMove tells that the gateway wants the session to go elsewhere.
	LegMove()
	// LegRenew tells that the session has another sealed ticket, which is valid during the call.
	LegRenew(sealed []byte)
	// LegFeed tells that the router may serve a topic to the session itself. The offer is valid during the call.
	LegFeed(h Header, o Offer)
	// LegEnd tells that the session has ended on purpose. What comes behind is not looked at.
	LegEnd()
	// LegUnknown tells of a record of an unknown kind that was passed over.
	LegUnknown(k Kind)
}

// MaxWhole is the most bytes that a record may have behind its header to be given out as a whole only. Larger ones are
// given out as they come.
const MaxWhole = 16 << 10

// ErrContinue means that a message is half way to the client, and that what the next gateway has sent does not go on with
// it.
var ErrContinue = errors.New("leg: the next gateway does not go on with the message that is half way")

// Stripper takes the records off a leg's bytes, wherever reads have cut them. The zero Stripper stands at a record's
// beginning. It keeps no reference to the bytes it is given.
//
// What is given out ends at a record's end, unless the record is larger than [MaxWhole]: whatever becomes of the leg, the
// client is never left with a part of a small one, and of a large one the position and the length are known, so that the
// same record from another gateway completes it.
type Stripper struct {
	large *large // a large record that is half way; nil as a rule
	ended bool   // an End record is complete
}

// large is a record that is given out as it comes.
type large struct {
	header Header
	came   uint32 // bytes of it that have come on this leg
	given  uint32 // bytes of it that the client has been given, on this leg or an earlier one
	again  bool   // it is to come anew, on a leg that has not begun it yet
}

// Strip takes what a leg has sent and gives back what of it is for the client, and what is a record that is not whole
// yet: that has to be handed in again, in front of what comes next. Both lie in buf, the client's bytes where they stand
// when they are of one record, otherwise moved together. The rest is at most [HeaderSize] + [MaxWhole] bytes. Strip does
// not allocate, but for a record larger than MaxWhole. After an error, or LegEnd, the leg must not be read on.
func (s *Stripper) Strip(buf []byte, sink Sink) (client, rest []byte, err error) {
	start, out := 0, 0 // what is for the client: buf[start:out]
	give := func(b []byte, at int) {
		if out == start { // the first bytes stay where they are
			start, out = at, at
		}
		out += copy(buf[out:], b)
	}
	for in := 0; in < len(buf) && !s.ended; {
		if l := s.large; l != nil && !l.again {
			body := buf[in:min(len(buf), in+int(l.header.Length-l.came))]
			at := in
			in += len(body)
			fresh := l.take(body)
			give(fresh, at+len(body)-len(fresh))
			if l.came == l.header.Length {
				s.large = nil
				s.settle(l.header, nil, sink)
			}
			continue
		}
		if len(buf)-in < HeaderSize {
			return buf[start:out], buf[in:], nil
		}
		h, err := ParseHeader(buf[in:])
		if err == nil {
			err = s.begin(h)
		}
		if err != nil {
			return buf[start:out], nil, err
		}
		if s.large != nil && !s.large.again {
			in += HeaderSize
			continue
		}
		end := in + HeaderSize + int(h.Length)
		if end > len(buf) {
			return buf[start:out], buf[in:], nil
		}
		body := buf[in+HeaderSize : end]
		if h.Kind.ForClient() {
			give(body, in+HeaderSize)
		}
		s.settle(h, body, sink)
		in = end
	}
	return buf[start:out], nil, nil
}

// begin looks at the header of a record that begins. It sets s.large for one that is given out as it comes.
func (s *Stripper) begin(h Header) error {
	if l := s.large; l != nil && h.Kind.ForClient() && h.Length > 0 {
		if h.Kind != Data || h.Topic == 0 || h.Length != l.header.Length || h.Position != l.header.Position {
			return fmt.Errorf("%w: a record of kind %d, topic %d and %d bytes, at %v, instead of %d bytes at %v", ErrContinue,
				h.Kind, h.Topic, h.Length, h.Position, l.header.Length, l.header.Position)
		}
		l.header, l.came, l.again = h, 0, false // with the number that this gateway has given to the topic
		return nil
	}
	switch {
	case h.Length <= MaxWhole:
	case s.large != nil:
		return ErrContinue
	case !h.Kind.ForClient(): // of no known kind: it is passed over
		s.large = &large{header: h, given: h.Length}
	default:
		s.large = &large{header: h}
	}
	return nil
}

// take notes that b has come and returns what of it the client has not been given yet.
func (l *large) take(b []byte) []byte {
	known := min(max(int(l.given)-int(l.came), 0), len(b))
	l.came += uint32(len(b))
	l.given = max(l.given, l.came)
	return b[known:]
}

// settle tells the sink of a record that is whole.
func (s *Stripper) settle(h Header, body []byte, sink Sink) {
	if n := h.Acknowledged(); n > 0 {
		sink.LegAck(n)
	}
	switch h.Kind {
	case Topic:
		sink.LegTopic(h, body)
	case Data, Beacon:
		if h.Topic != 0 {
			sink.LegPosition(h.Topic, h.Position)
		} else if v := uint32(h.Position.ID.Seq); v != 0 {
			sink.LegTold(v)
		}
	case Move:
		sink.LegMove()
	case Renew:
		if len(body) == 0 || len(body) > maxTicket {
			sink.LegUnknown(h.Kind)
			return
		}
		sink.LegRenew(body)
	case Feed:
		o, ok := ParseOffer(body)
		if !ok {
			sink.LegUnknown(h.Kind)
			return
		}
		sink.LegFeed(h, o)
	case End:
		s.ended = true
		sink.LegEnd()
	default:
		sink.LegUnknown(h.Kind)
	}
}

// Half is the topic's number of a message that the client has been given a part of; ok is false when there is none. The
// number is 0 when the message belongs to no topic, and so can't be completed by another gateway, or when this leg has not
// begun it anew yet.
func (s *Stripper) Half() (topic uint32, ok bool) {
	if s.large == nil || s.large.given == 0 || !s.large.header.Kind.ForClient() {
		return 0, false
	}
	return s.large.header.Topic, true
}

// From is where the next gateway has to begin so that the message that is half way comes first, whatever the last one had passed over
// before it; ok is false when there is none.
func (s *Stripper) From() (p position.Position, ok bool) {
	if _, half := s.Half(); !half {
		return position.Position{}, false
	}
	p = s.large.header.Position
	p.ID = p.ID.Prev()
	return p, true
}

// HalfWay is all that a Stripper knows; it moves to another process with its session. It is nil between two records.
type HalfWay struct {
	Header Header `json:"header"`
	Came   uint32 `json:"came"`  // bytes of the record that have come on this leg
	Given  uint32 `json:"given"` // bytes that the client has been given
	Again  bool   `json:"again"` // it is to come anew
}

// HalfWay tells what the Stripper knows.
func (s *Stripper) HalfWay() *HalfWay {
	if s.large == nil {
		return nil
	}
	return &HalfWay{s.large.header, s.large.came, s.large.given, s.large.again}
}

// Restore makes s the Stripper that told h.
func (s *Stripper) Restore(h *HalfWay) {
	*s = Stripper{}
	if h != nil {
		s.large = &large{h.Header, h.Came, h.Given, h.Again}
	}
}

// NextLeg tells that the next bytes come from another leg. Its first record for the client must be the one that is half
// way, if any; what the client has of it is not given out again.
func (s *Stripper) NextLeg() {
	if _, half := s.Half(); !half {
		s.large = nil
		return
	}
	s.large.came, s.large.again = 0, true
	s.large.header.Topic = 0 // the number was the last leg's
}
