package router

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/httphead"
)

// refusal is a request that is turned down. Its reason is the "error" of a JSON body, and a label of
// ringside_router_refused_total.
type refusal struct {
	status  int
	reason  string
	message string
	back    comeback // of one that can be served later: see [Router.turnAway]
}

func refuse(status int, reason, format string, args ...any) *refusal {
	return &refusal{status: status, reason: reason, message: fmt.Sprintf(format, args...)}
}

// refuseFor refuses a request because of its head.
func refuseFor(p *httphead.Problem) *refusal {
	return &refusal{status: p.Status, reason: p.Reason, message: p.Message}
}

// Reasons for refusals that more than one place gives; docs/PROTOCOL.md lists them all.
const (
	reasonHTTP      = "http"
	reasonBody      = "body"
	reasonFull      = "full"
	reasonDraining  = "draining"
	reasonNoShard   = "no_shard"
	reasonUpstream  = "upstream"
	reasonPerIP     = "per_ip"
	reasonQueueFull = "queue_full"
	reasonQueueTime = "queue_time"
)

// body is the JSON that a refusal is told in.
func (no *refusal) body() []byte {
	b, err := json.Marshal(struct { //nolint:gosec // the pass is the client's
		Error   string `json:"error"`
		Message string `json:"message"`
		Retry   int64  `json:"retry,omitempty"` // ms
		Pass    string `json:"pass,omitempty"`
	}{no.reason, no.message, no.back.delay.Milliseconds(), no.back.pass})
	if err != nil {
		panic("BUG: router: a refusal has no JSON: " + err.Error())
	}
	return append(b, '\n')
}

// refuse answers with a JSON error, counts it, and ends the connection: what follows a request that was not
// understood, or not wanted, is not looked at.
func (r *Router) refuse(ctx *fasthttp.RequestCtx, no *refusal) {
	r.write(&ctx.Response, string(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)), no)
	if no.reason == reasonBody {
		connOf(ctx).linger = true
	}
}

// write makes a refusal the answer to a page of an origin, which may be empty, and counts it.
func (r *Router) write(to *fasthttp.Response, origin string, no *refusal) {
	r.metrics.refused(no.reason)
	to.SetStatusCode(no.status)
	h := &to.Header
	h.SetContentType("application/json")
	h.SetBytesV(fasthttp.HeaderDate, fasthttp.AppendHTTPDate(nil, time.Now()))
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	for _, allowed := range r.cfg.Origins.Headers(origin) {
		h.Set(allowed[0], allowed[1]) // the page's script reads why
	}
	switch {
	case no.back.delay > 0:
		h.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(no.back.delay.Seconds()))))
	case no.status == fasthttp.StatusUpgradeRequired:
		h.Set(fasthttp.HeaderUpgrade, "websocket")
		h.Set(fasthttp.HeaderSecWebSocketVersion, "13")
	case no.status == fasthttp.StatusMethodNotAllowed:
		h.Set(fasthttp.HeaderAllow, fasthttp.MethodGet)
	}
	to.SetBody(no.body())
	to.SetConnectionClose()
}
