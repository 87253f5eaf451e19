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
