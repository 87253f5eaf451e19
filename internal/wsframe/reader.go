// Package wsframe reads the frames that a WebSocket client sends, from bytes as they come, and writes those of a server
// (RFC 6455). It knows no extension.
//
// A [Reader] keeps nothing between messages, so that an idle session costs no buffer, and a frame that comes whole is
// handled where it stands.
package wsframe

import (
	"encoding/binary"
	"unicode/utf8"
)

// Reasons are all that [ProtocolError.Reason] can be.
//
//nolint:gochecknoglobals // a constant
var Reasons = []string{"reserved_bits", "reserved_opcode", "unmasked", "control_frame", "fragmentation", "length",
	"close_length", "close_code", "utf8", "too_large"}

// ProtocolError is a client's violation of the protocol or of a limit.
type ProtocolError struct {
	Code   uint16 // close code to answer with: 1002, 1007 or 1009
	Reason string // one of Reasons: fit for a metric's label
}

// Error is the reason.
func (e *ProtocolError) Error() string { return "websocket: " + e.Reason }

//nolint:gochecknoglobals // constants in all but name
var (
	errReserved     = &ProtocolError{1002, "reserved_bits"}
	errOpcode       = &ProtocolError{1002, "reserved_opcode"}
	errUnmasked     = &ProtocolError{1002, "unmasked"}
	errControl      = &ProtocolError{1002, "control_frame"}
	errContinuation = &ProtocolError{1002, "fragmentation"}
	errLength       = &ProtocolError{1002, "length"}
	errCloseLength  = &ProtocolError{1002, "close_length"}
	errCloseCode    = &ProtocolError{1002, "close_code"}
	errUTF8         = &ProtocolError{1007, "utf8"}
	errTooLarge     = &ProtocolError{1009, "too_large"}
)

// Limits bound what a client may send.
type Limits struct {
	MaxMessage int // bytes of a message, all its fragments together
}

// Handler gets what a [Reader] finds. Payloads are valid during the call only. An error ends the reading and comes back
// from [Reader.Feed].
type Handler interface {
	WSFrame(size int) error                    // a whole frame of any kind, of so many bytes with its header, before anything is made of it
	WSMessage(op Opcode, payload []byte) error // a whole text or binary message
	WSControl(op Opcode, payload []byte) error // a close, ping or pong; the payload of a close is not checked yet
}

// Reader reads one client's frames. The zero Reader stands at the beginning; it must not be used after an error.
type Reader struct {
	partial  *partial // nil between messages
	consumed uint64
}

// Consumed is how many bytes, from the first one on, belong to messages that are whole. It counts a message, or a control
// frame, already while the handler has it; a control frame among the fragments of a message counts with that message.
func (r *Reader) Consumed() uint64 { return r.consumed }

// partial is what has to be kept of a frame or message that is half way.
type partial struct {
	frame   []byte // the next frame, as far as it has come, still masked
	message []byte // the fragments so far
	checked int    // how much of message is known to be whole characters; of a text only
	op      Opcode // of the fragmented message
	open    bool   // a fragmented message is under way
	bytes   int    // while open: of all frames since its beginning
}

// header is a frame's header.
type header struct {
	fin  bool
	op   Opcode
	mask [4]byte
	size int // of the header
	n    int // of the payload
}

// Feed takes what has come, in pieces of any size, and calls h for every message and control frame that is complete. It
// changes p. A frame that lies whole in p costs no allocation.
func (r *Reader) Feed(p []byte, lim Limits, h Handler) error {
	for len(p) > 0 {
		frame := p
		if r.partial != nil && len(r.partial.frame) > 0 {
			var err error
			if frame, p, err = r.fill(p, lim); frame == nil || err != nil {
				return err
			}
		}
		hdr, ok, err := r.parse(frame, lim)
		if err != nil {
			return err
		}
		if !ok || len(frame) < hdr.size+hdr.n {
			k := r.keep()
			k.frame = append(k.frame, frame...)
			return nil
		}
		payload := frame[hdr.size : hdr.size+hdr.n]
		if r.partial != nil && len(r.partial.frame) > 0 {
			r.partial.frame = nil
		} else {
			p = p[hdr.size+hdr.n:]
		}
		unmask(payload, hdr.mask)
		if err := r.frame(hdr, payload, h); err != nil {
			return err
		}
	}
	return nil
}

