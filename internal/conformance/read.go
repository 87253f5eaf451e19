package conformance

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

func decimal(c uint16) string { return strconv.Itoa(int(c)) }

// Frame is a frame of a server in words: "text …", "binary …", "ping …", "pong …" with the payload, or "close" with the code.
type Frame string

// ReadFrame reads one frame of a server. It blocks. What no server may send is an error: fragments, masks, reserved bits, a close
// that is malformed.
func ReadFrame(r io.Reader) (Frame, error) {
	var h [10]byte
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		return "", err
	}
	names := map[byte]string{0x81: "text ", 0x82: "binary ", 0x88: "close ", 0x89: "ping ", 0x8a: "pong "}
	name, ok := names[h[0]]
	if !ok || h[1]&0x80 != 0 {
		return "", fmt.Errorf("a frame begins with % x", h[:2])
	}
	n := uint64(h[1])
	if more := map[uint64]int{126: 2, 127: 8}[n]; more > 0 {
		if _, err := io.ReadFull(r, h[10-more:]); err != nil {
			return "", err
		}
		clear(h[2 : 10-more])
		n = binary.BigEndian.Uint64(h[2:])
	}
	if n > 1<<24 {
		return "", fmt.Errorf("a frame of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	switch {
	case h[0] != 0x88:
		return Frame(name + string(b)), nil
	case n == 0:
		return "close 1005", nil
	case n == 1:
		return "", fmt.Errorf("a close of one byte")
	}
	return Frame(name + decimal(binary.BigEndian.Uint16(b))), nil
}
