package router

import (
	"encoding/json"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

// codeTryLater is the close code for a session that can't be had now (IANA registry).
const codeTryLater = 1013

// Where an address has used up its reservations, its clients are told to return some time in this span, and nothing is
// booked: else it could push everybody else's return into the future.
const strangerLeast, strangerMost = 5 * time.Second, 60 * time.Second

// closeTime is what the words of a refusal may take to be written; they fit into an empty socket buffer.
const closeTime = time.Second

// comeback is when a client that is turned away shall return, and with which pass; none where it is empty.
type comeback struct {
	delay time.Duration
	pass  string
}

func (r *Router) comeback(hs *handshake) comeback {
	now := r.now()
	if !r.isAllowed(hs.addr) && !r.gate.perIPPass.Allow(now, admission.AddrKey(hs.addr)) {
		return comeback{delay: strangerLeast + rand.N(strangerMost-strangerLeast)}
	}
	queued := 0
	if r.gate.door != nil {
		queued = r.gate.door.Queued()
	}
	at := r.gate.book.Reserve(now, r.rate(now), queued)
	back := comeback{delay: at.From.Sub(now)}
	if r.deps.Keys != nil {
		back.pass = r.deps.Keys.Reserve(at.From, at.Until)
	}
	return back
}

// json is what a close frame and an event tell; it fits into a close frame's 123 bytes.
func (b comeback) json() []byte {
	text, err := json.Marshal(struct { //nolint:gosec // the pass is the client's
		Reconnect int64  `json:"reconnect"` // ms
		Pass      string `json:"pass,omitempty"`
	}{b.delay.Milliseconds(), b.pass})
	if err != nil {
		panic("BUG: router: a delay has no JSON: " + err.Error())
	}
	return text
}

// turnAway refuses a handshake in a way that its client can read.
func (r *Router) turnAway(ctx *fasthttp.RequestCtx, hs *handshake, no *refusal) {
	if hs == nil {
		r.refuse(ctx, no)
		return
	}
	last := r.farewell(&ctx.Response, hs, no)
	if last == nil {
		return
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) {
		if c.SetWriteDeadline(time.Now().Add(closeTime)) == nil {
			_, _ = c.Write(last) // who is gone needs no answer
		}
	})
}

// farewell makes a refusal the answer, or returns what is to be written in its place: browsers show a failed handshake to nobody, so that their
// WebSocket is opened and closed, and their event stream begins and ends.
func (r *Router) farewell(to *fasthttp.Response, hs *handshake, no *refusal) (last []byte) {
	if no.status != fasthttp.StatusServiceUnavailable && no.status != fasthttp.StatusTooManyRequests {
		r.write(to, hs.origin, no)
		return nil
	}
	back := r.comeback(hs)
	switch {
	case hs.websocket && (hs.origin != "" || queryValue(hs.uri, "refuse") == "close"):
		r.metrics.refused(no.reason)
		return wsframe.AppendClose(hs.appendUpgrade(nil), codeTryLater, string(back.json()))
	case hs.websocket:
		no.back = back
		r.write(to, hs.origin, no)
	default:
		r.metrics.refused(no.reason)
		h := &to.Header
		h.SetContentType("text/event-stream")
		h.Set(fasthttp.HeaderCacheControl, "no-store")
		for _, allowed := range r.cfg.Origins.Headers(hs.origin) {
			h.Set(allowed[0], allowed[1])
		}
		to.SetConnectionClose()
		to.SetBodyString("retry: " + strconv.FormatInt(back.delay.Milliseconds(), 10) +
			"\nevent: refused\ndata: {\"error\":\"" + no.reason + "\"," + string(back.json()[1:]) + "\n\n")
	}
	return nil
}

// appendUpgrade appends the answer that opens a WebSocket. Browsers that offer subprotocols want one chosen.
func (hs *handshake) appendUpgrade(b []byte) []byte {
	protocol := ""
	if len(hs.protocols) > 0 && httphead.IsToken([]byte(hs.protocols[0])) {
		protocol = hs.protocols[0]
	}
	return append(httphead.AppendUpgrade(b, hs.key, protocol), "\r\n"...)
}
