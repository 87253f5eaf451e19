package conformance

import "strings"

// Key is the Sec-WebSocket-Key of all handshakes here; it is the one of RFC 6455, 1.3.
const Key = "dGhlIHNhbXBsZSBub25jZQ=="

// Handshake are the fields that make a request with a Host a WebSocket handshake.
const Handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + Key + "\r\n"

// Smuggled stands behind what ends a hostile request, for whoever sees an end where the server sees none, or the other way round.
// Nobody may ever act on it.
const Smuggled = "GET /t/smuggled HTTP/1.1\r\nHost: smuggled.example\r\n" + Handshake + "\r\n"

// Request is a request as it stands, and how it is turned down.
type Request struct {
	Name   string
	Bytes  string
	Status int
	Reason string // of the JSON error, and the label under which it is counted

	// Lenient is of what RFC 9112 lets a server accept that passes nothing on (2.2: a line that ends with LF alone). One that
	// stands in front of others must not.
	Lenient bool
}

const (
	websocket = "websocket" // the reason for what is no handshake of WebSocket

	line = "GET /t/a HTTP/1.1\r\n"
	host = "Host: edge.example\r\n"
)

// HostileRequests are requests that two readers may understand differently, or that want more than a session. None may begin a
// session, and nothing of any may reach another server.
func HostileRequests() []Request {
	var all []Request
	for _, group := range [][]Request{lengths(), encodings(), lines(), hosts(), targets(), upgrades(), versions()} {
		all = append(all, group...)
	}
	return all
}

// with is a handshake with more fields, and a smuggled request behind it.
func with(name, fields string, reason string) Request {
	return Request{Name: name, Bytes: line + host + Handshake + fields + "\r\n" + Smuggled, Status: 400, Reason: reason}
}

// instead is a handshake in which one field is replaced.
func instead(name, field, by string, status int) Request {
	var b strings.Builder
	for l := range strings.SplitAfterSeq(Handshake, "\r\n") {
		if !strings.HasPrefix(l, field+":") {
			b.WriteString(l)
		}
	}
	return Request{Name: name, Bytes: line + host + b.String() + by + "\r\n" + Smuggled, Status: status, Reason: websocket}
}

func lengths() []Request {
	f := func(name, value, reason string) Request {
		return with("Content-Length "+name, "Content-Length: "+value+"\r\n", reason)
	}
	return []Request{
		f("of some", "5", "body"),
		f("of nothing", "0", "body"),
		f("with zeros", "0005", "body"),
		f("with a sign", "+1", "http"),
		f("negative", "-1", "http"),
		f("hexadecimal", "0x1", "http"),
		f("as a list", "1,1", "http"),
		f("with space in it", "1 1", "http"),
		f("with a fraction", "1.0", "http"),
		f("with an exponent", "1e1", "http"),
		f("in other digits", "\u0661", "http"),
		f("empty", "", "http"),
		f("above 32 bits", "4294967296", "body"),
		f("above 63 bits", "9223372036854775808", "http"),
		f("above 64 bits", "18446744073709551616", "http"),
		f("of many digits", strings.Repeat("9", 500), "http"),
		with("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n", "http"),
		with("two lengths", "Content-Length: 0\r\nContent-Length: 5\r\n", "http"),
		with("lengths in two cases", "Content-Length: 5\r\ncontent-length: 6\r\n", "http"),
	}
}

func encodings() []Request {
	f := func(name, fields, reason string) Request { return with("Transfer-Encoding "+name, fields, reason) }
	const te = "Transfer-Encoding: "
	return []Request{
		f("chunked", te+"chunked\r\n", "body"),
		f("in capitals", "TRANSFER-ENCODING: CHUNKED\r\n", "body"),
		f("behind a tab", "Transfer-Encoding:\tchunked\r\n", "body"),
		f("with a space behind it", te+"chunked \r\n", "body"),
		f("identity", te+"identity\r\n", "body"),
		f("misspelt", te+"xchunked\r\n", "http"),
		f("with a parameter", te+"chunked;q=1\r\n", "http"),
		f("in quotes", te+"\"chunked\"\r\n", "http"),
		f("in a list", te+"gzip, chunked\r\n", "http"),
		f("before another", te+"chunked, identity\r\n", "http"),
		f("empty", te+"\r\n", "http"),
		f("twice", te+"chunked\r\n"+te+"chunked\r\n", "http"),
		f("and identity", te+"identity\r\n"+te+"chunked\r\n", "http"),
		f("with a vertical tab", te+"\x0bchunked\r\n", "http"),
		f("with a NUL", te+"chunked\x00\r\n", "http"),
		f("with a space before the colon", "Transfer-Encoding : chunked\r\n", "http"),
		f("with a tab before the colon", "Transfer-Encoding\t: chunked\r\n", "http"),
		f("folded", "Transfer-Encoding:\r\n chunked\r\n", "http"),
		f("hidden behind a bare LF", "X: y\n"+te+"chunked\r\n", "http"),
		f("hidden behind a bare CR", "X: y\r"+te+"chunked\r\n", "http"),
		f("before a length", te+"chunked\r\nContent-Length: 5\r\n", "body"),
		f("behind a length", "Content-Length: 5\r\n"+te+"chunked\r\n", "body"),
		f("identity, and a length", te+"identity\r\nContent-Length: 5\r\n", "body"),
		with("Trailer", "Trailer: X-Sum\r\n", "body"),
		with("forbidden Trailer", "Trailer: Content-Length\r\n", "http"),
		with("Expect", "Expect: 100-continue\r\n", "body"),
	}
}

