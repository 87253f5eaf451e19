package leg

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ringside-edge/ringside/internal/position"
)

func TestOffer(t *testing.T) {
	want := Offer{Key: 1<<63 + 5, Ticket: []byte("sealed")}
	if got, ok := ParseOffer(AppendOffer(nil, want)); !ok || got.Key != want.Key || !bytes.Equal(got.Ticket, want.Ticket) {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	for _, b := range [][]byte{nil, make([]byte, offerHead), make([]byte, offerHead+maxTicket+1)} {
		if o, ok := ParseOffer(b); ok {
			t.Errorf("%d bytes: got %+v, want none", len(b), o)
		}
	}
}

func TestMembers(t *testing.T) {
	want := Members{All: 1<<31 + 7, Firsts: 5, Ended: 9}
	if b := AppendMembers(nil, want); len(b) != MembersSize || ParseMembers(b) != want {
		t.Errorf("got %x", b)
	}
}

// Next gives what a Stripper finds, wherever the stream is cut.
func TestNext(t *testing.T) {
	rs, _, _ := records()
	stream := bytes.Join(rs, nil)
	for at := 0; at < len(stream); {
		h, body, n, err := Next(stream[at:])
		if err != nil || n == 0 || len(body) != int(h.Length) || n != HeaderSize+len(body) {
			t.Fatalf("at %d: got %+v, %d bytes, %d, %v", at, h, len(body), n, err)
		}
		for _, cut := range []int{0, 1, HeaderSize - 1, n - 1} {
			if _, _, m, err := Next(stream[at : at+min(cut, n-1)]); m != 0 || err != nil {
				t.Fatalf("at %d, cut behind %d: got %d, %v", at, cut, m, err)
			}
		}
		at += n
	}
	if _, _, _, err := Next(rec(Kind(200), 0, 0, position.Position{}, "")); !errors.Is(err, ErrKind) {
		t.Errorf("got %v, want %v", err, ErrKind)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _, _ = Next(rs[2]) }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}

func FuzzNext(f *testing.F) {
	rs, _, _ := records()
	for _, r := range rs {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, n, err := Next(b)
		if err != nil && n != 0 || n > len(b) || n > 0 && (len(body) != int(h.Length) || n != HeaderSize+len(body)) {
			t.Errorf("got %+v, %d bytes, %d, %v", h, len(body), n, err)
		}
	})
}
