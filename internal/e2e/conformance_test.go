package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/conformance"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestFrameConformance runs the table of RFC 6455 through a router and directly at a gateway, in both subprotocols, as it comes and
// byte by byte. The neighbours notice nothing.
func TestFrameConformance(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	neighbour := join(t, c, redis, []string{"calm"}, 6)
	for _, n := range c.Nodes() {
		for _, protocol := range []string{"ringside.v1", "ringside.raw"} {
			t.Run(n.Name+"/"+protocol, func(t *testing.T) {
				for _, fc := range conformance.FrameCases() {
					want := fc.V1
					if protocol == "ringside.raw" {
						want = fc.Raw
					}
					frameCases(t, n.Addr, protocol, fc, want)
				}
			})
		}
	}
	tr := publishers(t, c, redis, []string{"calm"}, 2, 20)
	tr.wait()
	neighbour.verify(t)
	for _, s := range neighbour.subs {
		if s.Connections() != 1 {
			t.Errorf("%v noticed: %v", s, s.Closes())
		}
	}
}

// frameCases runs a row as it comes and, unless it is long, byte by byte, and returns how often that is.
func frameCases(t *testing.T, addr, protocol string, fc conformance.FrameCase, want []string) (runs int) {
	t.Helper()
	for _, step := range []int{1 << 20, 1} {
		if step > 1 || len(fc.Bytes) < 1000 {
			frameCase(t, addr, protocol, fc, want, step)
			runs++
		}
	}
	return runs
}

// frameCase sends one row's bytes, step at a time, and compares what comes.
func frameCase(t *testing.T, addr, protocol string, fc conformance.FrameCase, want []string, step int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testcluster.Limit()))
	if _, err := io.WriteString(conn, "GET /t/conformance HTTP/1.1\r\nHost: edge.example\r\nSec-WebSocket-Protocol: "+protocol+"\r\n"+
		conformance.Handshake+"\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Protocol") != protocol {
		t.Fatalf("%s: %v, %v", fc.Name, resp, err)
	}
	closes := len(want) > 0 && strings.HasPrefix(want[len(want)-1], "close ")
	sent := fc.Bytes
	if !closes {
		const end = "\x89\x83\x00\x00\x00\x00end"
		sent, want = append(sent[:len(sent):len(sent)], end...), append(want[:len(want):len(want)], "pong end")
	}
	for rest := sent; len(rest) > 0; {
		k := min(step, len(rest))
		if _, err := conn.Write(rest[:k]); err != nil {
			break // it has seen enough: what matters is what it says
		}
		rest = rest[k:]
	}
	for _, w := range want {
		got, err := nextFrame(r)
		if err != nil || string(got) != w {
			t.Errorf("%s, %d at a time: got %.200q, %v, want %.200q", fc.Name, step, got, err, w)
			return
		}
	}
	if !closes {
		return
	}
	_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // dialled as TCP
	if f, err := nextFrame(r); err == nil {
		t.Errorf("%s, %d at a time: behind the close: %q", fc.Name, step, f)
	}
}

// nextFrame is the next frame that is an answer.
func nextFrame(r io.Reader) (conformance.Frame, error) {
	for {
		f, err := conformance.ReadFrame(r)
		if err != nil || !strings.HasPrefix(string(f), "ping ") && !strings.HasPrefix(string(f), `text {"type":"welcome"`) &&
			!strings.HasPrefix(string(f), `text {"type":"heartbeat"`) {
			return f, err
		}
	}
}
