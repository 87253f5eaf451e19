package httphead

import (
	"bytes"
	"errors"
	"testing"
)

// all reads a block to its end.
func all(block string) (lines []string, left string, err error) {
	rest := []byte(block)
	for {
		f, r, ok, err := Next(rest)
		if !ok {
			return lines, string(r), err
		}
		lines = append(lines, string(f.Name)+"="+string(f.Value))
		rest = r
	}
}

func TestNext(t *testing.T) {
	f := func(block string, want ...string) {
		t.Helper()
		lines, left, err := all(block)
		if err != nil || len(lines) != len(want) || left != "" {
			t.Fatalf("%q: got %q, %q left, %v, want %q", block, lines, left, err, want)
		}
		for i := range want {
			if lines[i] != want[i] {
				t.Errorf("%q: got %q, want %q", block, lines, want)
			}
		}
	}
	f("")
	f("\r\n")
	f("A: b\r\n\r\n", "A=b")
	f("A:b\r\nC: \t d e \t\r\nF:\r\n\r\n", "A=b", "C=d e", "F=")
	f("A: :b\r\n\r\n", "A=:b")
	f("A: K\u00f6ln\r\n\r\n", "A=K\u00f6ln")

	bad := func(block string, want error) {
		t.Helper()
		if lines, _, err := all(block); !errors.Is(err, want) {
			t.Errorf("%q: got %q, %v, want %v", block, lines, err, want)
		}
	}
	bad("A: b", ErrLineEnd)
	bad("A: b\n\r\n", ErrLineEnd)
	bad("A: b\r\n\n", ErrLineEnd)
	bad("A: b\r\n c\r\n\r\n", ErrFolded)
	bad("\tA: b\r\n\r\n", ErrFolded)
	bad("A : b\r\n\r\n", ErrName)
	bad(": b\r\n\r\n", ErrName)
	bad("b\r\n\r\n", ErrName)
	bad("A\x00: b\r\n\r\n", ErrName)
	bad("A: b\rc\r\n\r\n", ErrValue)
	bad("A: b\x00\r\n\r\n", ErrValue)
	bad("A: b\r\r\n\r\n", ErrValue)
}

func TestValidHost(t *testing.T) {
	f := func(host string, want bool) {
		t.Helper()
		if got := ValidHost(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
	f("edge.example", true)
	f("[::1]:8080", true)
	f("", false)
	f("a b", false)
	f("a,b", false)
	f("a/b", false)
	f("a@b", false)
	f("a\x00", false)
}

func TestNextAllocatesNothing(t *testing.T) {
	block := []byte("Host: x\r\nUpgrade: websocket\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		for rest, ok := block, true; ok; {
			_, rest, ok, _ = Next(rest)
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// FuzzNext holds that a block that is accepted is made of its fields and nothing else, and can be read in one way only.
func FuzzNext(f *testing.F) {
	f.Add([]byte("Host: x\r\nA: b\r\n\r\n"))
	f.Add([]byte("A: b\r\n c\r\n\r\n"))
	f.Add([]byte("A : b\nC: d\r\n\r\n"))
	f.Fuzz(func(t *testing.T, block []byte) {
		var again []byte
		for rest := block; ; {
			field, r, ok, err := Next(rest)
			if err != nil {
				return
			}
			if !ok {
				break
			}
			if !IsToken(field.Name) || bytes.ContainsAny(field.Line, "\r\n\x00") || !bytes.Contains(field.Line, field.Value) {
				t.Fatalf("field %q", field.Line)
			}
			again = append(append(again, field.Line...), "\r\n"...)
			rest = r
		}
		if !bytes.HasPrefix(block, again) {
			t.Fatalf("%q was read as %q", block, again)
		}
	})
}
