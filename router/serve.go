package router

import (
	"net"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/ring"
)

// handle serves one request: it answers it, or makes the connection a session.
func (r *Router) handle(ctx *fasthttp.RequestCtx) {
	c := connOf(ctx)
	began := c.began
	if began.IsZero() { // it came along with the request before
		began = time.Now()
	}
	c.began, c.hasLine, c.inLine, c.last = time.Time{}, false, false, 0
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
		hs.deadline = began.Add(r.cfg.HandshakeTimeout)
		hs.peer, hs.secure = c.peer, c.tls != nil
		hs.knowsProto = hs.secure && !containsAddr(r.cfg.TrustedProxies, c.peer)
		hs.addr = clientOf(c.peer, hs.forwardedFor, r.cfg.TrustedProxies)
		hs.client = hs.addr.String()
		hs.takesFeeds = !r.cfg.NoFeeds
		if hs.anywhere {
			hs.topic = cableKey(hs.client)
		}
		no = r.enter(hs)
	}
	if no != nil {
		r.turnAway(ctx, hs, no)
		return
	}
	if !r.open(ctx, c, hs) {
		r.release()
	}
	r.metrics.handshakes.Observe(time.Since(began).Seconds())
}

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
func (r *Router) open(ctx *fasthttp.RequestCtx, c *httpConn, hs *handshake) bool {
	up, begins, no := r.connect(r.ctx, hs)
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
	t := &takeover{
		r: r, c: c, up: up, member: up.member, flags: flagsOf(hs, up) | c.flags() | up.flags(), key: hs.topic,
		ticket: up.answer.ticket, policy: up.answer.policy,
	}
	t.first = up.answer.appendHead(make([]byte, 0, len(up.answer.line)+len(up.answer.block)+len(up.answer.rest)+2), up.own)
	t.head = len(t.first)
	t.first = append(t.first, up.answer.rest...)
	c.taken, c.hasLine = t, true // no request follows
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(t.run)
	return true
}

// takeover is a session between its handshake and its event loop, while the HTTP server still holds the client.
type takeover struct {
	r      *Router
	c      *httpConn
	up     *upstream
	member *ring.Member // that took the session
	flags  flags
	key    uint32
	ticket []byte // of a leg
	policy uint32 // of a leg: version of the backoff policy that the client knows
	first  []byte // the answer's head, and behind it what else the upstream has sent
	head   int    // length of the head
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
	r.setClientOptions(fd)
	s.flags, s.key, s.home = t.flags, t.key, t.home()
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

// home is what the session needs to go on elsewhere; nil when it can't.
func (t *takeover) home() *home {
	if t.ticket == nil {
		t.uncount()
		return nil
	}
	return &home{shard: t.up.shard, ticket: t.ticket, told: t.policy, counted: true, farewell: t.up.answer.farewell, patience: parkPatience(t.r.cfg.ParkAfter)}
}

func (t *takeover) fail(err error) {
	t.abandon()
	t.r.log.Warn("cannot take a session over", zap.Error(err))
}

// uncount takes back that the gateway has one session more.
func (t *takeover) uncount() {
	if t.member != nil {
		t.r.shards.of(t.member).book.held.Add(-1)
	}
}

// abandon undoes what the handshake has begun, when the client's connection did not last until run.
func (t *takeover) abandon() {
	t.uncount()
	t.up.close(t.r)
	t.r.release()
	t.r.metrics.closed[closeSetup].Add(1)
}
