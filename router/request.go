package router

import (
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/leg"
)

// appendRequest appends the handshake as an upstream gets it: rebuilt field by field, so that nothing reaches it that
// was not understood here. Fields keep their order and spelling. What belongs to a connection or to us is left out, and
// put in anew with what a proxy adds. asLeg is for our own gateways: it adds the signed headers that they believe, and
// takes out offers of extensions, because compressed streams can't be taken over by another gateway.
func (hs *handshake) appendRequest(b []byte, keys *leg.Keyring, asLeg bool, now time.Time) []byte {
	b = append(append(append(b, "GET "...), hs.uri...), " HTTP/1.1\r\n"...)
	for fs := (httphead.Fields{Rest: hs.block}); fs.Next(); {
		f := fs.Field
		if isHopByHop(f) || isOurs(f) || f.Is("x-forwarded-for") || f.Is("forwarded") || hs.endsHere(f) ||
			hs.knowsProto && f.Is("x-forwarded-proto") ||
			asLeg && f.Is("sec-websocket-extensions") {
			continue
		}
		b = append(append(b, f.Line...), "\r\n"...)
	}
	if hs.websocket {
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	} else {
		b = append(b, "Connection: close\r\n"...)
	}
	b = hs.appendForwarded(b)
	if asLeg {
		signed := leg.Request{Method: "GET", URI: hs.uri, Host: hs.host, Client: hs.client}
		b = httphead.AppendField(b, leg.HeaderLeg, leg.Version)
		b = httphead.AppendField(b, leg.HeaderClient, hs.client)
		if hs.takesFeeds {
			b = httphead.AppendField(b, leg.HeaderFeeds, leg.Version)
		}
		b = httphead.AppendField(b, leg.HeaderAuth, keys.Sign(signed, now))
	}
	return append(b, "\r\n"...)
}

// appendForwarded says where the request came from, behind what earlier proxies, or the client itself, have said.
// Scheme and host are only added when nobody has named them: behind a proxy that ends TLS it knows better.
func (hs *handshake) appendForwarded(b []byte) []byte {
	b = append(append(b, "X-Forwarded-For: "...), hs.forwardedFor...)
	if len(hs.forwardedFor) > 0 {
		b = append(b, ", "...)
	}
	peer := hs.peer.String()
	b = append(append(b, peer...), "\r\n"...)
	if !hs.hasProto || hs.knowsProto {
		b = httphead.AppendField(b, "X-Forwarded-Proto", hs.proto())
	}
	if !hs.hasForwardHost {
		b = httphead.AppendField(b, "X-Forwarded-Host", hs.host)
	}
	if len(hs.forwarded) > 0 { // only where it is in use already
		node := peer
		if hs.peer.Is6() {
			node = `"[` + node + `]"`
		}
		b = append(append(append(b, "Forwarded: "...), hs.forwarded...), ", for="...)
		b = append(append(b, node...), ";proto="+hs.proto()+"\r\n"...)
	}
	return b
}

// proto is the scheme of the connection that the request came over.
func (hs *handshake) proto() string {
	if hs.secure {
		return "https"
	}
	return "http"
}

// endsHere reports whether the client's Connection names the field, so that it is meant for us alone. What a handshake
// is made of, or who the client is, can't be taken away by that.
func (hs *handshake) endsHere(f httphead.Field) bool {
	for _, n := range hs.named {
		if strings.EqualFold(string(n), string(f.Name)) {
			const ws = "sec-websocket-"
			essential := f.Is("host") || f.Is("origin") || f.Is("authorization") || f.Is("cookie") || f.Is("accept") ||
				f.Is("x-forwarded-proto") || f.Is("x-forwarded-host") ||
				len(f.Name) > len(ws) && httphead.FoldEqual(f.Name[:len(ws)], ws)
			return !essential
		}
	}
	return false
}
