package router

import (
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/conformance"
	"github.com/ringside-edge/ringside/internal/httphead"
)

// recorder is a static upstream that writes down every byte it gets, and answers the first head of a connection.
type recorder struct {
	*upstreamServer
	reply string // empty: a 101 that belongs to the key of the tests

	mu  sync.Mutex
	got []string // by connection
}

// recordAt starts an upstream that records.
func recordAt(t *testing.T, id, reply string) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if reply == "" {
		reply = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
			httphead.AcceptFor(conformance.Key) + "\r\n\r\n"
	}
	rec := &recorder{upstreamServer: &upstreamServer{t: t, id: id, static: true, ln: ln}, reply: reply}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			rec.mu.Lock()
			rec.got = append(rec.got, "")
			rec.mu.Unlock()
			wg.Go(func() { rec.listen(n, c) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return rec
}

func (rec *recorder) listen(n int, c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 4<<10)
	answered := false
	for {
		m, err := c.Read(buf)
		rec.mu.Lock()
		rec.got[n] += string(buf[:m])
		whole := strings.Contains(rec.got[n], "\r\n\r\n")
		rec.mu.Unlock()
		if err != nil {
			return
		}
		if whole && !answered {
			answered = true
			_, _ = io.WriteString(c, rec.reply)
			if strings.Contains(rec.reply, "200 ") || strings.Contains(rec.reply, "403 ") {
				_ = c.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // of a TCP listener
			}
		}
	}
}

// all is what has come, by connection.
func (rec *recorder) all() []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return append([]string(nil), rec.got...)
}

// TestHostileRequests sends what two readers may understand differently through a router, in front of a server that records
// what it gets: that is nothing.
func TestHostileRequests(t *testing.T) {
	rec := recordAt(t, "s1", "")
	r := start(t, false, nil, rec.upstreamServer)
	neighbour := r.open("calm", wsHead, "")
	before := rec.all()
	for _, q := range conformance.HostileRequests() {
		t.Run(q.Name, func(t *testing.T) {
			count := r.value("refused_total", "reason="+q.Reason)
			c := r.connect()
			c.t = t
			// It may refuse before it has read everything: what matters is the answer.
			_, _ = io.WriteString(c.conn, q.Bytes)
			resp := c.answer()
			var got struct{ Error, Message string }
			if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Message == "" {
				t.Errorf("no JSON error: %v", err)
			}
			if resp.StatusCode != q.Status || got.Error != q.Reason || !resp.Close {
				t.Errorf("got %d %s (%s), close %v, want %d %s and a close", resp.StatusCode, got.Error, got.Message, resp.Close, q.Status, q.Reason)
			}
			c.over()
			if n := r.value("refused_total", "reason="+q.Reason); n != count+1 {
				t.Errorf("refused_total{%s}: got %v, want %v", q.Reason, n, count+1)
			}
		})
	}
	// What comes to the neighbour is what was sent to it, and came behind all that could have come before.
	neighbour.send("still here")
	eventually(t, "the neighbour's bytes come", func() bool { return strings.HasSuffix(rec.all()[0], "still here") })
	if got := rec.all(); len(got) != 1 || got[0] != before[0]+"still here" {
		t.Errorf("the upstream got %q", got)
	}
}

// over reads up to the end of the connection, however that comes, and holds that nothing else is answered.
func (c *client) over() {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil && !isReset(err) {
		c.t.Errorf("the connection was left open: %v", err)
	}
	if strings.Contains(string(b), "HTTP/1.1") {
		c.t.Errorf("a second answer: %q", b)
	}
}

