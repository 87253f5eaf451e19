package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/stream"
)

// benchTopic is a topic's name as they are in use, and benchPayload a message of some 200 bytes.
const benchTopic = "match.4711.score"

var benchPayload = []byte(fmt.Sprintf(`{"score":"2:1","minute":87,"text":"%0160d"}`, 0))

// benchGateway is a gateway with one loop, and all but Redis: what a tail would bring the benchmark brings itself.
func benchGateway(b *testing.B) (*Gateway, *leg.Keyring) {
	b.Helper()
	keys, err := leg.NewKeyring(testSecret)
	if err != nil {
		b.Fatal(err)
	}
	c, err := stream.New(stream.Config{URL: "redis://127.0.0.1:1"}, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	rg := ring.New([]ring.Member{{ID: "g1", Role: ring.RoleGateway, State: ring.StateActive, Weight: 1}})
	g, err := New(Config{ID: "g1", Listen: "127.0.0.1:0", Loops: 1}, Deps{
		Ring:    func() *ring.Ring { return rg },
		Changed: func() (<-chan struct{}, func()) { return nil, func() {} },
		Stream:  c, Keys: keys, Log: zap.NewNop(),
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range g.slots {
		s.started(position.Position{Epoch: 1, ID: position.ID{Ms: 1_763_900_000_000}}, position.ID{})
	}
	return g, keys
}

// benchAppend brings n entries, as a tail does.
func benchAppend(g *Gateway, es []stream.Entry) {
	s := g.slots[g.slotOf(benchTopic)]
	id := s.at.ID // nobody else writes it
	for i := range es {
		id.Seq++
		if id.Seq > 9 { // texts of one length
			id = position.ID{Ms: id.Ms + 1}
		}
		es[i].ID = id
	}
	s.append(es)
}

func benchEntries(n int) []stream.Entry {
	es := make([]stream.Entry, n)
	for i := range es {
		es[i] = stream.Entry{Topic: benchTopic, Payload: benchPayload}
	}
	return es
}

// BenchmarkEncode is what a message costs in each format, however many sessions it goes to.
func BenchmarkEncode(b *testing.B) {
	t := &topic{name: benchTopic, quoted: appendQuoted(nil, benchTopic), num: 1, slot: &slot{g: &Gateway{}}}
	for f := range formats {
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e := &entry{at: position.Position{Epoch: 1, ID: position.ID{Ms: 1_763_900_000_000, Seq: 7}}, topic: t, payload: benchPayload}
				e.record(f)
			}
		})
	}
}

// BenchmarkTake is an entry's way into the log of a topic whose log is full.
func BenchmarkTake(b *testing.B) {
	g, _ := benchGateway(b)
	defer g.Close()
	s := g.slots[g.slotOf(benchTopic)]
	t := &topic{name: benchTopic, quoted: appendQuoted(nil, benchTopic), num: 1, slot: s}
	s.topics[benchTopic] = t
	es := benchEntries(1)
	for range 1 << 16 { // until the log grows no more
		benchAppend(g, es)
	}
	b.ReportAllocs()
	for b.Loop() {
		benchAppend(g, es)
	}
}

// BenchmarkBatch is what a turn of a loop gathers for those of its sessions that have kept up, and for those that are sixteen behind.
func BenchmarkBatch(b *testing.B) {
	t := &topic{name: benchTopic, quoted: appendQuoted(nil, benchTopic), num: 1, slot: &slot{g: &Gateway{}}}
	var entries []*entry
	for i := range 16 {
		entries = append(entries, &entry{at: position.Position{Epoch: 1, ID: position.ID{Ms: uint64(i + 1)}}, topic: t, payload: benchPayload})
	}
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := &worker{}
			sub := &sub{session: &session{worker: w, format: formatV1, onLeg: true}}
			w.batch(sub, entries[:n]) // encodes, and makes room
			b.ReportAllocs()
			for b.Loop() {
				w.newBatches()
				if got := w.batch(sub, entries[:n]); got.n != n {
					b.Fatal(got.n)
				}
			}
		})
	}
}

// BenchmarkHeartbeat is a session's, of many that follow a topic.
func BenchmarkHeartbeat(b *testing.B) {
	g, _ := benchGateway(b)
	defer g.Close()
	w := g.workers[0]
	f := w.feed(benchTopic)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := f.heartbeat(f.topic.log.Next(), formatV1); !ok {
			b.Fatal("nothing is known")
		}
	}
}

// BenchmarkParse understands the handshake of a session on a leg, its signature too.
func BenchmarkParse(b *testing.B) {
	g, keys := benchGateway(b)
	defer g.Close()
	signed := leg.Request{Method: "GET", URI: "/t/" + benchTopic, Host: "edge.example", Client: "192.0.2.7"}
	head := "GET " + signed.URI + " HTTP/1.1\r\nHost: edge.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + protocolV1 + "\r\nOrigin: https://edge.example\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nX-Forwarded-For: 192.0.2.7\r\n" + leg.HeaderLeg + ": v1\r\n" + leg.HeaderFeeds + ": v1\r\n" +
		leg.HeaderClient + ": 192.0.2.7\r\n" + leg.HeaderAuth + ": " + keys.Sign(signed, time.Now()) + "\r\n\r\n"
	ctx := &fasthttp.RequestCtx{}
	if err := ctx.Request.Header.Read(bufio.NewReader(bytes.NewReader([]byte(head)))); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if req, no := g.parse(ctx); no != nil || !req.onLeg {
			b.Fatal(no)
		}
	}
}
