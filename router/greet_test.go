package router

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/leg"
)

// TestGreeted has loops see plain handshakes through, whatever becomes of them, and the HTTP server get nothing of it.
func TestGreeted(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.MaxSessions = 2 }, g)
	r.open("a", wsHead, "")
	r.open("a", sseHead, "")
	for _, head := range []string{wsHead, wsHead + "Origin: https://x.example\r\n", sseHead} {
		c := r.connect()
		c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + head + "\r\n")
		if b, err := io.ReadAll(c.r); err != nil || len(b) == 0 {
			t.Errorf("refused by %q, %v", b, err)
		}
	}
	mute := r.connect()
	mute.conn.Close()
	eventually(t, "who is gone is found", func() bool { return r.value("greeted_total", "outcome=gone") == 1 })
	for outcome, want := range map[greetingOutcome]float64{greetedSession: 2, greetedRefused: 3, greetedHTTP: 0} {
		if !r.r.greets() { // another system
			want = 0
		}
		if got := r.value("greeted_total", "outcome="+outcome.String()); got != want {
			t.Errorf("greeted_total{%v}: got %v, want %v", outcome, got, want)
		}
	}
	if n := r.value("http_connections"); n != 0 {
		t.Errorf("%v places are taken", n)
	}
}

// TestGreetedAlike sends what there is to be said to a router whose loops greet, and to one whose HTTP server does: the answers are the same.
func TestGreetedAlike(t *testing.T) {
	g := gateway(t, "g1")
	other := gateway(t, "g2")
	other.setReply(func(f *far) bool {
		f.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nX-Reason: secret\r\nContent-Type: text/plain\r\n\r\nno\n")
		return false
	})
	limits := func(c *Config, _ *Deps) { c.MaxURL, c.MaxHeader = 200, 2048 }
	loops, server := start(t, false, limits, g, other), start(t, true, limits, g, other)
	refused, taken := loops.ownedBy("g2", "g1"), loops.ownedBy("g1", "g2")
	const host = " HTTP/1.1\r\nHost: edge.example\r\n"
	requests := []string{
		"GET /t/" + refused + host + wsHead + "\r\n", // a gateway answers for itself
		"GET /t/" + refused + host + sseHead + "\r\n",
		"GET /t/" + taken + host + wsHead + "Origin: https://x.example\r\nUser-Agent: x\r\nCookie: a=b\r\n\r\n",
		"GET /t/" + taken + host + wsHead + "\r\nbehind it",
		"GET /t/" + taken + " HTTP/1.1\r\nHost:  edge.example:80 \r\n" + sseHead + "\r\n",
		"\r\nGET /t/" + taken + host + sseHead + "\r\n",
		"GET /t/" + taken + "?x=" + strings.Repeat("y", 200) + host + wsHead + "\r\n",
		"GET /t/" + taken + host + wsHead + "X: " + strings.Repeat("y", 4000) + "\r\n\r\n",
		"GET http://edge.example/t/" + taken + host + wsHead + "\r\n",
		"OPTIONS /t/" + taken + host + "Origin: https://x.example\r\nAccess-Control-Request-Method: GET\r\n\r\n",
	}
	for _, bad := range badRequests() {
		if strings.HasPrefix(bad.line, "GET") && len(bad.line)+len(bad.head) < 2000 {
			requests = append(requests, bad.line+"\r\nHost: x\r\n"+bad.head+"\r\n")
		}
	}
	for _, request := range requests {
		want, got := server.told(request), loops.told(request)
		if got != want {
			t.Errorf("%q:\ngot  %q\nwant %q", request, got, want)
		}
	}
}

// told is the answer to a request, but for what no two answers have alike.
func (r *rig) told(request string) string {
	r.t.Helper()
	c := r.connect()
	defer c.conn.Close()
	c.send(request)
	resp := c.answer()
	var b []byte
	if resp.StatusCode >= 300 {
		var err error
		if b, err = io.ReadAll(resp.Body); err != nil {
			r.t.Errorf("%q: %v", request, err)
		}
	}
	resp.Header.Del("Date")
	return fmt.Sprint(resp.Status, resp.Header, string(b))
}

