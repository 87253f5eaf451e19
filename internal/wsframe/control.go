package wsframe

// ClientControl is the ping or pong of a client that b begins with: its payload, unmasked in place, and its length in bytes with its
// header. n is 0 when b begins with anything else, or with a part of one only; b is unchanged then.
func ClientControl(b []byte) (op Opcode, payload []byte, n int) {
	const head = 2 + 4 // flags and opcode, mask bit and length, mask
	if len(b) < head || b[1]&0x80 == 0 {
		return 0, nil, 0
	}
	op, size := Opcode(b[0]&0xf), int(b[1]&0x7f)
	if b[0]&0xf0 != 0x80 || op != Ping && op != Pong || size > maxControl || len(b) < head+size {
		return 0, nil, 0
	}
	payload = b[head : head+size]
	unmask(payload, [4]byte(b[2:head]))
	return op, payload, head + size
}

// Says is the length in bytes of the frame that b begins with, when that is a client's text message which says just text, which must have
// less than 126 bytes; else 0. b is not changed.
func Says(b []byte, text string) (n int) {
	const head = 2 + 4
	n = head + len(text)
	if len(b) < n || b[0] != 0x80|byte(Text) || b[1] != 0x80|byte(len(text)) {
		return 0
	}
	for i := range text {
		if b[head+i]^b[2+i&3] != text[i] {
			return 0
		}
	}
	return n
}