func lenient(r Request) Request {
	r.Lenient = true
	return r
}

func lines() []Request {
	raw := func(name, bytes string) Request {
		return Request{Name: name, Bytes: bytes, Status: 400, Reason: "http"}
	}
	return []Request{
		with("continued field", "X: y\r\n z\r\n", "http"),
		with("field continued by a tab", "X: y\r\n\tz\r\n", "http"),
		with("continuation of nothing", "X: y\r\n \r\n", "http"),
		raw("continuation of the first line", line+" "+host+Handshake+"\r\n"+Smuggled),
		with("bare LF", "X: y\nZ: z\r\n", "http"),
		lenient(raw("bare LF behind the first line", strings.Replace(line, "\r\n", "\n", 1)+host+Handshake+"\r\n"+Smuggled)),
		lenient(raw("bare LF behind an empty line and the first", "\r\n"+strings.Replace(line, "\r\n", "\n", 1)+host+Handshake+"\r\n"+Smuggled)),
		raw("bare LF at the end", line+host+Handshake+"\n"+Smuggled),
		lenient(raw("bare LF everywhere", strings.ReplaceAll(line+host+Handshake, "\r\n", "\n")+"\n")),
		with("bare CR in a value", "X: y\rz\r\n", "http"),
		with("bare CR in a name", "X\rZ: y\r\n", "http"),
		with("two CR at the end of a line", "X: y\r\r\n", "http"),
		with("NUL in a value", "X: y\x00z\r\n", "http"),
		with("NUL in a name", "X\x00: y\r\n", "http"),
		with("control character in a value", "X: \x1by\r\n", "http"),
		with("DEL in a value", "X: y\x7f\r\n", "http"),
		with("control character in a name", "X\x01: y\r\n", "http"),
		with("letter beyond ASCII in a name", "X\u017f: y\r\n", "http"),
		with("space before the colon", "X : y\r\n", "http"),
		with("space in a name", "X Y: z\r\n", "http"),
		with("field without a name", ": y\r\n", "http"),
		with("field without a colon", "X\r\n", "http"),
		raw("space before the method", " "+line+host+Handshake+"\r\n"+Smuggled),
		raw("two spaces before the target", strings.Replace(line, " ", "  ", 1)+host+Handshake+"\r\n"+Smuggled),
		raw("two spaces before the version", strings.Replace(line, " HTTP", "  HTTP", 1)+host+Handshake+"\r\n"+Smuggled),
		raw("tab before the target", strings.Replace(line, " ", "\t", 1)+host+Handshake+"\r\n"+Smuggled),
		raw("CR in the target", "GET /t/a\rb HTTP/1.1\r\n"+host+Handshake+"\r\n"+Smuggled),
		raw("NUL in the target", "GET /t/a\x00b HTTP/1.1\r\n"+host+Handshake+"\r\n"+Smuggled),
		{Name: "overlong field", Bytes: line + host + Handshake + "X: " + strings.Repeat("y", 20<<10) + "\r\n\r\n", Status: 431, Reason: "header_too_large"},
		{Name: "too many fields", Bytes: line + host + Handshake + strings.Repeat("X: y\r\n", 4<<10) + "\r\n", Status: 431, Reason: "header_too_large"},
	}
}

