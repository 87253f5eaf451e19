package wsframe

import (
	"encoding/binary"
	"unicode/utf8"
)

// Opcode is a frame's opcode (RFC 6455, 11.8).
type Opcode uint8

// The opcodes that exist.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// Bits of a frame's first two bytes.
const (
	bitFin  = 0x80
	bitsRsv = 0x70
	bitsOp  = 0x0f
	bitMask = 0x80
	bitsLen = 0x7f
)

// maxControl is the longest payload of a control frame.
const maxControl = 125

// HeaderSize is the length of an unmasked frame's header, in bytes, for a payload of n bytes.
func HeaderSize(n int) int {
	switch {
	case n <= 125:
		return 2
	case n <= 0xffff:
		return 4
	}
	return 10
}

// AppendHeader appends the header of an unmasked frame that is a whole message of n bytes.
func AppendHeader(b []byte, op Opcode, n int) []byte { return appendHeader(b, op, n, 0) }

func appendHeader(b []byte, op Opcode, n int, mask byte) []byte {
	b = append(b, bitFin|byte(op))
	switch HeaderSize(n) {
	case 2:
		return append(b, mask|byte(n))
	case 4:
		return binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
}

// AppendFrame appends payload as a server sends it: one unmasked frame.
func AppendFrame(b []byte, op Opcode, payload []byte) []byte {
	return append(AppendHeader(b, op, len(payload)), payload...)
}

// AppendClientFrame appends payload as a client sends it: one frame, masked.
func AppendClientFrame(b []byte, op Opcode, mask [4]byte, payload []byte) []byte {
	b = append(appendHeader(b, op, len(payload), bitMask), mask[:]...)
	at := len(b)
	b = append(b, payload...)
	unmask(b[at:], mask)
	return b
}

// AppendClose appends a server's close frame. A reason that is too long is cut between two characters.
func AppendClose(b []byte, code uint16, reason string) []byte {
	if n := maxControl - 2; len(reason) > n {
		for n > 0 && !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	b = AppendHeader(b, Close, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(b, code), reason...)
}

// ParseClose reads the payload of a close frame. An empty one has the code 1005 (no status, RFC 6455, 7.1.5). Errors are of
// type [*ProtocolError].
func ParseClose(payload []byte) (code uint16, reason string, err error) {
	switch {
	case len(payload) == 0:
		return 1005, "", nil
	case len(payload) == 1:
		return 0, "", errCloseLength
	}
	code = binary.BigEndian.Uint16(payload)
	if !validCode(code) {
		return 0, "", errCloseCode
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", errUTF8
	}
	return code, string(payload[2:]), nil
}

// validCode reports whether an endpoint may send code: RFC 6455, 7.4, and the IANA registry.
func validCode(code uint16) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// unmask applies mask to p, a whole payload. Masking is the same.
func unmask(p []byte, mask [4]byte) {
	if len(p) >= 8 {
		m := uint64(binary.LittleEndian.Uint32(mask[:]))
		m |= m << 32
		for len(p) >= 8 { // a multiple of 4, so that the phase stays
			binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^m)
			p = p[8:]
		}
	}
	for i := range p {
		p[i] ^= mask[i&3]
	}
}
