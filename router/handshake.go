package router

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/ring"
)

// handshake is a client's request for a session, understood. What it refers to is the server's: it is valid until
// the request's handler returns.
type handshake struct {
	began      time.Time // when its first byte came
	deadline   time.Time // of the whole handshake
	uri        string    // request target as it came
	host       string
	secure     bool       // it came over TLS
	knowsProto bool       // and nobody whom we trust is in front, who may know better
	peer       netip.Addr // who sent the request to us: the client, or its nearest HTTP proxy
	addr       netip.Addr // the client's address: no 4in6, no zone
	client     string     // the same as text
	topic      uint32     // stands for its topic: ring.Key
	anywhere   bool       // it names none: its client stands for it
	takesFeeds bool       // the router takes offers of feeds
	block      []byte     // header fields as they came, up to and with the blank line

	origin     string      // of the page, as a browser tells it; empty for none
	preflight  [][2]string // the answer to a browser that only asks whether it may; else nil
	websocket  bool        // else an event stream
	key        string      // of a WebSocket handshake
	protocols  []string
	entered    time.Time // let in
	extensions []string  // names only

	// What the header block says, as far as it matters later.
	forwardedFor   []byte // X-Forwarded-For and Forwarded, all values in one
	forwarded      []byte
	hasProto       bool // X-Forwarded-Proto, X-Forwarded-Host
	hasForwardHost bool
	named          [][]byte // what Connection names besides the upgrade: fields that end here
}

// fieldsSeen is what else is noted while a header block is read.
type fieldsSeen struct {
	httphead.Opening
	origins int
	asksFor string // Access-Control-Request-Method
}

// parse understands a request for a session. A request that asks for none comes back as a refusal too.
func (r *Router) parse(ctx *fasthttp.RequestCtx) (*handshake, *refusal) {
	h := &ctx.Request.Header
	hs := &handshake{uri: string(h.RequestURI()), host: string(h.Host()), block: h.RawHeaders()}
	switch {
	case len(hs.uri) > r.cfg.MaxURL: // before all else
		return nil, r.tooLongURI()
	case !ctx.IsGet() && !ctx.IsOptions():
		return nil, refuse(fasthttp.StatusMethodNotAllowed, "method", "only GET opens a session")
	case !h.IsHTTP11():
		return nil, refuse(fasthttp.StatusBadRequest, reasonHTTP, "a session needs HTTP/1.1")
	}
	var seen fieldsSeen
	if err := hs.readFields(&seen); err != nil {
		return nil, refuse(fasthttp.StatusBadRequest, reasonHTTP, "%v", err)
	}
	if no := r.judge(hs, &seen); no != nil {
		return nil, no
	}
	if ctx.IsOptions() {
		var ok bool
		if hs.preflight, ok = r.cfg.Origins.Preflight(hs.origin, seen.asksFor); !ok {
			return nil, refuse(fasthttp.StatusMethodNotAllowed, "method", "only GET opens a session")
		}
		return hs, nil
	}
	return hs, hs.parseKind(&seen)
}

// parsePlain is parse for a whole head, up to and with the blank line, of a request that is plain beyond doubt. It returns nil for any other: that
// is for the HTTP server and parse to understand, or to refuse.
func (r *Router) parsePlain(head []byte) *handshake {
	line, block, _ := bytes.Cut(head, []byte("\r\n"))
	uri, get := bytes.CutPrefix(line, []byte("GET "))
	uri, http11 := bytes.CutSuffix(uri, []byte(" HTTP/1.1"))
	if !get || !http11 || len(uri) == 0 || len(uri) > r.cfg.MaxURL || bytes.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return nil
	}
	hs := &handshake{uri: string(uri), block: block}
	var seen fieldsSeen
	err := hs.readFields(&seen)
	hs.host = string(seen.Host)
	if err != nil || r.judge(hs, &seen) != nil || hs.parseKind(&seen) != nil {
		return nil
	}
	return hs
}