func hosts() []Request {
	f := func(name, fields string) Request {
		return Request{Name: name, Bytes: line + fields + Handshake + "\r\n" + Smuggled, Status: 400, Reason: "http"}
	}
	return []Request{
		f("no Host", ""),
		f("empty Host", "Host:\r\n"),
		f("two Hosts", host+"Host: smuggled.example\r\n"),
		f("two equal Hosts", host+host),
		f("Hosts in two cases", host+"hOST: smuggled.example\r\n"),
		f("list of Hosts", "Host: edge.example, smuggled.example\r\n"),
		f("Host with a path", "Host: edge.example/t/b\r\n"),
		f("Host with a user", "Host: edge@smuggled.example\r\n"),
		f("Host with a space", "Host: edge example\r\n"),
	}
}

func targets() []Request {
	f := func(name, target string) Request {
		return Request{Name: name, Bytes: "GET " + target + " HTTP/1.1\r\n" + host + Handshake + "\r\n" + Smuggled, Status: 400, Reason: "http"}
	}
	return []Request{
		f("absolute target", "http://edge.example/t/a"),
		f("absolute target elsewhere", "http://smuggled.example/t/a"),
		f("WebSocket target", "ws://edge.example/t/a"),
		f("asterisk", "*"),
		f("authority", "edge.example:80"),
		f("fragment", "/t/a#b"),
		f("backslash", "/t/a\\b"),
		f("no slash", "t/a"),
		{Name: "CONNECT", Bytes: "CONNECT edge.example:80 HTTP/1.1\r\n" + host + "\r\n" + Smuggled, Status: 405, Reason: "method"},
		{Name: "TRACE", Bytes: "TRACE /t/a HTTP/1.1\r\n" + host + "\r\n" + Smuggled, Status: 405, Reason: "method"},
		{Name: "POST with a request in its body", Bytes: "POST /t/a HTTP/1.1\r\n" + host + "Content-Length: 9\r\n\r\n" + Smuggled, Status: 405, Reason: "method"},
	}
}

func upgrades() []Request {
	return []Request{
		instead("h2c", "Upgrade", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 400),
		instead("h2c beside websocket", "Upgrade", "Upgrade: websocket, h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 400),
		instead("h2c before websocket", "Upgrade", "Upgrade: h2c\r\nUpgrade: websocket\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 400),
		instead("h2c, named by Connection", "Connection", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 400),
		instead("TLS by Upgrade", "Upgrade", "Upgrade: TLS/1.0\r\n", 400),
		instead("Upgrade with a version", "Upgrade", "Upgrade: websocket/13\r\n", 400),
		with("Upgrade twice", "Upgrade: websocket\r\n", websocket),
		instead("Connection without Upgrade", "Connection", "Connection: keep-alive\r\n", 400),
		instead("Connection with a part of it", "Connection", "Connection: Upgraded\r\n", 400),
		instead("no Connection", "Connection", "", 400),
		with("two keys", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", websocket),
		with("two equal keys", "Sec-WebSocket-Key: "+Key+"\r\n", websocket),
		instead("no key", "Sec-WebSocket-Key", "", 400),
		instead("empty key", "Sec-WebSocket-Key", "Sec-WebSocket-Key:\r\n", 400),
		instead("short key", "Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=\r\n", 400),
		instead("key that is no base64", "Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n", 400),
		instead("two versions", "Sec-WebSocket-Version", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n", 426),
		instead("list of versions", "Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8\r\n", 426),
		instead("old version", "Sec-WebSocket-Version", "Sec-WebSocket-Version: 8\r\n", 426),
		instead("no version", "Sec-WebSocket-Version", "", 426),
		with("a session of both kinds", "Accept: text/event-stream\r\n", "ambiguous"),
	}
}

func versions() []Request {
	f := func(name, version string) Request {
		return Request{Name: name, Bytes: "GET /t/a " + version + "\r\n" + host + Handshake + "\r\n" + Smuggled, Status: 400, Reason: "http"}
	}
	return []Request{
		f("HTTP/1.0", "HTTP/1.0"),
		f("HTTP/0.9", "HTTP/0.9"),
		f("HTTP/1.2", "HTTP/1.2"),
		f("HTTP/2", "HTTP/2.0"),
		f("version in small letters", "http/1.1"),
		f("version with zeros", "HTTP/01.1"),
		f("another protocol", "RTSP/1.1"),
		{Name: "no version", Bytes: "GET /t/a\r\n" + host + Handshake + "\r\n", Status: 400, Reason: "http"},
		{Name: "HTTP/2 preface", Bytes: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", Status: 400, Reason: "http"},
		{Name: "TLS", Bytes: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", Status: 400, Reason: "http"},
	}
}