// fill completes the frame that is half way with bytes of p, as many as it needs. frame is nil while it is not whole.
func (r *Reader) fill(p []byte, lim Limits) (frame, rest []byte, err error) {
	for {
		hdr, ok, err := r.parse(r.partial.frame, lim)
		if err != nil {
			return nil, nil, err
		}
		want := hdr.size // what is known of the header so far, at least one byte more
		if ok {
			want += hdr.n
		}
		missing := want - len(r.partial.frame)
		if missing <= 0 {
			return r.partial.frame, p, nil
		}
		if len(p) == 0 {
			return nil, nil, nil
		}
		n := min(missing, len(p))
		r.partial.frame = append(r.partial.frame, p[:n]...)
		p = p[n:]
	}
}

func (r *Reader) keep() *partial {
	if r.partial == nil {
		r.partial = &partial{}
	}
	return r.partial
}

// parse reads a header. While it is not whole, ok is false and size is how many bytes it has at least. What is wrong is
// found as early as it can be seen.
func (r *Reader) parse(b []byte, lim Limits) (hdr header, ok bool, err error) {
	hdr.size = 2
	if len(b) < 2 {
		return hdr, false, nil
	}
	hdr.fin, hdr.op = b[0]&bitFin != 0, Opcode(b[0]&bitsOp)
	if err := r.check(b, hdr); err != nil {
		return hdr, false, err
	}
	n := uint64(b[1] & bitsLen)
	switch n {
	case 126:
		if hdr.size = 8; len(b) < 4 {
			return hdr, false, nil
		}
		if n = uint64(binary.BigEndian.Uint16(b[2:])); n < 126 {
			return hdr, false, errLength
		}
	case 127:
		if hdr.size = 14; len(b) < 10 {
			return hdr, false, nil
		}
		if n = binary.BigEndian.Uint64(b[2:]); n <= 0xffff || n>>63 != 0 {
			return hdr, false, errLength
		}
	default:
		hdr.size = 6
	}
	have := 0
	if r.partial != nil && hdr.op < Close {
		have = len(r.partial.message)
	}
	if hdr.op < Close && n > uint64(max(0, lim.MaxMessage-have)) {
		return hdr, false, errTooLarge
	}
	if len(b) < hdr.size {
		return hdr, false, nil
	}
	hdr.n = int(n)
	hdr.mask = [4]byte(b[hdr.size-4 : hdr.size])
	return hdr, true, nil
}

// check looks at the first two bytes.
func (r *Reader) check(b []byte, hdr header) error {
	open := r.partial != nil && r.partial.open
	switch {
	case b[0]&bitsRsv != 0:
		return errReserved
	case hdr.op > Binary && hdr.op < Close || hdr.op > Pong:
		return errOpcode
	case b[1]&bitMask == 0:
		return errUnmasked
	case hdr.op >= Close && (!hdr.fin || b[1]&bitsLen > maxControl):
		return errControl
	case hdr.op == Continuation && !open, (hdr.op == Text || hdr.op == Binary) && open:
		return errContinuation
	}
	return nil
}

// frame handles a whole frame.
func (r *Reader) frame(hdr header, payload []byte, h Handler) error {
	if err := h.WSFrame(hdr.size + hdr.n); err != nil {
		return err
	}
	r.count(hdr)
	switch {
	case hdr.op >= Close:
		err := h.WSControl(hdr.op, payload)
		r.release()
		return err
	case hdr.op != Continuation && hdr.fin:
		r.release()
		if hdr.op == Text && !utf8.Valid(payload) {
			return errUTF8
		}
		return h.WSMessage(hdr.op, payload)
	}
	p := r.keep()
	if hdr.op != Continuation {
		p.open, p.op = true, hdr.op
	}
	p.message = append(p.message, payload...)
	if p.op == Text && !p.check(hdr.fin) {
		return errUTF8
	}
	if !hdr.fin {
		return nil
	}
	r.partial = nil
	return h.WSMessage(p.op, p.message)
}

// count counts a frame's bytes.
func (r *Reader) count(hdr header) {
	size := hdr.size + hdr.n
	p := r.partial
	open := p != nil && p.open
	switch {
	case hdr.op >= Close && !open, hdr.op < Close && hdr.fin && !open:
		r.consumed += uint64(size)
	case hdr.op < Close && hdr.fin:
		r.consumed += uint64(p.bytes + size)
	default:
		r.keep().bytes += size
	}
}

// check reports whether the text is valid so far; only a whole one must end with a character. It looks at each byte
// once, or else many small fragments would cost a look at the whole message each.
func (p *partial) check(whole bool) bool {
	rest := p.message[p.checked:]
	n := len(rest)
	if !whole {
		n -= cut(rest)
	}
	p.checked += n
	return utf8.Valid(rest[:n])
}

// cut is how many bytes at the end of b are the beginning of a character that is not whole.
func cut(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if last := b[len(b)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

// release forgets the buffers when nothing is half way.
func (r *Reader) release() {
	if r.partial != nil && !r.partial.open {
		r.partial = nil
	}
}
