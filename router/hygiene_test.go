package router

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/leg"
)

// TestHeaderHygiene looks at what an upstream gets of what a client has sent.
func TestHeaderHygiene(t *testing.T) {
	g, s := gateway(t, "g1"), rawServer(t, "s1")
	r := start(t, false, nil, g, s)
	const sent = "X-First: 1\r\nx-SECOND:   two words \r\n" +
		"Ringside-Leg: v9\r\nringside-auth: t=1,n=2,mac=3\r\nRINGSIDE-CLIENT: 6.6.6.6\r\nRingside_Client: 6.6.6.6\r\nRiNgSiDe-Ticket: x\r\n" +
		"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Authorization: secret\r\nProxy-Connection: x\r\nX-Mine: x\r\n" +
		"Connection: keep-alive, X-Mine, Host, Authorization\r\nAuthorization: Bearer x\r\nCookie: a=b\r\nOrigin: https://x\r\n" +
		"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\nForwarded: for=1.1.1.1\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: a, b\r\n"
	heads := map[string]*far{}
	for _, u := range []*upstreamServer{g, s} {
		r.open(r.ownedBy(u.id)+"?x=%2F..%2f&y=a+b", wsHead+sent, "")
		heads[u.id] = u.session()
	}
	for id, f := range heads {
		if !strings.HasPrefix(f.head, "GET /t/") || !strings.Contains(f.head, "?x=%2F..%2f&y=a+b HTTP/1.1\r\n") {
			t.Errorf("%s: the request line is not as it came: %q", id, f.head)
		}
		for _, line := range []string{
			"Host: edge.example", "X-First: 1", "x-SECOND:   two words ", "Authorization: Bearer x", "Cookie: a=b", "Origin: https://x",
			"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: " + testKey, "Sec-WebSocket-Protocol: a, b",
			"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: edge.example",
			"Forwarded: for=1.1.1.1, for=127.0.0.1;proto=http",
		} {
			if strings.Count(f.head, "\r\n"+line+"\r\n") != 1 {
				t.Errorf("%s: want the line %q once in\n%s", id, line, f.head)
			}
		}
		for _, name := range []string{"Keep-Alive", "Te", "Proxy-Authorization", "Proxy-Connection", "X-Mine", "Ringside-Ticket", "Ringside_client"} {
			if v := f.req.Header.Values(name); v != nil {
				t.Errorf("%s: %s: %q came through", id, name, v)
			}
		}
		if strings.Contains(f.head, "6.6.6.6") || strings.Contains(f.head, "v9") || strings.Contains(f.head, "t=1,n=2") {
			t.Errorf("%s: a Ringside header came through:\n%s", id, f.head)
		}
		if got := f.req.Header.Values("Connection"); !slices.Equal(got, []string{"Upgrade"}) {
			t.Errorf("%s: Connection: got %q", id, got)
		}
	}
	if h := heads["g1"].req.Header; h.Get(leg.HeaderLeg) != leg.Version || h.Get(leg.HeaderClient) != "127.0.0.1" ||
		h.Get(leg.HeaderAuth) == "" || h.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("g1: want our headers, signed, and no extensions, got %v", h)
	}
	if h := heads["s1"].req.Header; h.Get(leg.HeaderLeg)+h.Get(leg.HeaderClient)+h.Get(leg.HeaderAuth) != "" ||
		h.Get("Sec-WebSocket-Extensions") != "permessage-deflate; client_max_window_bits" {
		t.Errorf("s1: want the extensions and none of our headers, got %v", h)
	}
}

// TestForwardedKept looks whether a proxy in front is believed about scheme and host.
func TestForwardedKept(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	r.open("a", wsHead+"X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example\r\n", "")
	h := g.session().req.Header
	if p, host := h.Values("X-Forwarded-Proto"), h.Values("X-Forwarded-Host"); !slices.Equal(p, []string{"https"}) || !slices.Equal(host, []string{"public.example"}) {
		t.Errorf("got %q and %q", p, host)
	}
}

