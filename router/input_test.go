package router

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/httphead"
)

// asked is a request as it stands, and how it is turned down.
type asked struct {
	name, line, head string
	status           int
	reason           string
}

// without is wsHead without a field, or with another value for it.
func without(name, instead string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(wsHead, "\r\n") {
		if !strings.HasPrefix(line, name+":") {
			b.WriteString(line)
		}
	}
	return b.String() + instead
}

func badRequests() []asked {
	const ok = "GET /t/a HTTP/1.1"
	twice := func(s string) string { return s + s }
	return []asked{
		{"no topic", "GET / HTTP/1.1", wsHead, 400, "topic_missing"},
		{"no topic, event stream", "GET / HTTP/1.1", sseHead, 400, "topic_missing"},
		{"no topic, no session", "GET / HTTP/1.1", "", 404, "topic_missing"},
		{"empty topic", "GET /t/ HTTP/1.1", wsHead, 400, "topic_empty"},
		{"empty in the query", "GET /x?topic= HTTP/1.1", wsHead, 400, "topic_empty"},
		{"long topic", "GET /t/" + strings.Repeat("x", 256) + " HTTP/1.1", wsHead, 400, "topic_too_long"},
		{"control character", "GET /t/a%0ab HTTP/1.1", wsHead, 400, "topic_control"},
		{"not UTF-8", "GET /t/%ff%fe HTTP/1.1", wsHead, 400, "topic_utf8"},
		{"broken escape", "GET /t/%zz HTTP/1.1", wsHead, 400, "topic_escape"},
		{"two topics", "GET /x?topic=a&topic=b HTTP/1.1", wsHead, 400, "topic_repeated"},
		{"conflicting topics", "GET /t/a?topic=b HTTP/1.1", wsHead, 400, "topic_conflict"},

		{"POST", "POST /t/a HTTP/1.1", "Content-Length: 0\r\n", 405, "method"},
		{"HEAD", "HEAD /t/a HTTP/1.1", "", 405, "method"},
		{"CONNECT", "CONNECT /t/a HTTP/1.1", "", 405, "method"},
		{"long URL", "GET /t/a?x=" + strings.Repeat("x", 3<<10) + " HTTP/1.1", wsHead, 414, "uri_too_long"},
		{"very long URL", "GET /t/a?x=" + strings.Repeat("x", 20<<10) + " HTTP/1.1", wsHead, 414, "uri_too_long"},
		{"large header", ok, wsHead + "X-Large: " + strings.Repeat("x", 20<<10) + "\r\n", 431, "header_too_large"},
		{"many headers", ok, wsHead + strings.Repeat("X-Many: x\r\n", 2<<10), 431, "header_too_large"},

		{"neither", ok, "", 426, "not_a_session"},
		{"any Accept", ok, "Accept: */*\r\n", 426, "not_a_session"},
		{"event streams excluded", ok, "Accept: text/event-stream;q=0, */*\r\n", 426, "not_a_session"},
		{"both", ok, wsHead + sseHead, 400, "ambiguous"},
		{"Upgrade without Connection", ok, without("Connection", ""), 400, "websocket"},
		{"h2c", ok, without("Upgrade", "Upgrade: h2c\r\n"), 400, "websocket"},
		{"h2c as well", ok, without("Upgrade", "Upgrade: websocket, h2c\r\n"), 400, "websocket"},
		{"h2c on another line", ok, wsHead + "Upgrade: h2c\r\n", 400, "websocket"},
		{"no key", ok, without("Sec-WebSocket-Key", ""), 400, "websocket"},
		{"short key", ok, without("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400, "websocket"},
		{"no base64", ok, without("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n"), 400, "websocket"},
		{"two keys", ok, wsHead + "Sec-WebSocket-Key: " + testKey + "\r\n", 400, "websocket"},
		{"no version", ok, without("Sec-WebSocket-Version", ""), 426, "websocket"},
		{"old version", ok, without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8\r\n"), 426, "websocket"},

		// What can be read in two ways.
		{"Content-Length", ok, wsHead + "Content-Length: 5\r\n", 400, "body"},
		{"Content-Length of nothing", ok, wsHead + "Content-Length: 0\r\n", 400, "body"},
		{"chunked", ok, wsHead + "Transfer-Encoding: chunked\r\n", 400, "body"},
		{"chunked event stream", ok, sseHead + "Transfer-Encoding: chunked\r\n", 400, "body"},
		{"length and chunked", ok, wsHead + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400, "body"},
		{"identity", ok, wsHead + "Transfer-Encoding: identity\r\n", 400, "body"},
		{"Expect", ok, wsHead + "Expect: 100-continue\r\n", 400, "body"},
		{"two lengths", ok, wsHead + twice("Content-Length: 5\r\n"), 400, "http"},
		{"no length", ok, wsHead + "Content-Length: x\r\n", 400, "http"},
		{"signed length", ok, wsHead + "Content-Length: +5\r\n", 400, "http"},
		{"odd encoding", ok, wsHead + "Transfer-Encoding: xchunked\r\n", 400, "http"},
		{"two encodings", ok, wsHead + "Transfer-Encoding: gzip, chunked\r\n", 400, "http"},
		{"two Hosts", ok, wsHead + "Host: evil.example\r\n", 400, "http"},
		{"folded field", ok, wsHead + "X-A: b\r\n c\r\n", 400, "http"},
		{"folded first field", ok + "\r\n folded: x", wsHead, 400, "http"},
		{"bare LF", ok, wsHead + "X-A: b\nX-B: c\r\n", 400, "http"},
		{"bare LF smuggling", ok, wsHead + "X-A: b\nContent-Length: 5\r\n", 400, "http"},
		{"space before the colon", ok, wsHead + "X-A : b\r\n", 400, "http"},
		{"space before the colon of a length", ok, wsHead + "Content-Length : 5\r\n", 400, "http"},
		{"space in the name", ok, wsHead + "X A: b\r\n", 400, "http"},
		{"no name", ok, wsHead + ": b\r\n", 400, "http"},
		{"no colon", ok, wsHead + "X-A\r\n", 400, "http"},
		{"control character in a value", ok, wsHead + "X-A: b\x01c\r\n", 400, "http"},
		{"NUL in a value", ok, wsHead + "X-A: b\x00c\r\n", 400, "http"},
		{"CR in a value", ok, wsHead + "X-A: b\rc\r\n", 400, "http"},
		{"control character in a name", ok, wsHead + "X\x0bA: b\r\n", 400, "http"},
		{"HTTP/1.0", "GET /t/a HTTP/1.0", wsHead, 400, "http"},
		{"HTTP/2.0", "GET /t/a HTTP/2.0", wsHead, 400, "http"},
		{"no version at all", "GET /t/a", wsHead, 400, "http"},
		{"absolute target", "GET http://evil.example/t/a HTTP/1.1", wsHead, 400, "http"},
		{"fragment", "GET /t/a#b HTTP/1.1", wsHead, 400, "http"},
		{"control character in the target", "GET /t/a\x01 HTTP/1.1", wsHead, 400, "http"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "", 400, "http"},
	}
}

// TestBadRequests sends what no client should: each gets its status, a JSON error and a count of the same reason, and
// nothing of it reaches the gateway.
func TestBadRequests(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, nil, g)
	neighbour := r.open("calm", wsHead, "")
	far := g.session()
	for _, a := range badRequests() {
		t.Run(a.name, func(t *testing.T) {
			before := r.value("refused_total", "reason="+a.reason)
			c := r.connect()
			// It may refuse before it has read everything: what matters is the answer.
			_, _ = io.WriteString(c.conn, a.line+"\r\nHost: edge.example\r\n"+a.head+"\r\n")
			resp := c.answer()
			body, err := io.ReadAll(resp.Body)
			if err != nil && resp.StatusCode != 405 { // of HEAD there is none
				t.Fatal(err)
			}
			var got struct{ Error, Message string }
			if a.name != "HEAD" {
				if err := json.Unmarshal(body, &got); err != nil || got.Message == "" {
					t.Errorf("no JSON error: %q, %v", body, err)
				}
				if got.Error != a.reason {
					t.Errorf("reason: got %s (%s), want %s", got.Error, got.Message, a.reason)
				}
			}
			if resp.StatusCode != a.status || !resp.Close {
				t.Errorf("status: got %d, close %v, want %d and a close", resp.StatusCode, resp.Close, a.status)
			}
			if a.status == 414 || a.status == 431 {
				c.rest() // no reset, which could have taken the answer away
			}
			if n := r.value("refused_total", "reason="+a.reason); n != before+1 {
				t.Errorf("refused_total{%s}: got %v, want %v", a.reason, n, before+1)
			}
		})
	}
	select {
	case s := <-g.sessions:
		t.Errorf("a gateway was asked: %q", s.head)
	default:
	}
	far.write(record(4, "still here"))
	neighbour.want("still here")
}

// TestSlowHeaders trickles a request until the router has had enough.
func TestSlowHeaders(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(c *Config, _ *Deps) { c.HandshakeTimeout = 100 * time.Millisecond }, g)
	silent, slow := r.connect(), r.connect()
	slow.send("GET /t/a HTTP/1.1\r\nHost: x\r\nX-")
	for _, c := range []*client{slow, silent} {
		if resp := c.answer(); resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %s, want 408", resp.Status)
		}
	}
	if got := r.value("refused_total", "reason=slow_request"); got != 2 {
		t.Errorf("refused_total{slow_request}: got %v, want 2", got)
	}
	eventually(t, "their places are free", func() bool { return r.value("http_connections") == 0 })
}

