package router

import (
	"net"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
)

// handle serves one request: it answers it, or makes the connection a session.
func (r *Router) handle(ctx *fasthttp.RequestCtx) {
	c := connOf(ctx)
	began := c.began
	if began.IsZero() { // it came along with the request before
		began = time.Now()
	}
	c.began, c.hasLine, c.inLine, c.last, c.by = time.Time{}, false, false, 0, time.Time{}
	if a := c.asked; a != nil {
		c.asked = nil
		r.goOn(ctx, c, a)
		return
	}
	if !c.guest.Heard() {
		ctx.SetConnectionClose()
		return
	}
	if r.deps.Fallback != nil && !asksForSession(&ctx.Request.Header) {
		r.metrics.fallbacks.Add(1)
		r.deps.Fallback(ctx)
		c.guest.Again()
		return
	}
	hs, no := r.parse(ctx)
	if no == nil && hs.preflight != nil {
		r.metrics.preflights.Add(1)
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		for _, h := range hs.preflight {
			ctx.Response.Header.Set(h[0], h[1])
		}
		c.guest.Again()
		return
	}
	if no == nil {
		r.from(hs, c.peer, c.tls != nil, began)
		no = r.enter(hs)
	}
	if no != nil {
		r.turnAway(ctx, hs, no)
		return
	}
	r.goOn(ctx, c, &asking{hs: hs, search: r.newSearch(hs)})
}

// asking is a handshake that has been let in, and what has come of asking the gateways so far.
type asking struct {
	hs     *handshake
	search search
	up     *upstream // whose answer, which begins no session, is to be passed on; nil while there is none
}

// undo gives back what it holds, when nothing can come of it any more.
func (a *asking) undo(r *Router) {
	r.leave(a.hs, a.up != nil)
	if a.up != nil {
		a.up.close(r)
	}
	r.release()
}

// goOn makes the connection a session, or answers.
func (r *Router) goOn(ctx *fasthttp.RequestCtx, c *httpConn, a *asking) {
	if !r.open(ctx, c, a) {
		r.release()
	}
	r.shook(a.hs)
}

// shook notes that a handshake is over.
func (r *Router) shook(hs *handshake) { r.metrics.handshakes.Observe(time.Since(hs.began).Seconds()) }

// admit takes a place for a session, which has to be released.
func (r *Router) admit() *refusal {
	switch {
	case r.draining.Load():
		return refuse(fasthttp.StatusServiceUnavailable, reasonDraining, "this router drains")
	case r.sessions.Add(1) > int64(r.cfg.MaxSessions):
		r.release()
		return refuse(fasthttp.StatusServiceUnavailable, reasonFull, "this router has all the sessions that it takes")
	}
	return nil
}

// release gives a session's place back.
func (r *Router) release() { r.sessions.Add(-1) }

// open asks the gateways. It reports whether a session begins, which then has the place that was taken for it.
func (r *Router) open(ctx *fasthttp.RequestCtx, c *httpConn, a *asking) bool {
	hs, up, begins, no := a.hs, a.up, false, (*refusal)(nil)
	if up == nil {
		up, begins, no = r.connect(r.ctx, hs, &a.search)
	}
	r.leave(hs, no == nil)
	if no != nil {
		r.turnAway(ctx, hs, no)
		return false
	}
	if !begins {
		defer up.close(r)
		conn, err := up.body(hs.deadline)
		if err == nil {
			err = up.answer.passOn(&ctx.Response, conn)
		}
		if err != nil {
			r.refuse(ctx, refuse(fasthttp.StatusBadGateway, "bad_gateway", "the gateway's answer could not be passed on"))
			return false
		}
		r.metrics.refused(reasonUpstream)
		return false
	}
	t := &takeover{r: r, c: c, up: up, flags: flagsOf(hs, up) | c.flags() | up.flags(), key: hs.topic}
	t.first, t.head = up.first()
	c.taken, c.hasLine = t, true // no request follows
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(t.run)
	return true
}

// takeover is a session between its handshake and its event loop, while the HTTP server still holds the client.
type takeover struct {
	r     *Router
	c     *httpConn
	up    *upstream
	flags flags
	key   uint32
	first []byte // the answer's head, and behind it what else the upstream has sent
	head  int    // length of the head
}

// run takes both connections over as descriptors. The HTTP server closes its own of the client's when run returns; it
// must not be touched from then on.
func (t *takeover) run(hijacked net.Conn) {
	r := t.r
	t.c.taken = nil
	fd, early, err := t.c.take(hijacked, r.deps.Bridges)
	if err != nil {
		t.fail(err)
		return
	}
	s, upstreamFD, err := t.up.begin(r)
	if err != nil {
		eventloop.CloseFD(fd)
		t.fail(err)
		return
	}
	t.up.done(r)
	if t.c.greeted {
		r.setOptions(fd) // on its way back Go has set its own
	} else {
		r.setClientOptions(fd)
	}
	s.flags, s.key, s.home = t.flags, t.key, t.up.home(r)
	a := &arrival{session: s, client: fd, upstream: upstreamFD, call: t.up.call, first: t.first, head: t.head, early: early}
	if !s.w.loop.Post(a) {
		s.leaveHome()
		eventloop.CloseFD(fd)
		if upstreamFD >= 0 {
			eventloop.CloseFD(upstreamFD)
		}
		r.release()
	}
}

func (t *takeover) fail(err error) {
	t.abandon()
	t.r.log.Warn("cannot take a session over", zap.Error(err))
}

// abandon undoes what the handshake has begun, when the client's connection did not last until run.
func (t *takeover) abandon() {
	t.up.uncount(t.r)
	t.up.close(t.r)
	t.r.release()
	t.r.metrics.closed[closeSetup].Add(1)
}
