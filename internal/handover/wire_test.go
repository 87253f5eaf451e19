package handover

import (
	"bytes"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, items := range [][]Item{
		{{}},
		{{State: []byte("state"), FDs: []int{3, 4}}},
		{{State: []byte("one"), FDs: []int{3}}, {FDs: []int{4, 5, 6}}, {State: []byte("three")}},
	} {
		b, _, err := appendBatch(nil, nil, 5, 1, items)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add(append(appendHeader(nil, header{typ: typeMessage, kind: 3, size: 5}), "hello"...))
	f.Add(appendHeader(nil, header{typ: typeAck, seq: 8}))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
}

// What parses as a batch is within the limits, and writes the same bytes again.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < headerSize {
			return
		}
		h, err := parseHeader(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v", err)
			}
			return
		}
		if got := appendHeader(nil, h); !bytes.Equal(got, data[:headerSize]) {
			t.Errorf("got header %x, want %x", got, data[:headerSize])
		}
		if h.typ != typeBatch || len(data) != headerSize+h.size {
			return
		}
		fds := make([]int, h.fds)
		for i := range fds {
			fds[i] = i
		}
		items, err := parseItems(data[headerSize:], fds, h.items)
		if err != nil {
			return
		}
		got, gotFDs, err := appendBatch(nil, nil, h.kind, h.seq, items)
		if err != nil || !bytes.Equal(got, data) || len(gotFDs) != h.fds {
			t.Errorf("got %x, %v, want %x", got, err, data)
		}
	})
}

// Whatever comes over a socket, a Conn neither panics nor keeps a descriptor.
func FuzzReceive(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		data = data[:min(len(data), 32<<10)] // what fits into the socket while nobody reads
		a, b := socketPair(t)
		sender, receiver := unixConn(t, a), unixConn(t, b)
		var ends [2]int
		if err := syscall.Pipe(ends[:]); err != nil {
			t.Fatal(err)
		}
		defer closeFDs(ends[1:])
		if _, _, err := sender.WriteMsgUnix(data, syscall.UnixRights(ends[0], ends[0]), nil); err != nil {
			t.Fatal(err)
		}
		sender.Close()
		closeFDs(ends[:1])

		c := &Conn{pipe: newPipe(receiver)}
		for {
			m, err := c.Receive(t.Context())
			if err != nil {
				break
			}
			if m.Items == nil {
				continue
			}
			// The giver is gone: this fails.
			if err := c.Ack(t.Context()); err == nil {
				t.Error("acknowledged a batch of nobody's")
			}
		}
		// A pipe whose reading end is closed everywhere has nobody to write to.
		if _, err := syscall.Write(ends[1], []byte("x")); err != syscall.EPIPE {
			t.Errorf("got %v, want that the received descriptors are closed", err)
		}
	})
}

func unixConn(t *testing.T, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}