// TestFallbackHandler answers what asks for no session, and only that.
func TestFallbackHandler(t *testing.T) {
	r := start(t, false, func(_ *Config, d *Deps) {
		d.Fallback = func(ctx *fasthttp.RequestCtx) {
			ctx.SetBodyString(string(ctx.Method()) + " " + string(ctx.Path()) + " " + string(ctx.PostBody()))
		}
	}, gateway(t, "g1"))
	c := r.connect()
	f := func(request string, status int, body string) {
		t.Helper()
		c.send(request)
		resp := c.answer()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || body != "" && string(b) != body {
			t.Errorf("%q: got %d %q, %v, want %d %q", request, resp.StatusCode, b, err, status, body)
		}
	}
	const host = " HTTP/1.1\r\nHost: x\r\n"
	f("GET /"+host+"\r\n", 200, "GET / ")
	f("POST /x"+host+"Content-Length: 2\r\n\r\nhi", 200, "POST /x hi")
	f("GET /"+host+wsHead+"\r\n", 400, "")
	c = r.connect()
	f("GET /t/a"+host+"\r\n", 426, "")
	c = r.connect()
	f("POST /t/a"+host+"Content-Length: 2\r\n\r\n", 405, "")
	c = r.connect()
	f("POST /x"+host+"Content-Length: 10000000\r\n\r\n", 413, "")
	if got := r.value("fallbacks_total"); got != 2 {
		t.Errorf("fallbacks_total: got %v, want 2", got)
	}
}

