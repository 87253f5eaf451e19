package httphead

// AppendField appends a header field with its line's end. The caller sees to it that neither part has a line's end in it.
func AppendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// AppendUpgrade appends the answer that opens a WebSocket (RFC 6455, 4.2.2), but for the blank line at its end: more fields may follow. protocol is
// the subprotocol that was chosen; "" for none.
func AppendUpgrade[T string | []byte](b []byte, key T, protocol string) []byte {
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	b = AppendField(b, "Sec-WebSocket-Accept", AcceptFor(key))
	if protocol != "" {
		b = AppendField(b, "Sec-WebSocket-Protocol", protocol)
	}
	return b
}