// TestAnswerHygiene looks at what a client gets of an answer that begins a session.
func TestAnswerHygiene(t *testing.T) {
	g, s := gateway(t, "g1"), rawServer(t, "s1")
	r := start(t, false, nil, g, s)
	const extra = "X-Any: Thing\r\nSec-WebSocket-Protocol: b\r\n"
	g.setReply(func(f *far) bool {
		f.write(f.answer("Ringside-Leg: v1\r\nringside-SHARD: g1\r\nRingside-Ticket: eA\r\n" + extra))
		return true
	})
	s.setReply(func(f *far) bool {
		f.write(f.answer("Sec-WebSocket-Extensions: permessage-deflate\r\n" + extra))
		return true
	})
	offer := wsHead + "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
	for _, u := range []*upstreamServer{g, s} {
		h := r.open(r.ownedBy(u.id), offer, "").resp.Header
		if h.Get("X-Any") != "Thing" || h.Get("Sec-WebSocket-Protocol") != "b" || h.Get("Sec-WebSocket-Accept") != httphead.AcceptFor(testKey) {
			t.Errorf("%s: want the answer as it came, got %v", u.id, h)
		}
		for name := range h {
			if isOurs(httphead.Field{Name: []byte(name)}) {
				t.Errorf("%s: %s reached the client", u.id, name)
			}
		}
		if got, want := h.Get("Sec-WebSocket-Extensions") != "", u.static; got != want {
			t.Errorf("%s: an extension was chosen: got %v, want %v", u.id, got, want)
		}
	}
}

// TestForeignLeg looks whether only our own gateways can begin a leg.
func TestForeignLeg(t *testing.T) {
	s := rawServer(t, "s1")
	s.setReply(func(f *far) bool { f.write(f.answer(leg.HeaderLeg+": v1\r\n") + record(leg.Data, "x")); return true })
	r := start(t, false, nil, s)
	r.open("a", wsHead, "").want(record(leg.Data, "x"))
}

// TestAnswerPieces reads an answer's head in pieces of every size.
func TestAnswerPieces(t *testing.T) {
	const head = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 OK\r\nX-A: b\r\n\r\n"
	for size := 1; size <= len(head)+4; size++ {
		near, far := net.Pipe()
		go func() {
			for left := head + "rest"; left != ""; {
				n := min(size, len(left))
				_, _ = io.WriteString(far, left[:n])
				left = left[n:]
			}
			far.Close()
		}()
		a, err := readAnswer(near, make([]byte, maxAnswerHead))
		if err != nil {
			t.Fatalf("in pieces of %d: %v", size, err)
		}
		rest, _ := io.ReadAll(near)
		if got := string(a.rest) + string(rest); a.status != 101 || string(a.block) != "X-A: b\r\n\r\n" || got != "rest" {
			t.Errorf("in pieces of %d: got %d %q %q", size, a.status, a.block, got)
		}
	}
}