// TestBehindHandshake sends a second request behind a handshake. It belongs to the tunnel, if there is one, and to nobody else.
func TestBehindHandshake(t *testing.T) {
	const head = "GET /t/a HTTP/1.1\r\nHost: edge.example\r\n" + conformance.Handshake + "\r\n"
	ask := func(reply string) (*rig, *recorder, *client) {
		rec := recordAt(t, "s1", reply)
		r := start(t, false, nil, rec.upstreamServer)
		c := r.connect()
		c.send(head + conformance.Smuggled)
		return r, rec, c
	}
	t.Run("tunnel", func(t *testing.T) {
		r, rec, c := ask("")
		if resp := c.answer(); resp.StatusCode != 101 {
			t.Fatalf("got %s", resp.Status)
		}
		eventually(t, "all has come", func() bool { return strings.HasSuffix(rec.all()[0], conformance.Smuggled) })
		got := rec.all()
		if first, rest, _ := strings.Cut(got[0], "\r\n\r\n"); len(got) != 1 || rest != conformance.Smuggled || !strings.HasPrefix(first, "GET /t/a HTTP/1.1\r\n") {
			t.Errorf("the upstream got %q", got)
		}
		if n := r.value("sessions"); n != 1 {
			t.Errorf("sessions: got %v, want 1", n)
		}
	})
	for name, reply := range map[string]string{
		"refused":      "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
		"no length":    "HTTP/1.1 403 No\r\n\r\nno",
		"wrong accept": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
		"a 200":        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"an answer and another": "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" +
			"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, rec, c := ask(reply)
			if resp := c.answer(); resp.StatusCode == 101 || !resp.Close {
				t.Errorf("got %s, close %v", resp.Status, resp.Close)
			}
			c.over()
			for _, got := range rec.all() {
				if !strings.HasSuffix(got, "\r\n\r\n") || strings.Count(got, "\r\n\r\n") != 1 || strings.Contains(got, "smuggled") {
					t.Errorf("the upstream got %q", got)
				}
			}
			r.empty()
		})
	}
}

// TestNamedByConnection holds that a client can't take away what a handshake is made of by naming it in Connection, and that
// what it may name ends here.
func TestNamedByConnection(t *testing.T) {
	rec := recordAt(t, "s1", "")
	r := start(t, false, nil, rec.upstreamServer)
	c := r.connect()
	c.send("GET /t/a HTTP/1.1\r\nHost: edge.example\r\n" + strings.Replace(conformance.Handshake, "Connection: Upgrade",
		"Connection: Upgrade, Host, Sec-WebSocket-Key, sec-websocket-version, Authorization, Cookie, Origin, X-Forwarded-For, X-Mine, Close", 1) +
		"Authorization: Bearer x\r\nCookie: a=b\r\nOrigin: https://x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Mine: y\r\n\r\n")
	if resp := c.answer(); resp.StatusCode != 101 {
		t.Fatalf("got %s", resp.Status)
	}
	got := rec.all()[0]
	for _, l := range []string{"Host: edge.example", "Sec-WebSocket-Key: " + conformance.Key, "Sec-WebSocket-Version: 13", "Authorization: Bearer x",
		"Cookie: a=b", "Origin: https://x", "X-Forwarded-For: 1.2.3.4, 127.0.0.1", "Connection: Upgrade"} {
		if strings.Count(got, "\r\n"+l+"\r\n") != 1 {
			t.Errorf("want the line %q once in\n%s", l, got)
		}
	}
	if strings.Contains(got, "X-Mine") {
		t.Errorf("X-Mine came through:\n%s", got)
	}
}

// TestFallbackFraming holds that where a request ends that the fallback answers is beyond doubt too: what could be another
// request ends the connection.
func TestFallbackFraming(t *testing.T) {
	rec := recordAt(t, "s1", "")
	var asked atomic.Int32
	r := start(t, false, func(_ *Config, d *Deps) {
		d.Fallback = func(ctx *fasthttp.RequestCtx) { asked.Add(1); ctx.SetBody(ctx.PostBody()) }
	}, rec.upstreamServer)
	for name, fields := range map[string]string{
		"length and chunked": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked and length": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"two lengths":        "Content-Length: 5\r\nContent-Length: 0\r\n\r\n",
		"odd length":         "Content-Length: 0x0\r\n\r\n",
		"odd encoding":       "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"chunk without CRLF": "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
		"odd chunk length":   "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
		"negative chunk":     "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
		"huge chunk":         "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n\r\n",
		"bare LF":            "Transfer-Encoding: chunked\r\n\r\n0\n\n",
		"smuggled trailer":   "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			asked.Store(0)
			c := r.connect()
			c.t = t
			_, _ = io.WriteString(c.conn, "POST /x HTTP/1.1\r\nHost: edge.example\r\n"+fields+conformance.Smuggled)
			want, times := 400, 0
			if strings.Contains(name, " and ") { // the chunks count, and nothing behind them (RFC 9112, 6.3)
				want, times = 200, 1
			}
			if resp := c.answer(); resp.StatusCode != want || !resp.Close {
				t.Errorf("got %s, close %v, want %d and a close", resp.Status, resp.Close, want)
			}
			c.over()
			if n := int(asked.Load()); n != times {
				t.Errorf("the fallback was asked %d times, want %d", n, times)
			}
		})
	}
	if got := rec.all(); len(got) != 0 {
		t.Errorf("the upstream got %q", got)
	}
}
