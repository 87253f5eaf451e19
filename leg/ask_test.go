package leg

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestWords reads what a router says on a feed, cut in all ways in two, and byte by byte.
func TestWords(t *testing.T) {
	said := AppendMembers(nil, Members{All: 3, Firsts: 2, Ended: 1})
	said = AppendAsk(said, 7, []byte("GET /t/a HTTP/1.1\r\n\r\n"))
	said = AppendAsk(said, 8, []byte(strings.Repeat("x", MaxAsk)))
	said = AppendMembers(said, Members{All: 4})
	want := fmt.Sprint(Members{3, 2, 1}, "7 21", "8 ", MaxAsk, Members{All: 4})
	read := func(pieces ...[]byte) string {
		t.Helper()
		var w Words
		var got []any
		for _, p := range pieces {
			err := w.Take(p, func(m Members) { got = append(got, m) }, func(id uint32, request []byte) {
				if len(request) < 100 {
					got = append(got, fmt.Sprintf("%d %d", id, len(request)))
					return
				}
				got = append(got, fmt.Sprintf("%d ", id), len(request))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return fmt.Sprint(got...)
	}
	for at := range 200 {
		if got := read(said[:at], said[at:]); got != want {
			t.Fatalf("cut at %d: got %s, want %s", at, got, want)
		}
	}
	var bytewise [][]byte
	for i := range said {
		bytewise = append(bytewise, said[i:i+1])
	}
	if got := read(bytewise...); got != want {
		t.Errorf("byte by byte: got %s, want %s", got, want)
	}
	for _, bad := range []uint32{0, MaxAsk + 1, 1<<32 - 1} {
		var w Words
		if err := w.Take(AppendMembers(nil, Members{All: 1<<32 - 1, Ended: bad}), nil, nil); !errors.Is(err, ErrAsk) {
			t.Errorf("a request of %d bytes: got %v, want an error", bad, err)
		}
	}
}

// TestGrant holds that what is appended is what is read.
func TestGrant(t *testing.T) {
	for _, want := range []Grant{
		{ID: 7},
		{ID: 1<<32 - 1, Begins: true, Policy: 3, Ticket: []byte("ticket"), Head: []byte("HTTP/1.1 200 OK\r\n\r\n"), First: []byte("welcome")},
		{Begins: true, Ticket: []byte("t"), Head: []byte("h")},
	} {
		b := AppendGrant([]byte("x"), want)[1:]
		got, ok := ParseGrant(b)
		if !ok || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("got %+v, %v, want %+v", got, ok, want)
		}
	}
}

// FuzzGrant holds that what is taken for a grant is one.
func FuzzGrant(f *testing.F) {
	f.Add(AppendGrant(nil, Grant{ID: 7}))
	f.Add(AppendGrant(nil, Grant{ID: 7, Begins: true, Ticket: []byte("ticket"), Head: []byte("head"), First: []byte("welcome")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, ok := ParseGrant(b); ok && !bytes.Equal(AppendGrant(nil, g), b) {
			t.Errorf("%x: got %+v", b, g)
		}
	})
}
