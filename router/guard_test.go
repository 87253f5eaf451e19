package router

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/leg"
)

var benchBody = strings.Repeat("m", 200)

func benchFeed() *feed {
	r := &Router{cfg: Config{FeedEntries: 256, FeedBytes: 1 << 20, FeedTotalBytes: 1 << 30}}
	f := &feed{w: &worker{r: r, counts: &counts{}}}
	f.num, f.at = 9, at(1)
	return f
}

// BenchmarkFeedTake is a message's way from a feed's leg into its log, which is full.
func BenchmarkFeedTake(b *testing.B) {
	f, body, ms := benchFeed(), []byte(benchBody), 1
	take := func() {
		ms++
		f.take(leg.Header{Length: uint32(len(body)), Kind: leg.Data, Topic: 9, Position: at(ms)}, body)
	}
	for range 1 << 12 { // until the log grows no more
		take()
	}
	b.ReportAllocs()
	for b.Loop() {
		take()
	}
}

// BenchmarkFeedGather is what a pass over a feed's members offers them.
func BenchmarkFeedGather(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := benchFeed()
			for i := range n {
				f.take(leg.Header{Length: uint32(len(benchBody)), Kind: leg.Data, Topic: 9, Position: at(i + 2)}, []byte(benchBody))
			}
			f.gather(f.log.First)
			b.ReportAllocs()
			for b.Loop() {
				f.batch.from = unplaced
				if g := f.gather(f.log.First); len(g.b) != n*len(benchBody) {
					b.Fatal(len(g.b))
				}
			}
		})
	}
}

// benchHead is a browser's handshake, behind its first line.
const benchHead = "Host: edge.example\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\nOrigin: https://edge.example\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Accept-Language: en-GB,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: ringside.v1\r\n\r\n"

func benchShake(b *testing.B) *handshake {
	hs := &handshake{
		uri: "/t/match.4711.score", host: "edge.example", peer: netip.MustParseAddr("192.0.2.7"), client: "192.0.2.7",
		takesFeeds: true, block: []byte(benchHead),
	}
	var seen fieldsSeen
	if err := hs.readFields(&seen); err != nil {
		b.Fatal(err)
	}
	if no := hs.parseKind(&seen); no != nil {
		b.Fatal(no)
	}
	return hs
}

// BenchmarkUnderstand is a handshake as it comes.
func BenchmarkUnderstand(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if hs := benchShake(b); !hs.websocket {
			b.Fatal("not understood")
		}
	}
}

// BenchmarkRequest is the handshake that a gateway gets.
func BenchmarkRequest(b *testing.B) {
	hs, keys, now := benchShake(b), testKeys(b), time.Unix(1_800_000_000, 0)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = hs.appendRequest(buf[:0], keys, true, now)
	}
}

// BenchmarkAnswer is what the gateway says.
func BenchmarkAnswer(b *testing.B) {
	head := []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
		"Sec-WebSocket-Protocol: ringside.v1\r\nRingside-Leg: v1\r\nRingside-Shard: g1\r\nRingside-Ticket: " + leg.TicketText([]byte(benchBody)) + "\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		a, err := parseAnswer(head)
		if err != nil {
			b.Fatal(err)
		}
		if s, err := a.read(); err != nil || len(s.ticket) == 0 {
			b.Fatal(err)
		}
	}
}

// BenchmarkFrames follows the frames of an upstream that is none of ours.
func BenchmarkFrames(b *testing.B) {
	read := []byte(strings.Repeat("\x81\x7e\x00\xc8"+benchBody, 16))
	var f frames
	b.ReportAllocs()
	for b.Loop() {
		f.feed(read)
	}
}
