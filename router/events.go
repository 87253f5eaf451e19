package router

// feedText follows a raw event stream, only to know whether an event has just ended: it keeps the last 8 bytes in left, the
// newest lowest.
func (f *frames) feedText(b []byte) {
	for _, c := range b[max(0, len(b)-8):] {
		f.left = f.left<<8 | uint64(c)
	}
}

// afterEvent reports whether an event has just ended, or none has begun, and with it, where the stream is in chunks (RFC 9112,
// 7.1), a chunk: then something of ours can be put in. A stream that has ended by its last chunk does not stand there.
func (f *frames) afterEvent(chunked bool) bool {
	tail := f.left
	if tail == 0 {
		return true
	}
	if chunked {
		if tail&0xffff != crlf {
			return false
		}
		tail >>= 16
	}
	return tail&0xffff == '\n'<<8|'\n' || tail&0xffffffff == crlf<<16|crlf
}

const crlf = '\r'<<8 | '\n'
