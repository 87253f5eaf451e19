package leg

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
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
	l.add("topic %d %s %v off=%v asked=%v", h.Topic, name, h.Position, h.Flags&Off != 0, h.Flags&Asked != 0)
}
func (l *log) LegPosition(t uint32, p position.Position) { l.add("position %d %v", t, p) }
func (l *log) LegAck(n uint64)                           { l.add("ack %d", n) }
func (l *log) LegMove()                                  { l.add("move") }
func (l *log) LegRenew(sealed []byte)                    { l.add("renew %s", sealed) }
func (l *log) LegFeed(h Header, o Offer) {
	l.add("feed %d %d %x %s", h.Topic, h.Position.ID.Ms, o.Key, o.Ticket)
}
func (l *log) LegEnd()           { l.add("end") }
func (l *log) LegTold(v uint32)  { l.add("told %d", v) }
func (l *log) LegUnknown(k Kind) { l.add("unknown %d", k) }
func (l *log) add(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// reader feeds a Stripper as a router does: what is not whole is handed in again in front of what comes next.
type reader struct {
	s      Stripper
	log    log
	held   []byte
	client strings.Builder
}

func (r *reader) read(p []byte) error {
	buf := append(bytes.Clone(r.held), p...)
	out, rest, err := r.s.Strip(buf, &r.log)
	r.client.Write(out)
	if len(rest) > HeaderSize+MaxWhole {
		return fmt.Errorf("%d bytes are held", len(rest))
	}
	r.held = bytes.Clone(rest)
	return err
}

// nextLeg goes on with another gateway.
func (r *reader) nextLeg() {
	r.held = nil
	r.s.NextLeg()
}

// strip feeds a stream in the given pieces.
func strip(pieces ...[]byte) (*reader, error) {
	r := &reader{}
	for _, p := range pieces {
		if err := r.read(p); err != nil {
			return r, err
		}
	}
	return r, nil
}

// records are a stream with everything in it, and what the client gets of each.
func records() (stream [][]byte, client []string, heard []string) {
	p := pos(7, 1763900000000, 1)
	add := func(r []byte, forClient string) { stream, client = append(stream, r), append(client, forClient) }
	add(rec(Topic, Asked, 3, p, "finals"), "")
	add(rec(Data, 0, 0, position.Position{}, "welcome"), "welcome")
	add(rec(Data, 0, 3, pos(7, 1763900000000, 2), strings.Repeat("m", 200)), strings.Repeat("m", 200))
	add(rec(Beacon, 0, 3, pos(7, 1763900000009, 0), ""), "")
	add(rec(99, 0, 0, position.Position{}, "from the future"), "")
	add(rec(98, 0, 4, position.Position{}, strings.Repeat("future", MaxWhole/6+10)), "")
	add(rec(Beacon, 0, 3, pos(7, 1763900000010, 0), "beat"), "beat")
	add(rec(Data, 0, 3, pos(7, 1763900000011, 0), strings.Repeat("0123456789", MaxWhole/10+20)), strings.Repeat("0123456789", MaxWhole/10+20))
	add(rec(Topic, Off, 3, p, ""), "")
	add(rec(Data, 0, 0, Acknowledge(17), ""), "")
	add(rec(Data, 0, 0, Acknowledge(99), "pong"), "pong")
	add(rec(Move, 0, 0, position.Position{}, ""), "")
	add(rec(Feed, Strict, 3, pos(0, 99, 0), string(AppendOffer(nil, Offer{Key: 0xabc, Ticket: []byte("sealed")}))), "")
	add(rec(Feed, 0, 3, position.Position{}, "no offer"), "")
	add(rec(Data, 0, 4, pos(8, 1, 0), "x"), "x")
	add(rec(End, 0, 0, position.Position{}, "bye"), "bye")
	return stream, client, []string{
		"topic 3 finals 00000007-1763900000000-1 off=false asked=true", "position 3 00000007-1763900000000-2",
		"position 3 00000007-1763900000009-0", "unknown 99", "unknown 98", "position 3 00000007-1763900000010-0",
		"position 3 00000007-1763900000011-0", "topic 3  00000007-1763900000000-1 off=true asked=false",
		"ack 17", "ack 99", "move", "feed 3 99 abc sealed", "unknown 7", "position 4 00000008-1-0", "end",
	}
}

func check(t *testing.T, what string, pieces ...[]byte) {
	t.Helper()
	_, clients, wantHeard := records()
	r, err := strip(pieces...)
	if err != nil || r.client.String() != strings.Join(clients, "") || !slices.Equal(r.log.lines, wantHeard) {
		t.Fatalf("%s: got %.300q, %q, %v", what, r.client.String(), r.log.lines, err)
	}
	if _, half := r.s.Half(); half || len(r.held) > 0 {
		t.Fatalf("%s: half a record is left", what)
	}
}

func TestStripWhereverReadsCut(t *testing.T) {
	rs, _, _ := records()
	stream := bytes.Join(rs, nil)
	check(t, "at once", stream)
	for i := range stream {
		if i > 2000 && i < len(stream)-2000 && i%97 != 0 { // within the large ones
			continue
		}
		for _, j := range []int{i, min(i+HeaderSize, len(stream)), (i + len(stream)) / 2} {
			check(t, fmt.Sprintf("cut at %d and %d", i, j), stream[:i], stream[i:j], stream[j:])
		}
	}
	var bytewise [][]byte
	for i := range stream {
		bytewise = append(bytewise, stream[i:i+1])
	}
	check(t, "byte by byte", bytewise...)
}

// A leg that is cut anywhere, and another one that begins with the first record that was not whole, are the same to the
// client.
func TestNextLegWhereverTheFirstIsCut(t *testing.T) {
	rs, clients, _ := records()
	stream, want := bytes.Join(rs, nil), strings.Join(clients, "")
	for i := range stream {
		if i > 2000 && i < len(stream)-2000 && i%23 != 0 { // within the large ones
			continue
		}
		n, end := 0, 0 // records that have come whole, and where they end
		for n < len(rs) && end+len(rs[n]) <= i {
			end += len(rs[n])
			n++
		}
		again := append(rec(Data, 0, 0, Acknowledge(3), ""), bytes.Join(rs[n:], nil)...)
		for _, j := range []int{len(again), 0, 40, 1000, 9000} { // the second leg may be cut as well
			r, err := strip(stream[:i])
			if err != nil {
				t.Fatal(err)
			}
			if j = min(j, len(again)-len(rs[len(rs)-1])); j > 0 && j < len(again) && HeaderSize+j < HeaderSize+len(rs[n]) {
				r.nextLeg() // dies within the same record
				if err := r.read(again[:j]); err != nil {
					t.Fatalf("cut at %d and %d: %v", i, j, err)
				}
			}
			r.nextLeg()
			if err := r.read(again); err != nil {
				t.Fatalf("cut at %d and %d: %v", i, j, err)
			}
			if got := r.client.String(); got != want {
				t.Fatalf("cut at %d and %d: the client's bytes differ (%d bytes, want %d)", i, j, len(got), len(want))
			}
		}
	}
}

// What would tear a message that is half way is refused.
func TestNextLegMustGoOn(t *testing.T) {
	at := pos(7, 5, 0)
	begun := rec(Data, 0, 3, at, strings.Repeat("m", 2*MaxWhole))
	f := func(want error, records ...[]byte) {
		t.Helper()
		r, err := strip(begun[:HeaderSize+100])
		if topic, half := r.s.Half(); err != nil || !half || topic != 3 {
			t.Fatalf("half: got %v %v %v", topic, half, err)
		}
		r.nextLeg()
		if err := r.read(bytes.Join(records, nil)); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if want != nil && r.client.Len() != 100 {
			t.Errorf("the client got %d bytes more", r.client.Len()-100)
		}
	}
	f(nil, rec(Topic, 0, 9, pos(7, 4, 0), "finals"), rec(Data, 0, 0, Acknowledge(9), ""), rec(Data, 0, 9, at, strings.Repeat("m", 2*MaxWhole)))
	f(ErrContinue, rec(Data, 0, 0, position.Position{}, "pong"))
	f(ErrContinue, rec(Beacon, 0, 9, at, "gap"))
	f(ErrContinue, rec(End, 0, 0, at, "bye"))
	f(ErrContinue, rec(Data, 0, 9, pos(7, 6, 0), strings.Repeat("m", 2*MaxWhole)))
	f(ErrContinue, rec(Data, 0, 9, at, strings.Repeat("m", 2*MaxWhole+1)))
	f(ErrContinue, rec(77, 0, 9, at, strings.Repeat("m", 2*MaxWhole)))
}

// The next gateway begins just before the message that is half way, whatever the last one had passed over.
func TestFrom(t *testing.T) {
	at := pos(7, 500, 0)
	r, err := strip(append(rec(Data, 0, 3, pos(7, 2, 0), "two"), rec(Data, 0, 3, at, strings.Repeat("m", 2*MaxWhole))[:HeaderSize+100]...))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if from, ok := r.s.From(); !ok || from.Epoch != 7 || from.ID.Next() != at.ID {
			t.Errorf("got %v, %v, want just before %v", from, ok, at)
		}
		r.nextLeg()
	}
	if err := r.read(rec(Data, 0, 9, at, strings.Repeat("m", 2*MaxWhole))); err != nil {
		t.Fatal(err)
	}
	if from, ok := r.s.From(); ok {
		t.Errorf("got %v behind a whole message, want none", from)
	}
}

