package load

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/ringside-edge/ringside/internal/wsframe"
)

// maxFrame bounds a server's frame, in bytes.
const maxFrame = 64 << 20

var (
	errMasked = errors.New("the server masks its frames")
	errLarge  = errors.New("a frame of the server is too large")
)

// frame is one frame of a server.
type frame struct {
	op      wsframe.Opcode
	fin     bool
	payload []byte
}

// nextFrame cuts the frame off the start of p; ok is false while it is not whole.
func nextFrame(p []byte) (f frame, rest []byte, ok bool, err error) {
	if len(p) < 2 {
		return f, p, false, nil
	}
	if p[1]&0x80 != 0 {
		return f, p, false, errMasked
	}
	at, size := 2, uint64(p[1]&0x7f)
	switch {
	case size == 126 && len(p) >= 4:
		at, size = 4, uint64(binary.BigEndian.Uint16(p[2:]))
	case size == 127 && len(p) >= 10:
		at, size = 10, binary.BigEndian.Uint64(p[2:])
	case size >= 126:
		return f, p, false, nil
	}
	if size > maxFrame {
		return f, p, false, errLarge
	}
	end := at + int(size)
	if len(p) < end {
		return f, p, false, nil
	}
	return frame{wsframe.Opcode(p[0] & 0x0f), p[0]&0x80 != 0, p[at:end]}, p[end:], true, nil
}

// nextEvent cuts the event off the start of an event stream, with the end of its last line.
func nextEvent(p []byte) (event, rest []byte, ok bool) {
	i := bytes.Index(p, []byte("\n\n"))
	if i < 0 {
		return nil, p, false
	}
	return p[:i+1], p[i+2:], true
}

// clientFrame is a text frame or a control frame of ours. Its mask is zero: the peer is one that we have chosen.
func clientFrame(op wsframe.Opcode, payload []byte) []byte {
	return wsframe.AppendClientFrame(make([]byte, 0, len(payload)+14), op, [4]byte{}, payload)
}
