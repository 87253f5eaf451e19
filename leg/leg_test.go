package leg

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
)

func pos(epoch uint32, ms, seq uint64) position.Position {
	return position.Position{Epoch: epoch, ID: position.ID{Ms: ms, Seq: seq}}
}

func rec(kind Kind, flags Flags, topic uint32, p position.Position, body string) []byte {
	return append(AppendHeader(nil, Header{uint32(len(body)), kind, flags, topic, p}), body...)
}

// log is a Sink that writes down what it hears.
type log struct{ lines []string }

func (l *log) LegTopic(h Header, name []byte) {
	l.add("topic %d %s %v off=%v", h.Topic, name, h.Position, h.Flags&Off != 0)
}
func (l *log) LegPosition(t uint32, p position.Position) { l.add("position %d %v", t, p) }
func (l *log) LegEnd()                                   { l.add("end") }
func (l *log) LegUnknown(k Kind)                         { l.add("unknown %d", k) }
func (l *log) add(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// strip feeds stream in the given pieces.
func strip(pieces ...[]byte) (client string, heard []string, s Stripper, err error) {
	var l log
	for _, p := range pieces {
		out, e := s.Strip(bytes.Clone(p), &l)
		client += string(out)
		if e != nil {
			return client, l.lines, s, e
		}
	}
	return client, l.lines, s, nil
}

// session is a stream with everything in it.
func session() (stream []byte, client string, heard []string) {
	p := pos(7, 1763900000000, 1)
	for _, r := range [][]byte{
		rec(Topic, 0, 3, p, "finals"),
		rec(Data, 0, 0, position.Position{}, "welcome"),
		rec(Data, 0, 3, pos(7, 1763900000000, 2), strings.Repeat("m", 200)),
		rec(Beacon, 0, 3, pos(7, 1763900000009, 0), ""),
		rec(99, 0, 0, position.Position{}, "from the future"),
		rec(Beacon, 0, 3, pos(7, 1763900000010, 0), "beat"),
		rec(Topic, Off, 3, p, ""),
		rec(Data, 0, 0, position.Position{}, ""),
		rec(Data, 0, 4, pos(8, 1, 0), "x"),
		rec(End, 0, 0, position.Position{}, "bye"),
	} {
		stream = append(stream, r...)
	}
	return stream, "welcome" + strings.Repeat("m", 200) + "beat" + "x" + "bye", []string{
		"topic 3 finals 00000007-1763900000000-1 off=false", "position 3 00000007-1763900000000-2",
		"position 3 00000007-1763900000009-0", "unknown 99", "position 3 00000007-1763900000010-0",
		"topic 3  00000007-1763900000000-1 off=true", "position 4 00000008-1-0", "end",
	}
}

func check(t *testing.T, what string, pieces ...[]byte) {
	t.Helper()
	_, wantClient, wantHeard := session()
	client, heard, s, err := strip(pieces...)
	if err != nil || client != wantClient || strings.Join(heard, "\n") != strings.Join(wantHeard, "\n") {
		t.Fatalf("%s: got %q, %q, %v", what, client, heard, err)
	}
	if !s.AtBoundary() || s.Partial() != 0 {
		t.Fatalf("%s: half a record is left", what)
	}
}

func TestStripWhereverReadsCut(t *testing.T) {
	stream, _, _ := session()
	check(t, "at once", stream)
	for i := range stream {
		for _, j := range []int{i, min(i+1, len(stream)), min(i+HeaderSize, len(stream)), (i + len(stream)) / 2} {
			check(t, fmt.Sprintf("cut at %d and %d", i, j), stream[:i], stream[i:j], stream[j:])
		}
	}
	var bytewise [][]byte
	for i := range stream {
		bytewise = append(bytewise, stream[i:i+1])
	}
	check(t, "byte by byte", bytewise...)
}

func TestPartial(t *testing.T) {
	r := rec(Data, 0, 1, pos(1, 1, 1), "0123456789")
	f := func(n int, boundary bool, partial uint32) {
		t.Helper()
		_, _, s, err := strip(r[:n])
		if err != nil || s.AtBoundary() != boundary || s.Partial() != partial {
			t.Errorf("after %d bytes: got boundary %v, partial %d, %v", n, s.AtBoundary(), s.Partial(), err)
		}
	}
	f(0, true, 0)
	f(10, true, 0)
	f(HeaderSize, true, 0)
	f(HeaderSize+1, false, 1)
	f(HeaderSize+9, false, 9)
	f(HeaderSize+10, true, 0)
}

func TestStripRefuses(t *testing.T) {
	f := func(want error, change func(b []byte)) {
		t.Helper()
		bad := rec(Data, 0, 1, pos(1, 1, 1), "x")
		change(bad)
		client, _, _, err := strip(append(rec(Data, 0, 0, position.Position{}, "good"), bad...))
		if !errors.Is(err, want) || client != "good" {
			t.Errorf("got %q, %v, want %v", client, err, want)
		}
	}
	f(ErrTooLarge, func(b []byte) { b[0] = 0xff })
	f(ErrKind, func(b []byte) { b[4] = 0 })
	f(ErrKind, func(b []byte) { b[4] = 128 })
	f(ErrReserved, func(b []byte) { b[7] = 1 })
	f(ErrName, func(b []byte) { b[4], b[2] = byte(Topic), 1 })
}

func TestNothingBehindTheEnd(t *testing.T) {
	stream := append(rec(End, 0, 0, position.Position{}, "bye"), rec(Data, 0, 0, position.Position{}, "ghost")...)
	if client, heard, _, err := strip(stream); err != nil || client != "bye" || len(heard) != 1 {
		t.Errorf("got %q %q %v", client, heard, err)
	}
}

// The vectors are for implementations in other languages.
func TestVectors(t *testing.T) {
	var vectors []struct {
		Record, Client, Name, Position string
		Kind, Flags                    uint8
		Topic                          uint32
	}
	b, err := os.ReadFile("testdata/records.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		raw, err := hex.DecodeString(v.Record)
		if err != nil {
			t.Fatal(err)
		}
		h, err := ParseHeader(raw)
		if err != nil {
			t.Fatal(err)
		}
		body := string(raw[HeaderSize:])
		if h.Kind.ForClient() && body != v.Client || !h.Kind.ForClient() && body != v.Name {
			t.Errorf("%s: body %q", v.Record, body)
		}
		if h.Kind != Kind(v.Kind) || h.Flags != Flags(v.Flags) || h.Topic != v.Topic || h.Position.String() != v.Position || int(h.Length) != len(body) {
			t.Errorf("%s: got %+v, want %+v", v.Record, h, v)
		}
		if again := append(AppendHeader(nil, h), body...); hex.EncodeToString(again) != v.Record {
			t.Errorf("encoded again: got %x, want %s", again, v.Record)
		}
	}
}

func TestStripDoesNotAllocate(t *testing.T) {
	one := rec(Data, 0, 1, pos(1, 1, 1), strings.Repeat("m", 200))
	many := bytes.Repeat(one, 10)
	buf := make([]byte, len(many))
	var s Stripper
	var sink Sink = deaf{}
	n := testing.AllocsPerRun(100, func() {
		copy(buf, many)
		for _, cut := range []int{len(one), 3 * len(one), 4*len(one) + 7} {
			_, _ = s.Strip(buf[:cut], sink)
			s = Stripper{}
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

type deaf struct{}

func (deaf) LegTopic(Header, []byte)               {}
func (deaf) LegPosition(uint32, position.Position) {}
func (deaf) LegEnd()                               {}
func (deaf) LegUnknown(Kind)                       {}

func BenchmarkStripOneRecord(b *testing.B) {
	one := rec(Data, 0, 1, pos(1, 1, 1), strings.Repeat("m", 200))
	var s Stripper
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	for b.Loop() {
		_, _ = s.Strip(one, deaf{})
	}
}

func FuzzStrip(f *testing.F) {
	stream, _, _ := session()
	f.Add(stream, 40, 100)
	f.Add([]byte{0, 0, 0, 1, 1}, 1, 2)
	f.Fuzz(func(t *testing.T, stream []byte, i, j int) {
		wantClient, wantHeard, _, wantErr := strip(stream)
		i = min(max(i, 0), len(stream))
		j = min(max(j, i), len(stream))
		client, heard, _, err := strip(stream[:i], stream[i:j], stream[j:])
		if client != wantClient || fmt.Sprint(heard) != fmt.Sprint(wantHeard) || !errors.Is(err, wantErr) {
			t.Errorf("cut at %d and %d: got %q %q %v, want %q %q %v", i, j, client, heard, err, wantClient, wantHeard, wantErr)
		}
	})
}

func TestSignatures(t *testing.T) {
	old, _ := NewKeyring("the old secret of the cluster")
	both, _ := NewKeyring("the new secret of the cluster", "the old secret of the cluster")
	now := time.Unix(1763900000, 0)
	r := Request{"GET", "/t/finals?since=1", "example.com", "192.0.2.7"}
	f := func(want error, k *Keyring, r Request, value string, at time.Time) {
		t.Helper()
		if err := k.Verify(r, value, at); !errors.Is(err, want) {
			t.Errorf("%+v %q: got %v, want %v", r, value, err, want)
		}
	}
	v := old.Sign(r, now)
	f(nil, old, r, v, now)
	f(nil, both, r, v, now)
	f(ErrMAC, old, r, both.Sign(r, now), now)
	f(nil, old, r, v, now.Add(maxSkew))
	f(nil, old, r, v, now.Add(-maxSkew))
	f(ErrExpired, old, r, v, now.Add(maxSkew+time.Second))
	f(ErrExpired, old, r, v, now.Add(-maxSkew-time.Second))
	f(ErrMAC, old, Request{"GET", "/t/other", r.Host, r.Client}, v, now)
	f(ErrMAC, old, Request{r.Method, r.URI, r.Host, "192.0.2.8"}, v, now)
	f(ErrMAC, old, Request{r.Method, r.URI + r.Host, "", r.Client}, v, now)
	f(ErrMissing, old, r, "", now)
	f(ErrMalformed, old, r, "t=1", now)
	f(ErrMalformed, old, r, "t=x,n=0011223344556677,mac=00", now)
	f(ErrMalformed, old, r, strings.Replace(v, "mac=", "mac=zz", 1), now)
	f(ErrMAC, old, r, strings.Replace(v, "t=1763900000", "t=1763900001", 1), now)
	if v == old.Sign(r, now) {
		t.Error("two signatures are equal: the nonce is not random")
	}
	if _, err := NewKeyring(); err == nil {
		t.Error("a keyring without a secret: got no error")
	}
	if _, err := NewKeyring("a", ""); err == nil {
		t.Error("an empty secret: got no error")
	}
}