// TestBadAnswers looks whether a tunnel is opened only after a 101 that belongs to the handshake.
func TestBadAnswers(t *testing.T) {
	g, s := gateway(t, "g1"), rawServer(t, "s1")
	accept := "Sec-WebSocket-Accept: " + httphead.AcceptFor(testKey) + "\r\n"
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	const switching = "HTTP/1.1 101 Switching Protocols\r\n"
	f := func(name string, u *upstreamServer, head, reply string) {
		t.Helper()
		r := start(t, false, nil, u)
		u.setReply(replyWith(reply))
		c := r.connect()
		c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + head + "\r\n")
		want := http.StatusServiceUnavailable
		if head == sseHead { // it is told by a retry
			want = http.StatusOK
		}
		if resp := c.answer(); resp.StatusCode != want || resp.Header.Get(leg.HeaderLeg) != "" {
			t.Errorf("%s: got %s, want %d", name, resp.Status, want)
		}
		if got := r.value("refused_total", "reason=no_shard"); got != 1 {
			t.Errorf("%s: refused_total{no_shard}: got %v, want 1", name, got)
		}
		if got := r.value("dials_total", "outcome=bad_answer"); got != 1 {
			t.Errorf("%s: dials_total{bad_answer}: got %v, want 1", name, got)
		}
		r.empty()
		r.stop()
	}
	f("no Upgrade", g, wsHead, switching+"Connection: Upgrade\r\n"+accept+"\r\n")
	f("no Connection", g, wsHead, switching+"Upgrade: websocket\r\n"+accept+"\r\n")
	f("h2c", g, wsHead, switching+"Connection: Upgrade\r\nUpgrade: h2c\r\n"+accept+"\r\n")
	f("no accept", g, wsHead, switching+upgrade+"\r\n")
	f("two accepts", g, wsHead, switching+upgrade+accept+accept+"\r\n")
	f("wrong accept", g, wsHead, switching+upgrade+"Sec-WebSocket-Accept: "+testKey+"\r\n\r\n")
	f("a subprotocol that nobody offered", g, wsHead, switching+upgrade+accept+"Sec-WebSocket-Protocol: x\r\n\r\n")
	f("another subprotocol", g, wsHead+"Sec-WebSocket-Protocol: a\r\n", switching+upgrade+accept+"Sec-WebSocket-Protocol: b\r\n\r\n")
	f("two subprotocols", s, wsHead+"Sec-WebSocket-Protocol: a, b\r\n",
		switching+upgrade+accept+"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n")
	f("an extension that nobody offered", s, wsHead, switching+upgrade+accept+"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	f("an extension on a leg", g, wsHead+"Sec-WebSocket-Extensions: permessage-deflate\r\n",
		switching+upgrade+accept+"Ringside-Leg: v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	f("another leg version", g, wsHead, switching+upgrade+accept+"Ringside-Leg: v2\r\n\r\n")
	f("a 101 to an event stream", g, sseHead, switching+upgrade+accept+"\r\n")
	f("a chunked leg", g, sseHead, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nRingside-Leg: v1\r\nTransfer-Encoding: chunked\r\n\r\n")
	f("bare LF", g, wsHead, switching+upgrade+accept+"X: y\nZ: z\r\n\r\n")
	f("folded", g, wsHead, switching+upgrade+accept+"X: y\r\n z\r\n\r\n")
	f("no status", g, wsHead, "HTTP/1.1 abc\r\n\r\n")
	f("no HTTP", g, wsHead, "HTTP/3 101\r\n\r\n")
	f("a flood of interim answers", s, wsHead, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 4<<10))
	f("a flood of hints", s, wsHead, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <"+strings.Repeat("x", 1<<10)+">\r\n\r\n", 64))
	f("a huge interim head", s, wsHead, "HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 2*maxAnswerHead)+"\r\n\r\n")
	f("a NUL", s, wsHead, switching+upgrade+accept+"X: y\x00\r\n\r\n")
	f("a control character in the status line", s, wsHead, "HTTP/1.1 101 Switching\rProtocols\r\n"+upgrade+accept+"\r\n")
	f("space before the colon", s, wsHead, switching+upgrade+accept+"X : y\r\n\r\n")
	f("two Upgrades", s, wsHead, switching+upgrade+"Upgrade: h2c\r\n"+accept+"\r\n")
	f("two Upgrades, the other way round", s, wsHead, switching+"Upgrade: h2c\r\n"+upgrade+accept+"\r\n")
	f("an upgrade with a length", s, wsHead, switching+upgrade+accept+"Content-Length: 5\r\n\r\n")
	f("a chunked upgrade", s, wsHead, switching+upgrade+accept+"Transfer-Encoding: chunked\r\n\r\n")
	f("a huge head", g, wsHead, switching+"X: "+strings.Repeat("x", 2*maxAnswerHead)+"\r\n\r\n")
}
