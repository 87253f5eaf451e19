package gateway

import (
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/anteroom"
	"github.com/ringside-edge/ringside/internal/eventloop"
)

// patienceShare is the part of the time for a handshake in which a client that shares the places with too many others has to say what
// it wants.
const patienceShare = 5

// bound bounds the connections that are no session yet. There is no bound for an address: behind that of a router are all its clients.
func (g *Gateway) bound() {
	room := anteroom.New(anteroom.Config{Places: g.cfg.HTTPConns, Patience: g.cfg.HandshakeTimeout / patienceShare})
	g.room = room
	g.ln = anteroom.NewListener(g.ln, room, func(err error, first bool) {
		// Out of descriptors or memory, as a rule: not a reason to end.
		g.metrics.acceptErrors.Add(1)
		if first {
			g.log.Warn("cannot accept a connection", zap.Error(err))
		}
	})
}

// placeOf is the place of the connection that a request came over.
func placeOf(ctx *fasthttp.RequestCtx) *anteroom.Conn {
	c, ok := eventloop.Find[*anteroom.Conn](ctx.Conn())
	if !ok {
		panic("BUG: gateway: the HTTP server serves a connection that is none of ours")
	}
	return c
}
