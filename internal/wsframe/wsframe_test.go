package wsframe

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// log is a Handler that writes down what it gets.
type log struct{ b strings.Builder }

func (l *log) WSFrame(int) error { return nil }

func (l *log) WSMessage(op Opcode, p []byte) error {
	fmt.Fprintf(&l.b, "message %d %q\n", op, p)
	return nil
}

func (l *log) WSControl(op Opcode, p []byte) error {
	fmt.Fprintf(&l.b, "control %d %q\n", op, p)
	return nil
}

const limit = 70000

// read feeds stream in pieces and returns what came of it.
func read(pieces ...[]byte) (string, error) {
	var l log
	var r Reader
	for _, p := range pieces {
		if err := r.Feed(bytes.Clone(p), Limits{limit}, &l); err != nil {
			return l.b.String(), err
		}
	}
	if r.partial != nil {
		return l.b.String() + "…", nil
	}
	return l.b.String(), nil
}

// frame makes a client's frame with the given first byte.
func frame(first byte, payload string) []byte {
	b := AppendClientFrame(nil, 0, [4]byte{1, 2, 3, 4}, []byte(payload))
	b[0] = first
	return b
}

func cat(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func TestRead(t *testing.T) {
	f := func(want string, stream []byte) {
		t.Helper()
		got, err := read(stream)
		if err != nil || got != want {
			t.Errorf("got %.200q, %v, want %.200q", got, err, want)
		}
		for i := 1; i < len(stream); i += 1 + len(stream)/300 {
			if got, err := read(stream[:i], stream[i:min(i+3, len(stream))], stream[min(i+3, len(stream)):]); err != nil || got != want {
				t.Fatalf("cut at %d: got %.200q, %v, want %.200q", i, got, err, want)
			}
		}
	}
	f("message 1 \"hello\"\n", frame(0x81, "hello"))
	f("message 1 \"\"\n", frame(0x81, ""))
	f("message 2 \"\\xff\"\n", frame(0x82, "\xff"))
	f("message 1 \"a\"\nmessage 1 \"b\"\n", cat(frame(0x81, "a"), frame(0x81, "b")))
	f("message 1 \"hello\"\n", cat(frame(0x01, "he"), frame(0x00, "l"), frame(0x80, "lo")))
	f("control 9 \"?\"\nmessage 1 \"hello\"\n", cat(frame(0x01, "he"), frame(0x89, "?"), frame(0x80, "llo")))
	f("message 1 \"K\u00f6ln\"\n", cat(frame(0x01, "K\xc3"), frame(0x80, "\xb6ln")))
	f("control 8 \"\"\n", frame(0x88, ""))
	f("control 10 \"x\"\n", frame(0x8a, "x"))
	for _, n := range []int{125, 126, 65535, 65536} {
		f(fmt.Sprintf("message 2 %q\n", strings.Repeat("x", n)), frame(0x82, strings.Repeat("x", n)))
	}
	f("…", frame(0x81, "hello")[:7])
	f("message 1 \"a\"\n…", cat(frame(0x81, "a"), frame(0x01, "b")))
}

func TestRefuse(t *testing.T) {
	f := func(code uint16, reason string, stream []byte) {
		t.Helper()
		for _, pieces := range [][][]byte{{stream}, bytes.SplitAfter(stream, nil)} {
			_, err := read(pieces...)
			var e *ProtocolError
			if !errors.As(err, &e) || e.Code != code || e.Reason != reason {
				t.Errorf("% x: got %v, want %d %s", stream[:min(20, len(stream))], err, code, reason)
			}
		}
	}
	f(1002, "reserved_bits", frame(0xc1, "x"))
	f(1002, "reserved_opcode", frame(0x83, "x"))
	f(1002, "reserved_opcode", frame(0x8b, "x"))
	f(1002, "unmasked", AppendFrame(nil, Text, []byte("x")))
	f(1002, "control_frame", frame(0x09, "x"))
	f(1002, "control_frame", frame(0x89, strings.Repeat("x", 126)))
	f(1002, "fragmentation", frame(0x80, "x"))
	f(1002, "fragmentation", cat(frame(0x01, "a"), frame(0x81, "b")))
	f(1002, "length", []byte{0x81, 0xfe, 0, 125, 0, 0, 0, 0})
	f(1002, "length", []byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	f(1002, "length", []byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0})
	f(1007, "utf8", frame(0x81, "\xff"))
	f(1007, "utf8", cat(frame(0x01, "\xff"), frame(0x00, "x")))
	f(1007, "utf8", cat(frame(0x01, "\xc3"), frame(0x80, "")))
	f(1009, "too_large", []byte{0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x11, 0x71}) // from the header alone
	f(1009, "too_large", cat(frame(0x01, strings.Repeat("x", 60000)), []byte{0x00, 0xfe, 0xff, 0xff}))
}

func TestClose(t *testing.T) {
	f := func(payload string, code uint16, reason string, ok bool) {
		t.Helper()
		c, r, err := ParseClose([]byte(payload))
		if c != code || r != reason || (err == nil) != ok {
			t.Errorf("%q: got %d %q %v", payload, c, r, err)
		}
	}
	f("", 1005, "", true)
	f("\x03\xe8", 1000, "", true)
	f("\x03\xe9bye", 1001, "bye", true)
	f("\x0f\xa0x", 4000, "x", true)
	f("\x03", 0, "", false)
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000} {
		f(string([]byte{byte(code >> 8), byte(code)}), 0, "", false)
	}
	f("\x03\xe8\xff", 0, "", false)

	long := AppendClose(nil, 1012, strings.Repeat("ö", 100))
	if code, reason, err := ParseClose(long[2:]); err != nil || code != 1012 || len(long) > 2+maxControl || !utf8.ValidString(reason) || len(reason) != 122 {
		t.Errorf("a long reason: got %d bytes, %d %q %v", len(long), code, reason, err)
	}
}

