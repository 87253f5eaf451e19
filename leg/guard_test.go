package leg

import (
	"bytes"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
)

// What a session costs a router and a gateway that is begun, and one that changes gateways.

func guardKeys(b *testing.B) *Keyring {
	k, err := NewKeyring("a secret of the benchmarks")
	if err != nil {
		b.Fatal(err)
	}
	return k
}

var guardTicket = Ticket{Session: 0x0123456789abcdef, Format: 1, Topic: "match.4711.score", Client: "192.0.2.7"}

func BenchmarkSeal(b *testing.B) {
	k := guardKeys(b)
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(guardTicket)
	}
}

func BenchmarkOpen(b *testing.B) {
	k := guardKeys(b)
	sealed := k.Seal(guardTicket)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(sealed); err != nil {
			b.Fatal(err)
		}
	}
}

var guardRequest = Request{Method: "GET", URI: "/t/match.4711.score?since=6f1c22aa-1763900000000-0", Host: "edge.example", Client: "192.0.2.7"}

func BenchmarkSign(b *testing.B) {
	k, now := guardKeys(b), time.Unix(1_800_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		k.Sign(guardRequest, now)
	}
}

func BenchmarkVerify(b *testing.B) {
	k, now := guardKeys(b), time.Unix(1_800_000_000, 0)
	value := k.Sign(guardRequest, now)
	b.ReportAllocs()
	for b.Loop() {
		if err := k.Verify(guardRequest, value, now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStrip is what one read of sixteen messages costs a router.
func BenchmarkStrip(b *testing.B) {
	var all []byte
	for i := range 16 {
		h := Header{Length: 200, Kind: Data, Topic: 1, Position: position.Position{Epoch: 1, ID: position.ID{Ms: uint64(i + 1)}}}
		all = append(AppendHeader(all, h), bytes.Repeat([]byte{'m'}, 200)...)
	}
	buf := make([]byte, len(all))
	var s Stripper
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, all) // what is given out is moved together
		if client, rest, err := s.Strip(buf, deaf{}); err != nil || len(client) != 16*200 || len(rest) > 0 {
			b.Fatal(len(client), len(rest), err)
		}
	}
}

func BenchmarkPutHeader(b *testing.B) {
	buf := make([]byte, HeaderSize)
	h := Header{Length: 200, Kind: Data, Topic: 1, Position: position.Position{Epoch: 1, ID: position.ID{Ms: 1_763_900_000_000}}}
	b.ReportAllocs()
	for b.Loop() {
		PutHeader(buf, h)
	}
}

// BenchmarkResume is the block that a session that changes gateways brings, written and read.
func BenchmarkResume(b *testing.B) {
	r := Resume{Begun: true, Topics: []Standing{{Name: "match.4711.score", Position: position.Position{Epoch: 1, ID: position.ID{Ms: 7}}}}}
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendResume(buf[:0], r)
		if _, n, err := ParseResume(buf, 10); err != nil || n != len(buf) {
			b.Fatal(n, err)
		}
	}
}