// TestKeptAliveConnection becomes a session after another request.
func TestKeptAliveConnection(t *testing.T) {
	g := gateway(t, "g1")
	r := start(t, false, func(_ *Config, d *Deps) { d.Fallback = func(ctx *fasthttp.RequestCtx) {} }, g)
	c := r.connect()
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp := c.answer(); resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s", resp.Status)
	}
	c.send("GET /t/a HTTP/1.1\r\nHost: x\r\n" + wsHead + "\r\nearly")
	c.answer()
	g.session().want("early")
}

// FuzzAnswer holds that no answer of an upstream does harm, and that none opens a tunnel which does not belong to the
// handshake.
func FuzzAnswer(f *testing.F) {
	accept := httphead.AcceptFor(testKey)
	const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	f.Add([]byte(head+"Sec-WebSocket-Accept: "+accept+"\r\n\r\n"), true)
	f.Add([]byte(head+"Sec-WebSocket-Accept: "+accept+"\r\nRingside-Leg: v1\r\n\r\n"), true)
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"), false)
	f.Fuzz(func(t *testing.T, b []byte, websocket bool) {
		buf := make([]byte, maxAnswerHead)
		near, far := net.Pipe()
		go func() { _, _ = far.Write(b); far.Close() }()
		a, err := readAnswer(near, buf)
		near.Close()
		if err != nil {
			return
		}
		hs := &handshake{websocket: websocket, key: testKey}
		if begins, err := a.begins(hs, true); err == nil && begins && websocket && !bytes.Contains(a.block, []byte(accept)) {
			t.Fatalf("%q opened a tunnel", b)
		}
		if got := a.appendHead(nil, true); bytes.Contains(bytes.ToLower(got), []byte("\nringside-")) {
			t.Fatalf("%q became %q", b, got)
		}
	})
}

// FuzzFields holds that a header block which is accepted has only fields that can be read in one way.
func FuzzFields(f *testing.F) {
	for _, a := range badRequests() {
		f.Add([]byte("Host: x\r\n" + a.head + "\r\n"))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		var again []byte
		fs := httphead.Fields{Rest: block}
		for fs.Next() {
			if !httphead.IsToken(fs.Field.Name) || bytes.ContainsAny(fs.Field.Line, "\r\n\x00") {
				t.Fatalf("field %q", fs.Field.Line)
			}
			again = append(append(again, fs.Field.Line...), "\r\n"...)
		}
		if fs.Err == nil && !bytes.HasPrefix(block, again) {
			t.Fatalf("%q was read as %q", block, again)
		}
	})
}
