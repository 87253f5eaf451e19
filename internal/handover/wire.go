package handover

import (
	"encoding/binary"
	"fmt"
)

// Both sides begin with a hello: the magic and the version, a big-endian uint32. All numbers are big-endian.
const (
	magic     = "RSHANDOV"
	version   = 1
	helloSize = len(magic) + 4
)

// A frame is a header, and then its body:
//
//	byte  0      type
//	byte  1      kind, the caller's; zero in an acknowledgement
//	bytes 2–3    zero
//	bytes 4–7    number of the batch, counted by who gives, and echoed by its acknowledgement; zero in a message
//	bytes 8–11   items; zero except in a batch
//	bytes 12–15  descriptors; zero except in a batch
//	bytes 16–19  length of the body in bytes
//
// The body of a message is its payload. An acknowledgement has none. The body of a batch has for each item the length
// of its state and the number of its descriptors, each a uint32, and then the state. The descriptors of a batch come
// with its bytes, in the items' order, none later than the last byte.
const headerSize = 20

const (
	typeMessage = 1
	typeBatch   = 2
	typeAck     = 3
)

// itemSize is what an item needs besides its state.
const itemSize = 8

type header struct {
	typ, kind byte
	seq       uint32
	items     int
	fds       int
	size      int
}

func appendHello(b []byte, version uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, magic...), version)
}

// parseHello wants helloSize bytes.
func parseHello(b []byte) error {
	if string(b[:len(magic)]) != magic {
		return fmt.Errorf("%w: it begins with %q", ErrForeign, b)
	}
	if theirs := binary.BigEndian.Uint32(b[len(magic):]); theirs != version {
		return fmt.Errorf("%w: ours is %d, theirs is %d", ErrVersion, version, theirs)
	}
	return nil
}

func appendHeader(b []byte, h header) []byte {
	b = append(b, h.typ, h.kind, 0, 0)
	b = binary.BigEndian.AppendUint32(b, h.seq)
	b = binary.BigEndian.AppendUint32(b, uint32(h.items))
	b = binary.BigEndian.AppendUint32(b, uint32(h.fds))
	return binary.BigEndian.AppendUint32(b, uint32(h.size))
}

// parseHeader wants headerSize bytes. What it returns is within the limits.
func parseHeader(b []byte) (header, error) {
	h := header{
		typ:   b[0],
		kind:  b[1],
		seq:   binary.BigEndian.Uint32(b[4:]),
		items: int(binary.BigEndian.Uint32(b[8:])),
		fds:   int(binary.BigEndian.Uint32(b[12:])),
		size:  int(binary.BigEndian.Uint32(b[16:])),
	}
	ok := b[2] == 0 && b[3] == 0
	switch h.typ {
	case typeMessage:
		ok = ok && h.seq == 0 && h.items == 0 && h.fds == 0 && 0 <= h.size && h.size <= MaxState
	case typeBatch:
		ok = ok && 1 <= h.items && h.items <= MaxItems && 0 <= h.fds && h.fds <= min(MaxFDs, h.items*MaxItemFDs) &&
			h.items*itemSize <= h.size && h.size <= MaxBatch
	case typeAck:
		ok = ok && h.kind == 0 && h.items == 0 && h.fds == 0 && h.size == 0
	default:
		ok = false
	}
	if !ok {
		return header{}, fmt.Errorf("%w: header %x", ErrMalformed, b[:headerSize])
	}
	return h, nil
}

// appendBatch appends the frame of a batch to b, and the descriptors to fds; ErrTooLarge when it is above a limit.
func appendBatch(b []byte, fds []int, kind byte, seq uint32, items []Item) ([]byte, []int, error) {
	if len(items) == 0 || len(items) > MaxItems {
		return b, fds, fmt.Errorf("%w: %d items", ErrTooLarge, len(items))
	}
	h := header{typ: typeBatch, kind: kind, seq: seq, items: len(items)}
	for _, it := range items {
		if len(it.State) > MaxState || len(it.FDs) > MaxItemFDs {
			return b, fds, fmt.Errorf("%w: an item of %d bytes and %d descriptors", ErrTooLarge, len(it.State), len(it.FDs))
		}
		h.fds += len(it.FDs)
		h.size += itemSize + len(it.State)
	}
	if h.fds > MaxFDs || h.size > MaxBatch {
		return b, fds, fmt.Errorf("%w: a batch of %d bytes and %d descriptors", ErrTooLarge, h.size, h.fds)
	}
	b = appendHeader(b, h)
	for _, it := range items {
		b = binary.BigEndian.AppendUint32(b, uint32(len(it.State)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(it.FDs)))
		b = append(b, it.State...)
		fds = append(fds, it.FDs...)
	}
	return b, fds, nil
}

// parseItems cuts the body of a batch, and its descriptors, into items, which share the arrays of both.
func parseItems(body []byte, fds []int, n int) ([]Item, error) {
	items := make([]Item, 0, n)
	for i := range n {
		if len(body) < itemSize {
			return nil, fmt.Errorf("%w: the batch ends before item %d of %d", ErrMalformed, i, n)
		}
		state, own := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
		body = body[itemSize:]
		if state > MaxState || own > MaxItemFDs || int(state) > len(body) || int(own) > len(fds) {
			return nil, fmt.Errorf("%w: item %d of %d has %d bytes and %d descriptors", ErrMalformed, i, n, state, own)
		}
		items = append(items, Item{State: body[:state:state], FDs: fds[:own:own]})
		body, fds = body[state:], fds[own:]
	}
	if len(body) > 0 || len(fds) > 0 {
		return nil, fmt.Errorf("%w: %d bytes and %d descriptors are no item's", ErrMalformed, len(body), len(fds))
	}
	return items, nil
}
