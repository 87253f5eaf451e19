package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/position"
)

// benchLoops runs a gateway's loops until the benchmark ends.
func benchLoops(b *testing.B, g *Gateway) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.group.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		g.ln.Close()
	})
}

// benchSession begins a session on a real socket, and returns the client's end, which has been greeted.
func benchSession(b *testing.B, g *Gateway, ln net.Listener, f format, onLeg bool) net.Conn {
	b.Helper()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	near, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	fd, err := eventloop.Detach(near)
	if err != nil {
		b.Fatal(err)
	}
	w := g.workers[0]
	if !g.reserve() {
		b.Fatal("no place")
	}
	w.loop.Post(&arrival{session: &session{worker: w, format: f, onLeg: onLeg}, fd: fd, topic: benchTopic})
	buf := make([]byte, 64<<10)
	greeted := make(chan bool)
	for ok := false; !ok; { // until it is live, however the greeting comes
		w.loop.Post(noteFunc(func() {
			s := w.sessions[len(w.sessions)-1]
			greeted <- s.topic.state == subLive && s.topic.greeted
		}))
		ok = <-greeted
	}
	if f != formatRaw || onLeg { // raw sessions are told nothing
		if _, err := client.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	return client
}

// BenchmarkFanOut is a message's way from the tail to 64 sockets and through them, in each format, on a leg and without, and sixteen
// messages' at once. One allocation in a delivery is 64 here.
func BenchmarkFanOut(b *testing.B) {
	const sessions = 64
	run := func(name string, f format, onLeg bool, n int) {
		b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
			g, _ := benchGateway(b)
			benchLoops(b, g)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			var clients []net.Conn
			for range sessions {
				clients = append(clients, benchSession(b, g, ln, f, onLeg))
			}
			es := benchEntries(n)
			t := g.slots[g.slotOf(benchTopic)].topics[benchTopic]
			size := len((&entry{at: position.Position{Epoch: 1, ID: position.ID{Ms: 1_763_900_000_000, Seq: 1}}, topic: t, payload: benchPayload}).record(f).bytes(onLeg))
			buf := make([]byte, n*size)
			b.ReportAllocs()
			for b.Loop() {
				benchAppend(g, es)
				for _, c := range clients {
					if _, err := io.ReadFull(c, buf); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	run("v1", formatV1, false, 1)
	run("v1", formatV1, false, 16)
	run("leg", formatV1, true, 1)
	run("leg", formatV1, true, 16)
	run("raw", formatRaw, false, 1)
	run("sse", formatSSE, false, 1)
}
