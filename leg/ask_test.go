package leg

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// words are those that were heard.
type words []string

func (w *words) FeedMembers(m Members) { *w = append(*w, fmt.Sprint(m)) }

func (w *words) FeedAsked(id uint32, request []byte) {
	*w = append(*w, fmt.Sprintf("asked %d %.20q %d", id, request, len(request)))
}

func (w *words) FeedLeft(ticket, resume []byte) {
	r, n, err := ParseResume(resume, 10)
	*w = append(*w, fmt.Sprintf("left %q %v %d %v", ticket, r.Topics, len(resume)-n, err))
}

// TestWords reads what a router says on a feed, cut in all ways in two, and byte by byte.
func TestWords(t *testing.T) {
	said := AppendMembers(nil, Members{All: 3, Firsts: 2, Ended: 1})
	said = AppendAsk(said, 7, []byte("GET /t/a HTTP/1.1\r\n\r\n"))
	standing := Standing{Name: "a", Position: pos(7, 8, 9), Asked: true}
	said = AppendLeft(said, []byte("ticket"), Resume{Begun: true, First: -1, Topics: []Standing{standing}})
	said = AppendLeft(said, make([]byte, MaxLeft), Resume{}) // too long: nothing
	said = AppendAsk(said, 8, []byte(strings.Repeat("x", MaxAsk)))
	said = AppendMembers(said, Members{All: 4})
	want := fmt.Sprint(words{
		"{3 2 1}", `asked 7 "GET /t/a HTTP/1.1\r\n\r" 21`, fmt.Sprintf(`left "ticket" %v 0 <nil>`, []Standing{standing}),
		fmt.Sprintf("asked 8 %q %d", strings.Repeat("x", 20), MaxAsk), "{4 0 0}",
	})
	read := func(pieces ...[]byte) string {
		t.Helper()
		var w Words
		var got words
		for _, p := range pieces {
			if err := w.Take(p, &got); err != nil {
				t.Fatal(err)
			}
		}
		return fmt.Sprint(got)
	}
	for at := range 250 {
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
	for _, bad := range []Members{
		{askMark, 1, 0}, {askMark, 1, MaxAsk + 1}, {askMark, 1, 1<<32 - 1}, {leftMark, 0, 0}, {leftMark, 1, MaxLeft + 1}, {leftMark, 20, 19},
	} {
		var w Words
		if err := w.Take(AppendMembers(nil, bad), &words{}); !errors.Is(err, ErrWords) {
			t.Errorf("%v: got %v, want an error", bad, err)
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

// FuzzWords holds that what a router says on a feed is understood alike wherever it is cut, and that no more is kept of it than its bound.
func FuzzWords(f *testing.F) {
	said := AppendMembers(nil, Members{All: 3, Firsts: 2, Ended: 1})
	said = AppendAsk(said, 7, []byte("GET /t/a HTTP/1.1\r\n\r\n"))
	said = AppendLeft(said, []byte("ticket"), Resume{Begun: true, First: -1, Topics: []Standing{{Name: "\x00000100.x"}}})
	f.Add(said, uint16(13))
	f.Add(AppendMembers(nil, Members{All: askMark, Ended: MaxAsk + 1}), uint16(1))
	f.Add(AppendMembers(nil, Members{All: leftMark, Firsts: 9, Ended: 8}), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, at uint16) {
		read := func(pieces ...[]byte) (got words, err error) {
			var w Words
			for _, p := range pieces {
				if err = w.Take(p, &got); err != nil {
					break
				}
				if len(w.body) > MaxLeft {
					t.Fatalf("%d bytes are kept", len(w.body))
				}
			}
			return got, err
		}
		cut := int(at) % (len(b) + 1)
		whole, err := read(b)
		parts, errCut := read(b[:cut], b[cut:])
		if fmt.Sprint(whole) != fmt.Sprint(parts) || (err == nil) != (errCut == nil) {
			t.Errorf("cut at %d: got %v, %v, want %v, %v", cut, parts, errCut, whole, err)
		}
	})
}