// Small records come whole or not at all.
func TestWhole(t *testing.T) {
	r := rec(Data, 0, 1, pos(1, 1, 1), "0123456789")
	for n := range r {
		if got, err := strip(r[:n]); err != nil || got.client.Len() > 0 || len(got.held) != n {
			t.Errorf("after %d bytes: got %q, %d held, %v", n, got.client.String(), len(got.held), err)
		}
	}
}

func TestStripRefuses(t *testing.T) {
	f := func(want error, change func(b []byte)) {
		t.Helper()
		bad := rec(Data, 0, 1, pos(1, 1, 1), "x")
		change(bad)
		r, err := strip(append(rec(Data, 0, 0, position.Position{}, "good"), bad...))
		if !errors.Is(err, want) || r.client.String() != "good" {
			t.Errorf("got %q, %v, want %v", r.client.String(), err, want)
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
	if r, err := strip(stream); err != nil || r.client.String() != "bye" || len(r.log.lines) != 1 {
		t.Errorf("got %q %q %v", r.client.String(), r.log.lines, err)
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
			_, _, _ = s.Strip(buf[:cut], sink)
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

type deaf struct{}

func (deaf) LegTopic(Header, []byte)               {}
func (deaf) LegPosition(uint32, position.Position) {}
func (deaf) LegAck(uint64)                         {}
func (deaf) LegMove()                              {}
func (deaf) LegRenew([]byte)                       {}
func (deaf) LegFeed(Header, Offer)                 {}
func (deaf) LegEnd()                               {}
func (deaf) LegTold(uint32)                        {}
func (deaf) LegUnknown(Kind)                       {}

func BenchmarkStripOneRecord(b *testing.B) {
	one := rec(Data, 0, 1, pos(1, 1, 1), strings.Repeat("m", 200))
	var s Stripper
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	for b.Loop() {
		_, _, _ = s.Strip(one, deaf{})
	}
}

func FuzzStrip(f *testing.F) {
	rs, _, _ := records()
	f.Add(bytes.Join(rs, nil), 40, 100)
	f.Add([]byte{0, 0, 0, 1, 1}, 1, 2)
	f.Fuzz(func(t *testing.T, stream []byte, i, j int) {
		want, wantErr := strip(stream)
		i = min(max(i, 0), len(stream))
		j = min(max(j, i), len(stream))
		got, err := strip(stream[:i], stream[i:j], stream[j:])
		if got.client.String() != want.client.String() || !slices.Equal(got.log.lines, want.log.lines) || !errors.Is(err, wantErr) {
			t.Errorf("cut at %d and %d: got %q %q %v, want %q %q %v", i, j, got.client.String(), got.log.lines, err,
				want.client.String(), want.log.lines, wantErr)
		}
	})
}

func TestResumeBlock(t *testing.T) {
	f := func(r Resume) {
		t.Helper()
		b := AppendResume([]byte("before"), r)[len("before"):]
		for i := range b {
			if _, n, err := ParseResume(b[:i], 10); n != 0 || err != nil {
				t.Fatalf("%d of %d bytes: got %d, %v", i, len(b), n, err)
			}
		}
		got, n, err := ParseResume(append(bytes.Clone(b), "behind"...), 10)
		if err != nil || n != len(b) || !reflect.DeepEqual(got, r) {
			t.Errorf("got %+v, %d, %v, want %+v, %d", got, n, err, r, len(b))
		}
	}
	f(Resume{First: -1, Topics: []Standing{}})
	f(Resume{Begun: true, First: 1, Topics: []Standing{
		{Name: "finals", Position: pos(7, 8, 9)}, {Name: strings.Repeat("x", maxName), Position: pos(1, 1<<63, 1), Asked: true},
	}})
	bad := func(change func(b []byte) []byte) {
		t.Helper()
		b := change(AppendResume(nil, Resume{Begun: true, First: 0, Topics: []Standing{{Name: "finals"}, {Name: "semi"}}}))
		if _, n, err := ParseResume(b, 2); n != 0 || !errors.Is(err, ErrResume) {
			t.Errorf("%x: got %d, %v", b, n, err)
		}
	}
	bad(func(b []byte) []byte { b[0] = 1; return b })
	bad(func(b []byte) []byte { b[3] = 3; return b })
	bad(func(b []byte) []byte { b[3]--; return b })
	bad(func(b []byte) []byte { b[3]++; return append(b, 0) })
	bad(func(b []byte) []byte { b[4] = 2; return b })
	bad(func(b []byte) []byte { b[9] = 2; return b })
	bad(func(b []byte) []byte { b[13] = 3; return b })
	bad(func(b []byte) []byte { b[14] = 255; return b })
}

func FuzzParseResume(f *testing.F) {
	f.Add(AppendResume(nil, Resume{Begun: true, First: 0, Topics: []Standing{{Name: "finals"}, {Name: "semi"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := ParseResume(b, 100)
		if err != nil || n == 0 {
			return
		}
		if again, m, err := ParseResume(AppendResume(nil, r), 100); err != nil || m != n || !reflect.DeepEqual(again, r) {
			t.Errorf("got %+v %d %v, want %+v %d", again, m, err, r, n)
		}
	})
}

func TestTickets(t *testing.T) {
	old, _ := NewKeyring("the old secret of the cluster")
	both, _ := NewKeyring("the new secret of the cluster", "the old secret of the cluster")
	want := Ticket{Session: 1 << 60, Format: 2, Resumed: true, Since: pos(1, 2, 3), Topic: strings.Repeat("t", 255), Client: "2001:db8::1"}
	sealed := old.Seal(want)
	if bytes.Contains(sealed, []byte("2001")) || bytes.Equal(sealed, old.Seal(want)) {
		t.Error("the ticket can be read, or is the same twice")
	}
	raw, err := ParseTicketText(TicketText(sealed))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*Keyring{old, both} {
		if got, err := k.Open(raw); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if _, err := old.Open(both.Seal(want)); !errors.Is(err, ErrTicket) {
		t.Errorf("another secret: got %v", err)
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		if _, err := old.Open(b); !errors.Is(err, ErrTicket) {
			t.Errorf("byte %d changed: got %v", i, err)
		}
		if _, err := old.Open(sealed[:i]); !errors.Is(err, ErrTicket) {
			t.Errorf("%d bytes of it: got %v", i, err)
		}
	}
	for _, s := range []string{"", "?", strings.Repeat("A", 6000)} {
		if _, err := ParseTicketText(s); !errors.Is(err, ErrTicket) {
			t.Errorf("%.10q: got %v", s, err)
		}
	}
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

// A ticket that was sealed with a secret on its way out is sealed anew, and opens without that.
func TestTicketRenewed(t *testing.T) {
	ring := func(secrets ...string) *Keyring {
		k, err := NewKeyring(secrets...)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	const before, after = "the secret before", "the secret after"
	want := Ticket{Session: 7, Topic: "finals", Client: "192.0.2.1"}
	old := ring(before).Seal(want)
	both := ring(after, before)
	if got, err := ring(after).Open(both.Renewed(old)); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if both.Renewed(both.Seal(want)) != nil {
		t.Error("a ticket under the first secret is renewed")
	}
	if ring(after).Renewed(old) != nil || both.Renewed([]byte("none")) != nil {
		t.Error("a ticket that nobody can open is renewed")
	}
}