func TestWholeFrameDoesNotAllocate(t *testing.T) {
	f := frame(0x82, strings.Repeat("x", 1000))
	buf := make([]byte, len(f))
	var r Reader
	var h Handler = deaf{}
	if n := testing.AllocsPerRun(100, func() {
		copy(buf, f)
		if err := r.Feed(buf, Limits{limit}, h); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

type deaf struct{}

func (deaf) WSFrame(int) error              { return nil }
func (deaf) WSMessage(Opcode, []byte) error { return nil }
func (deaf) WSControl(Opcode, []byte) error { return nil }

func BenchmarkFeed(b *testing.B) {
	f := frame(0x82, strings.Repeat("x", 200))
	var r Reader
	b.ReportAllocs()
	b.SetBytes(int64(len(f)))
	for b.Loop() {
		_ = r.Feed(f, Limits{limit}, deaf{})
	}
}

func FuzzFeed(f *testing.F) {
	f.Add(cat(frame(0x01, "he"), frame(0x89, "?"), frame(0x80, "llo")), 3, 9)
	f.Add(frame(0x82, strings.Repeat("x", 126)), 5, 5)
	f.Add([]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, 1, 2)
	f.Fuzz(func(t *testing.T, stream []byte, i, j int) {
		want, wantErr := read(stream)
		i = min(max(i, 0), len(stream))
		j = min(max(j, i), len(stream))
		got, err := read(stream[:i], stream[i:j], stream[j:])
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("cut at %d and %d: got %q %v, want %q %v", i, j, got, err, want, wantErr)
		}
	})
}

// counted is a Handler that notes how much was consumed whenever it gets something.
type counted struct {
	r  *Reader
	at []uint64
}

func (c *counted) WSFrame(int) error              { return nil }
func (c *counted) WSMessage(Opcode, []byte) error { c.at = append(c.at, c.r.Consumed()); return nil }
func (c *counted) WSControl(Opcode, []byte) error { c.at = append(c.at, c.r.Consumed()); return nil }

// Whatever the pieces in which the frames come, the handler finds those bytes counted that belong to whole messages.
func TestConsumed(t *testing.T) {
	long, part := strings.Repeat("x", 300), frame(0x01, "he")
	f := func(want []uint64, frames ...[]byte) {
		t.Helper()
		stream := cat(frames...)
		for _, size := range []int{1, 2, 3, 7, len(stream)} {
			r := &Reader{}
			c := &counted{r: r}
			for rest := bytes.Clone(stream); len(rest) > 0; {
				n := min(size, len(rest))
				before := r.Consumed()
				if err := r.Feed(rest[:n], Limits{limit}, c); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				if now, fed := r.Consumed(), uint64(len(stream)-len(rest)); now < before || now > fed {
					t.Errorf("pieces of %d: after %d bytes: consumed %d, before that %d", size, fed, now, before)
				}
			}
			if fmt.Sprint(c.at) != fmt.Sprint(want) {
				t.Errorf("pieces of %d: got %d, want %d", size, c.at, want)
			}
			if n := want[len(want)-1]; r.Consumed() != n {
				t.Errorf("pieces of %d: in the end: got %d, want %d", size, r.Consumed(), n)
			}
		}
	}
	f([]uint64{7}, frame(0x81, "a"))
	f([]uint64{6, 12}, frame(0x81, ""), frame(0x89, ""))
	f([]uint64{11, 19}, frame(0x81, "hello"), frame(0x8a, "hi"), frame(0x81, "half")[:9])
	f([]uint64{308, 315}, frame(0x82, long), frame(0x81, "a"))
	// Fragments count when the last of them is there, with the control frames among them.
	f([]uint64{8 + 7 + 8}, part, frame(0x00, "l"), frame(0x80, "lo"))
	f([]uint64{0, 0, 8 + 7 + 8 + 6 + 7}, part, frame(0x89, "?"), frame(0x00, ""), frame(0x8a, "ab"), frame(0x80, "l"))
	f([]uint64{7, 7, 7 + 8 + 6 + 6, 7 + 8 + 6 + 6 + 6}, frame(0x81, "a"), part, frame(0x89, ""), frame(0x80, ""), frame(0x89, ""))
	f([]uint64{9, 9 + 8 + 308, 9 + 8 + 308 + 8 + 8}, frame(0x81, "abc"), part, frame(0x80, long), part, frame(0x80, "lo"))
	f([]uint64{7, 7}, frame(0x81, "a"), part, frame(0x89, "")) // the message is not whole
}
