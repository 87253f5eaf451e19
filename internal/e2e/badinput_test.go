package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

const sseHeaders = "Accept: text/event-stream\r\n"

const wsHeaders = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// ask sends a request head as it stands, so that nothing of a client library mends it, and reads the answer.
func ask(addr, line, headers string) (testcluster.Response, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return testcluster.Response{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testcluster.Limit())); err != nil {
		return testcluster.Response{}, err
	}
	// A server may refuse before it has read everything: what matters is the answer.
	_, _ = io.WriteString(conn, line+" HTTP/1.1\r\nHost: edge.example\r\n"+headers+"\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return testcluster.Response{}, err
	}
	defer resp.Body.Close()
	r := testcluster.Response{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode/100 > 2 { // others may have no end
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return r, err
		}
		r.Body = string(b)
	}
	return r, nil
}

// reasonCount is the sum of all series with that reason in a node's metrics.
func reasonCount(t *testing.T, n *testcluster.Node, reason string) float64 {
	t.Helper()
	v, err := n.MetricsWith(context.Background(), fmt.Sprintf("reason=%q", reason))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestBadHandshakes sends what no client should to a router and to a gateway: each gets its status, a JSON
// error and a count under the same reason.
func TestBadHandshakes(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	neighbour := join(t, c, redis, []string{"calm"}, 6)

	for _, n := range c.Nodes() {
		f := func(name, line, headers string, status int) {
			t.Helper()
			r, err := ask(n.Addr, line, headers)
			if err != nil {
				t.Errorf("%s, %s: %v", n.Name, name, err)
				return
			}
			reason := r.Reason()
			if r.Status != status || reason == "" {
				t.Errorf("%s, %s: got %d %q, want %d with a JSON error", n.Name, name, r.Status, r.Body, status)
				return
			}
			counted := false
			for _, m := range c.Nodes() { // a gateway may have refused what a router passed on
				counted = counted || reasonCount(t, m, reason) > 0
			}
			if !counted {
				t.Errorf("%s, %s: no count for the reason %q", n.Name, name, reason)
			}
		}
		f("no topic", "GET /", wsHeaders, 400)
		f("empty topic", "GET /t/", wsHeaders, 400)
		f("empty topic in the query", "GET /x?topic=", wsHeaders, 400)
		f("long topic", "GET /t/"+strings.Repeat("x", 256), wsHeaders, 400)
		f("control character", "GET /t/a%0ab", wsHeaders, 400)
		f("not UTF-8", "GET /t/%ff%fe", wsHeaders, 400)
		f("bad escape", "GET /t/%zz", wsHeaders, 400)
		f("two topics", "GET /x?topic=a&topic=b", wsHeaders, 400)
		f("conflicting topics", "GET /t/a?topic=b", wsHeaders, 400)
		f("malformed position", "GET /t/a?since=yesterday", wsHeaders, 400)
		f("malformed position in SSE", "GET /t/a", sseHeaders+"Last-Event-ID: 12-x\r\n", 400)
		f("unknown subprotocol", "GET /t/a", wsHeaders+"Sec-WebSocket-Protocol: mqtt\r\n", 400)
		f("no key", "GET /t/a", strings.Replace(wsHeaders, "Sec-WebSocket-Key", "X-Key", 1), 400)
		f("plain GET", "GET /t/a", "", 426)
		f("POST", "POST /t/a", "Content-Length: 0\r\n", 405)
		f("large header", "GET /t/a", wsHeaders+"X-Large: "+strings.Repeat("x", 20<<10)+"\r\n", 431)
	}
	if r, err := ask(c.Router(0).Addr, "GET /t/a?x="+strings.Repeat("x", 3<<10), wsHeaders); err != nil || r.Status != 414 {
		t.Errorf("a long URL: got %d %q, %v, want 414", r.Status, r.Body, err)
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

// dialWebSocket connects through a node with one subprotocol, or none when it is empty.
func dialWebSocket(t *testing.T, n *testcluster.Node, path, subprotocol string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{HandshakeTimeout: testcluster.Limit()}
	if subprotocol != "" {
		d.Subprotocols = []string{subprotocol}
	}
	conn, _, err := d.Dial("ws://"+n.Addr+path, nil)
	if err != nil {
		t.Fatalf("%s: %v", n.Name, err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(testcluster.Limit())); err != nil {
		t.Fatal(err)
	}
	return conn
}

// closeCode reads until the server closes and returns its code; 1006 when it does so without a word.
func closeCode(conn *websocket.Conn) (int, error) {
	for {
		_, _, err := conn.ReadMessage()
		var ce *websocket.CloseError
		switch {
		case errors.As(err, &ce):
			return ce.Code, nil
		case err != nil:
			return 0, err
		}
	}
}

// TestBadFrames breaks RFC 6455 in every way a client can: each gets its close code, and the neighbours
// notice nothing.
func TestBadFrames(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	neighbour := join(t, c, redis, []string{"calm"}, 6)

	const mask = "\x00\x00\x00\x00"
	for _, n := range c.Nodes() {
		f := func(name, subprotocol, frames string, code int) {
			t.Helper()
			conn := dialWebSocket(t, n, "/t/calm", subprotocol)
			if _, err := io.WriteString(conn.NetConn(), frames); err != nil {
				t.Errorf("%s, %s: %v", n.Name, name, err)
				return
			}
			if got, err := closeCode(conn); got != code || err != nil {
				t.Errorf("%s, %s: got close code %d, %v, want %d", n.Name, name, got, err, code)
			}
		}
		f("unmasked", "ringside.v1", "\x81\x02{}", 1002)
		f("reserved bit", "ringside.v1", "\xc1\x82"+mask+"{}", 1002)
		f("reserved opcode", "ringside.v1", "\x83\x82"+mask+"{}", 1002)
		f("reserved control opcode", "ringside.v1", "\x8b\x80"+mask, 1002)
		f("fragmented ping", "ringside.v1", "\x09\x80"+mask, 1002)
		f("large ping", "ringside.v1", "\x89\xfe\x00\x80"+mask+strings.Repeat("x", 128), 1002)
		f("continuation of nothing", "ringside.v1", "\x80\x82"+mask+"{}", 1002)
		f("text inside a fragmented one", "ringside.v1", "\x01\x82"+mask+"{}"+"\x81\x82"+mask+"{}", 1002)
		f("length above 2^63", "ringside.v1", "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01"+mask, 1002)
		f("invalid UTF-8", "ringside.v1", "\x81\x82"+mask+"\xff\xfe", 1007)
		f("large message", "ringside.v1", "\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff"+mask, 1009)
		f("binary", "ringside.v1", "\x82\x82"+mask+"{}", 1003)
		f("data in raw", "ringside.raw", "\x81\x82"+mask+"{}", 1003)
		f("close", "ringside.v1", "\x88\x82"+mask+"\x03\xe8", 1000)
		f("close with a code that is none", "ringside.v1", "\x88\x82"+mask+"\x03\xed", 1002)
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

// TestBadMessages sends well-formed frames with nonsense in them: the session is told and lives on.
func TestBadMessages(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	conn := dialWebSocket(t, c.Router(0), "/t/calm", "") // ringside.v1 is what one gets who asks for nothing
	answer := func(send string) map[string]any {
		t.Helper()
		if send != "" {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(send)); err != nil {
				t.Fatal(err)
			}
		}
		var v map[string]any
		if err := conn.ReadJSON(&v); err != nil {
			t.Fatalf("%s: %v", send, err)
		}
		return v
	}
	if got := answer(""); got["type"] != "welcome" {
		t.Fatalf("got %v, want a welcome", got)
	}
	f := func(send string) {
		t.Helper()
		if got := answer(send); got["type"] != "error" || got["reason"] == "" || got["message"] == "" {
			t.Errorf("%s: got %v, want an error with reason and message", send, got)
		}
	}
	f(`not JSON`)
	f(`{"type":"dance"}`)
	f(`{"type":"subscribe","topic":""}`)
	f(`{"type":"subscribe","topic":"` + strings.Repeat("x", 256) + `"}`)
	f(`{"type":"subscribe","topic":"other","since":"yesterday"}`)
	f(`{"type":"unsubscribe","topic":""}`)
	if got := answer(`{"type":"ping"}`); got["type"] != "pong" {
		t.Errorf("got %v, want a pong", got)
	}
	// A message in two fragments is as good as one.
	if _, err := io.WriteString(conn.NetConn(), "\x01\x88\x00\x00\x00\x00"+`{"type":`+"\x80\x87\x00\x00\x00\x00"+`"ping"}`); err != nil {
		t.Fatal(err)
	}
	if got := answer(""); got["type"] != "pong" {
		t.Errorf("got %v, want a pong", got)
	}
}

// TestBadPublishes sends what can't be published.
func TestBadPublishes(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	for _, n := range c.Nodes() {
		f := func(path, body string, status int) {
			t.Helper()
			r, err := n.Post(context.Background(), path, body)
			if err != nil {
				t.Errorf("%s, %s: %v", n.Name, path, err)
				return
			}
			if r.Status != status || r.Reason() == "" {
				t.Errorf("%s, %s %.60q: got %d %q, want %d with a JSON error", n.Name, path, body, r.Status, r.Body, status)
			}
		}
		f("/publish", `not JSON`, 400)
		f("/publish", `{"data":1}`, 400)
		f("/publish", `{"topic":"","data":1}`, 400)
		f("/publish", `{"topic":"a\nb","data":1}`, 400)
		f("/publish", `{"topic":"a"}`, 400)
		f("/publish/a%0ab", `x`, 400)
		large := strings.Repeat("x", 1<<20+1)
		expect := http.Header{"Expect": {"100-continue"}} // so that the answer is not lost behind the body
		r, err := testcluster.Do(context.Background(), http.MethodPost, "http://"+n.Admin+"/publish/big", large, expect)
		if err != nil || r.Status != http.StatusRequestEntityTooLarge || r.Reason() == "" {
			t.Errorf("%s: a payload above the limit: got %d %q, %v, want 413", n.Name, r.Status, r.Body, err)
		}
		if r, err := n.Get(context.Background(), "/publish"); err != nil || r.Status != 405 {
			t.Errorf("%s: GET /publish: got %d, %v, want 405", n.Name, r.Status, err)
		}
	}
	if _, err := publishBody(c.Router(0), "big", strings.Repeat("x", 1<<20)); err != nil {
		t.Errorf("a payload of exactly the limit: %v", err)
	}
}

// askRaw sends bytes and reads until the server closes.
func askRaw(addr, text string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testcluster.Limit())); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}
