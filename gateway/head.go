package gateway

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/httphead"
)

// withoutBody keeps the HTTP server from waiting for a body: no request here has one, and that there is one is refused at once.
func withoutBody(h *fasthttp.RequestHeader) (cfg fasthttp.RequestConfig) {
	h.SetContentLength(0)
	h.Del(fasthttp.HeaderExpect)
	return cfg
}

// checkHead refuses a request for a session that somebody in front of us may have understood differently. A router passes none
// on, but a gateway may stand behind other proxies, or behind none.
func checkHead(h *fasthttp.RequestHeader) *refusal {
	bad := func(message string) *refusal { return refuse(fasthttp.StatusBadRequest, "http", "%s", message) }
	uri := string(h.RequestURI())
	switch {
	case !h.IsHTTP11():
		return bad("a session needs HTTP/1.1")
	case !strings.HasPrefix(uri, "/") || strings.ContainsAny(uri, "#\\"):
		return bad("the request target is not a path with a query")
	case !httphead.ValidHost(h.Host()):
		return bad("the Host is not a host")
	}
	var seen headSeen
	for rest := h.RawHeaders(); ; {
		f, r, ok, err := httphead.Next(rest)
		if err != nil {
			return bad(err.Error())
		}
		if !ok {
			return seen.check()
		}
		seen.field(f)
		rest = r
	}
}

// headSeen is what is counted while a head is read.
type headSeen struct {
	hosts, keys, versions, upgrades int
	body, upgradeOdd                bool
	connection, events              bool
	keyOdd, versionOdd              bool
}

func (s *headSeen) field(f httphead.Field) {
	is := func(name string) bool { return httphead.FoldEqual(f.Name, name) }
	switch {
	case is("host"):
		s.hosts++
	case is("content-length"), is("transfer-encoding"), is("expect"), is("trailer"):
		s.body = true
	case is("upgrade"):
		s.upgrades++
		s.upgradeOdd = s.upgradeOdd || !httphead.FoldEqual(f.Value, "websocket")
	case is("connection"):
		s.connection = s.connection || httphead.HasElement(f.Value, "upgrade")
	case is("accept"):
		s.events = s.events || bytes.Contains(bytes.ToLower(f.Value), []byte("text/event-stream"))
	case is("sec-websocket-key"):
		s.keys++
		s.keyOdd = s.keyOdd || !httphead.ValidKey(string(f.Value))
	case is("sec-websocket-version"):
		s.versions++
		s.versionOdd = s.versionOdd || string(f.Value) != "13"
	}
}

func (s *headSeen) check() *refusal {
	bad := func(message string) *refusal { return refuse(fasthttp.StatusBadRequest, "websocket", "%s", message) }
	switch {
	case s.hosts != 1:
		return refuse(fasthttp.StatusBadRequest, "http", "one Host is needed")
	case s.body:
		return refuse(fasthttp.StatusBadRequest, "body", "a request for a session has no body")
	case s.upgrades == 0:
		return nil // an event stream, or nothing that is spoken here
	case s.events:
		return refuse(fasthttp.StatusBadRequest, "ambiguous", "the request asks for a WebSocket and for an event stream")
	case s.upgrades > 1 || s.upgradeOdd:
		return bad("the only protocol to upgrade to is websocket")
	case !s.connection:
		return bad("Connection does not name Upgrade")
	case s.versions != 1 || s.versionOdd:
		return refuse(fasthttp.StatusUpgradeRequired, "websocket", "the only version of WebSocket spoken here is 13")
	case s.keys != 1 || s.keyOdd:
		return bad("one Sec-WebSocket-Key of 16 bytes in base64 is needed")
	}
	return nil
}
