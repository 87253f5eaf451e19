package httphead

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"iter"
)

// Elements are the elements of a comma-separated list, without the space around them and without empty ones.
func Elements(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(value) > 0 {
			var e []byte
			e, value, _ = bytes.Cut(value, []byte(","))
			if e = bytes.Trim(e, " \t"); len(e) > 0 && !yield(e) {
				return
			}
		}
	}
}

// HasElement reports whether a list has an element, which is given in lower case.
func HasElement(value []byte, element string) bool {
	for e := range Elements(value) {
		if FoldEqual(e, element) {
			return true
		}
	}
	return false
}

// ValidKey reports whether a Sec-WebSocket-Key is 16 bytes in base64.
func ValidKey(key string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(key)
	return err == nil && len(b) == 16
}

// AcceptFor is the Sec-WebSocket-Accept that answers a key (RFC 6455, 4.2.2).
func AcceptFor[T string | []byte](key T) string {
	var b [96]byte
	sum := sha1.Sum(append(append(b[:0], key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}