// judge says what is wrong with a request; nil when nothing is.
func (r *Router) judge(hs *handshake, seen *fieldsSeen) *refusal {
	if p := seen.Target(hs.uri, hs.host); p != nil {
		return refuseFor(p)
	}
	if seen.origins > 1 || !r.cfg.Origins.Allows(hs.origin) {
		return refuse(fasthttp.StatusForbidden, "origin", "pages of this site may not open sessions")
	}
	if no := hs.parseTopic(seen, r.cfg.Cable); no != nil {
		return no
	}
	if p := seen.Body(); p != nil {
		return refuseFor(p)
	}
	return nil
}

// from notes who asks, and since when.
func (r *Router) from(hs *handshake, peer netip.Addr, secure bool, began time.Time) {
	hs.began, hs.deadline = began, began.Add(r.cfg.HandshakeTimeout)
	hs.peer, hs.secure = peer, secure
	hs.knowsProto = secure && !containsAddr(r.cfg.TrustedProxies, peer)
	hs.addr = clientOf(peer, hs.forwardedFor, r.cfg.TrustedProxies)
	hs.client = hs.addr.String()
	hs.takesFeeds = !r.cfg.NoFeeds
	if hs.anywhere {
		hs.topic = cableKey(hs.client)
	}
}

// parseTopic finds the slot. That no topic is named matters only to those who want a session.
func (hs *handshake) parseTopic(seen *fieldsSeen, cable bool) *refusal {
	name, err := topic.FromURI(hs.uri)
	if err == nil {
		hs.topic = ring.Key(name)
		return nil
	}
	var te *topic.Error
	if !errors.As(err, &te) {
		panic("BUG: router: a topic's error of another type: " + err.Error())
	}
	if te.Reason == "missing" && cable && hs.isCable() {
		hs.anywhere = true
		return nil
	}
	if te.Reason == "missing" && !seen.Asks() {
		return refuse(fasthttp.StatusNotFound, "topic_missing", "%v", te)
	}
	return refuse(fasthttp.StatusBadRequest, "topic_"+te.Reason, "%v", te)
}

// parseKind decides between WebSocket and event stream.
func (hs *handshake) parseKind(seen *fieldsSeen) *refusal {
	wanted, p := seen.Wants()
	if p == nil && wanted == httphead.NoSession {
		p = httphead.ErrNoSession
	}
	if p != nil {
		return refuseFor(p)
	}
	hs.websocket, hs.key = wanted == httphead.WebSocket, string(seen.Key)
	return nil
}

// readFields goes over the header block once.
func (hs *handshake) readFields(seen *fieldsSeen) error {
	fs := httphead.Fields{Rest: hs.block}
	for fs.Next() {
		switch f := fs.Field; {
		case !seen.Field(f):
			hs.readField(f, seen)
		case f.Is("connection"):
			for e := range httphead.Elements(f.Value) {
				if !httphead.FoldEqual(e, "upgrade") && !httphead.FoldEqual(e, "keep-alive") && !httphead.FoldEqual(e, "close") {
					hs.named = append(hs.named, e)
				}
			}
		}
	}
	return fs.Err
}

func (hs *handshake) readField(f httphead.Field, seen *fieldsSeen) {
	switch {
	case f.Is("sec-websocket-protocol"):
		for p := range httphead.Elements(f.Value) {
			hs.protocols = append(hs.protocols, string(p))
		}
	case f.Is("sec-websocket-extensions"):
		for e := range httphead.Elements(f.Value) {
			name, _, _ := bytes.Cut(e, []byte(";"))
			hs.extensions = append(hs.extensions, string(bytes.TrimSpace(name)))
		}
	case f.Is("origin"):
		seen.origins++
		hs.origin = string(f.Value)
	case f.Is("access-control-request-method"):
		seen.asksFor = string(f.Value)
	case f.Is("x-forwarded-for"):
		hs.forwardedFor = appendElement(hs.forwardedFor, f.Value)
	case f.Is("forwarded"):
		hs.forwarded = appendElement(hs.forwarded, f.Value)
	case f.Is("x-forwarded-proto"):
		hs.hasProto = true
	case f.Is("x-forwarded-host"):
		hs.hasForwardHost = true
	}
}

// appendElement adds to a comma-separated list.
func appendElement(list, e []byte) []byte {
	if len(list) > 0 && len(e) > 0 {
		list = append(list, ", "...)
	}
	return append(list, e...)
}
