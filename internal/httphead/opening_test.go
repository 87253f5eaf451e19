package httphead

import (
	"strings"
	"testing"
)

// opening reads the fields of a head, which stand apart by "|".
func opening(t *testing.T, fields string) *Opening {
	t.Helper()
	var o Opening
	fs := Fields{Rest: []byte(strings.ReplaceAll(fields, "|", "\r\n") + "\r\n\r\n")}
	for fs.Next() {
		o.Field(fs.Field)
	}
	if fs.Err != nil {
		t.Fatalf("%q: %v", fields, fs.Err)
	}
	return &o
}

const wsFields = "Host: edge.example|Connection: keep-alive, Upgrade|Upgrade: WebSocket|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

func TestOpeningWants(t *testing.T) {
	f := func(fields string, want Wanted, status int, part string) {
		t.Helper()
		o := opening(t, fields)
		got, p := o.Wants()
		if p == nil {
			p = &Problem{}
		}
		if got != want || p.Status != status || !strings.Contains(p.Message, part) {
			t.Errorf("%q: got %d, %+v, want %d, %d %q", fields, got, p, want, status, part)
		}
	}
	f("Host: a", NoSession, 0, "")
	f("Accept: text/html", NoSession, 0, "")
	f("Accept: text/html, Text/Event-Stream;q=0.5", EventStream, 0, "")
	f("Accept: text/event-stream;q=0.0", NoSession, 0, "")
	f(wsFields, WebSocket, 0, "")
	f(wsFields+"|Accept: text/event-stream", NoSession, 400, "and for an event stream")
	f(wsFields+"|Upgrade: websocket", NoSession, 400, "only protocol")
	f(strings.Replace(wsFields, "WebSocket|", "h2c|", 1), NoSession, 400, "only protocol")
	f(strings.Replace(wsFields, ", Upgrade", "", 1), NoSession, 400, "Connection")
	f(strings.Replace(wsFields, " 13", " 8", 1), NoSession, 426, "version")
	f(wsFields+"|Sec-WebSocket-Version: 13", NoSession, 426, "version")
	f(strings.Replace(wsFields, "==", "", 1), NoSession, 400, "Key")
	f(wsFields+"|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", NoSession, 400, "Key")

	if o := opening(t, wsFields); string(o.Key) != "dGhlIHNhbXBsZSBub25jZQ==" || string(o.Host) != "edge.example" || !o.Asks() {
		t.Errorf("got %+v", o)
	}
	if opening(t, "Host: a").Asks() {
		t.Error("a request for nothing asks for a session")
	}
}

func TestOpeningTargetAndBody(t *testing.T) {
	f := func(fields, uri, host, want string) {
		t.Helper()
		o := opening(t, fields)
		p := o.Target(uri, host)
		if p == nil {
			p = o.Body()
		}
		if p == nil {
			p = &Problem{}
		}
		if p.Reason != want || want != "" && p.Status != 400 {
			t.Errorf("%q to %q at %q: got %+v, want %q", fields, uri, host, p, want)
		}
	}
	f("Host: a", "/t/b?c=%20d", "a", "")
	f("Host: a", "http://a/t/b", "a", "http")
	f("Host: a", "", "a", "http")
	f("Host: a", "/t/b#c", "a", "http")
	f("Host: a", `/t\b`, "a", "http")
	f("Host: a", "/t/b", "a/b", "http")
	f("Host: a", "/t/b", "", "http")
	f("Accept: */*", "/t/b", "a", "http")
	f("Host: a|hOST: a", "/t/b", "a", "http")
	for _, body := range []string{"Content-Length: 0", "transfer-encoding: chunked", "Expect: 100-continue", "Trailer: x"} {
		f("Host: a|"+body, "/t/b", "a", "body")
	}
}
