package router

import "github.com/ringside-edge/ringside/internal/wsframe"

// frames follows the frames of a raw WebSocket upstream, only to know where one ends: between two frames a close frame
// of ours can be put in (RFC 6455, 5.4: also inside a fragmented message). It checks nothing; that is the client's
// business. The zero frames stands at a frame's beginning, before any.
type frames struct {
	left uint64 // bytes of the payload still to come; while the length is read, the length
	seen uint8  // bytes of the header that have come
	size uint8  // bytes of the header in all, known from its second byte on
	bye  bool   // the frame that is half way, or the last one, is a close frame
}

func (f *frames) feed(b []byte) {
	for len(b) > 0 {
		if f.seen > 0 && f.seen == f.size { // inside the payload
			n := min(f.left, uint64(len(b)))
			f.left -= n
			b = b[n:]
			if f.left == 0 {
				*f = frames{bye: f.bye}
			}
			continue
		}
		f.header(b[0])
		b = b[1:]
		if f.seen == f.size && f.left == 0 {
			*f = frames{bye: f.bye}
		}
	}
}

// header takes a byte of the frame's header.
//
//	| flags, opcode | mask bit, length | length: none, 2 or 8 bytes | mask: none or 4 bytes |
func (f *frames) header(c byte) {
	f.seen++
	switch {
	case f.seen == 1:
		f.size, f.bye = 2, wsframe.Opcode(c&0xf) == wsframe.Close
	case f.seen == 2:
		f.length(c)
	case f.seen <= 2+f.extended():
		f.left = f.left<<8 | uint64(c)
	}
}

func (f *frames) length(c byte) {
	switch c & 0x7f {
	case 126:
		f.size += 2
	case 127:
		f.size += 8
	default:
		f.left = uint64(c & 0x7f)
	}
	if c&0x80 != 0 {
		f.size += 4
	}
}

// extended is how many bytes of the header are an extended length: its size tells, because 2, 4 or 10 bytes stand
// without a mask, and 6, 8 or 14 with one.
func (f *frames) extended() uint8 {
	switch f.size {
	case 4, 8:
		return 2
	case 10, 14:
		return 8
	}
	return 0
}

// atBoundary reports whether no frame is half way.
func (f *frames) atBoundary() bool { return f.seen == 0 }

// saidBye reports whether the upstream has closed the session by a frame: nothing may stand behind that.
func (f *frames) saidBye() bool { return f.seen == 0 && f.bye }