// TestGreetedInPieces hands over what does not come at once: a byte at a time.
func TestGreetedInPieces(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	c := r.connect()
	for _, b := range []byte("GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n") {
		c.send(string([]byte{b}))
		<-time.After(time.Millisecond)
	}
	if resp := c.answer(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %s", resp.Status)
	}
	f := g.session()
	f.write(record(leg.Data, "hi"))
	c.want("hi")
	c.send("ho")
	f.want("ho")
}

// TestGreetingsEnd shuts a router down while clients are mute, wait in the queue, and are asked for.
func TestGreetingsEnd(t *testing.T) {
	g := gateway(t, "g1")
	asked, answer := make(chan *far, 100), make(chan struct{})
	g.setReply(func(f *far) bool {
		asked <- f
		<-answer
		return replyLeg(f)
	})
	r := start(t, false, func(c *Config, _ *Deps) {
		c.Admission.Handshakes, c.Admission.QueueTime = 4, time.Hour
		c.HandshakeTimeout = time.Hour
	}, g)
	var cs []*client
	for i := range 10 {
		c := r.connect()
		if i > 0 {
			c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\n")
		}
		cs = append(cs, c)
	}
	for range 4 {
		<-asked
	}
	eventually(t, "some wait in the queue", func() bool { return r.r.gate.door.Stats(time.Now()).Queued == 5 })
	r.stop()
	close(answer)
	for i, c := range cs {
		if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil && !isReset(err) {
			t.Errorf("client %d: got %q, %v", i, b, err)
		}
	}
	if n := r.r.Sessions(); n != 0 {
		t.Errorf("%d places for sessions are taken", n)
	}
	if n := r.r.conns.room.Len(); n != 0 {
		t.Errorf("%d places for connections are taken", n)
	}
}

// FuzzPlain holds that what a loop takes for a plain handshake is one for the HTTP server too, and the same one.
func FuzzPlain(f *testing.F) {
	const host = " HTTP/1.1\r\nHost: edge.example\r\n"
	for _, s := range []string{
		"GET /t/a" + host + wsHead + "\r\n", "GET /t/a?since=1-2-3" + host + sseHead + "X-Forwarded-For: 192.0.2.1, x\r\n\r\n",
		"GET /t/a" + host + wsHead + "Host: y\r\n\r\n", "GET /t/a HTTP/1.1\r\nHost: a b\r\n" + wsHead + "\r\n", "GET //x/t/a" + host + wsHead + "\r\n",
		"GET /cable" + host + wsHead + "Sec-WebSocket-Protocol: actioncable-v1-json\r\n\r\n", "GET /t/a" + host + wsHead + "X: 1\r\n 2\r\n\r\n",
		"GET /t/a" + host + wsHead + "Connection: x, y\r\nX: \x00\r\n\r\n", "GET /t/\xff" + host + wsHead + "\r\n", "GET /t/a  HTTP/1.1\r\nHost:\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	r := &Router{cfg: Config{MaxURL: 2 << 10, Cable: true}, metrics: newMetrics()}
	f.Fuzz(func(t *testing.T, head []byte) {
		if end := bytes.Index(head, []byte("\r\n\r\n")); end < 0 || end+4 != len(head) {
			return // it is not whole
		}
		hs := r.parsePlain(head)
		if hs == nil {
			return
		}
		var ctx fasthttp.RequestCtx
		if err := ctx.Request.Header.Read(bufio.NewReader(bytes.NewReader(head))); err != nil {
			t.Fatalf("%q: the HTTP server says %v", head, err)
		}
		want, no := r.parse(&ctx)
		if no != nil {
			t.Fatalf("%q: the HTTP server refuses it: %s", head, no.message)
		}
		peer, now := netip.MustParseAddr("192.0.2.9"), time.Now()
		r.from(hs, peer, false, now)
		r.from(want, peer, false, now)
		if got, want := fmt.Sprintf("%+v", *hs), fmt.Sprintf("%+v", *want); got != want {
			t.Fatalf("%q:\ngot  %s\nwant %s", head, got, want)
		}
	})
}
