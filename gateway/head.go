package gateway

import (
	"cmp"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/internal/httphead"
)

// withoutBody keeps the HTTP server from waiting for a body: no request here has one, and that there is one is refused at once.
func withoutBody(h *fasthttp.RequestHeader) (cfg fasthttp.RequestConfig) {
	h.SetContentLength(0)
	h.Del(fasthttp.HeaderExpect)
	return cfg
}

// readHead refuses a request for a session that somebody in front of us may have understood differently, and says which kind of
// session it asks for. A router passes none on, but a gateway may stand behind other proxies, or behind none.
func readHead(h *fasthttp.RequestHeader) (httphead.Wanted, *refusal) {
	if !h.IsHTTP11() {
		return 0, refuse(fasthttp.StatusBadRequest, "http", "a session needs HTTP/1.1")
	}
	var o httphead.Opening
	fs := httphead.Fields{Rest: h.RawHeaders()}
	for fs.Next() {
		o.Field(fs.Field)
	}
	if fs.Err != nil {
		return 0, refuse(fasthttp.StatusBadRequest, "http", "%v", fs.Err)
	}
	wanted, odd := o.Wants()
	if p := cmp.Or(o.Target(string(h.RequestURI()), string(h.Host())), o.Body(), odd); p != nil {
		return 0, refuseFor(p)
	}
	return wanted, nil
}

// refuseFor refuses a request because of its head.
func refuseFor(p *httphead.Problem) *refusal {
	return &refusal{status: p.Status, reason: p.Reason, message: p.Message}
}
