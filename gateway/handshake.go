package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/internal/position"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/leg"
)

// request is a handshake that has been understood.
type request struct {
	topic    string
	since    position.Position
	resumed  bool
	format   format
	named    bool // the client has asked for the subprotocol by name
	onLeg    bool
	goesOn   bool       // another gateway has begun the session
	pace     cablePace  // of Action Cable
	token    string     // of Action Cable
	restored []noteText // of Action Cable: what it begins with
	renewed  []byte     // goesOn: its ticket, sealed anew; nil when that is not due
	viewers  bool       // the client wants to know how many follow its topics
	stale    bool       // it may be stale: better than to be without a gateway
	feed     bool       // goesOn: it is a router's feed
	names    string     // feed: what clients of Action Cable call the topic: a class's

	takesFeeds bool   // its router takes offers of feeds
	session    uint64 // its ID

	preflight [][2]string // the answer to a browser that only asks whether it may; else nil

	policy uint32 // version of the backoff policy that its client knows; of a session that goes on
	client string // the client's address; of a session on a leg

	grant   *auth.Grant // nil for an open topic's
	sealed  []byte      // the ticket that the router has, or gets
	refused *refusal    // the session begins only to tell why it is refused
}

// refusal is a handshake that is turned down. Its reason is a JSON error, and a label of
// ringside_gateway_refused_total.
type refusal struct {
	status  int
	reason  string
	message string
	retry   time.Duration // 0: no Retry-After
	final   bool          // other gateways would say the same
}

func (r *refusal) Error() string { return r.reason + ": " + r.message }

func refuse(status int, reason, format string, args ...any) *refusal {
	return &refusal{status: status, reason: reason, message: fmt.Sprintf(format, args...)}
}

// busy is the refusal of a client that comes while the gateway can't take it; routers go to the next shard.
func (g *Gateway) busy(reason, message string) *refusal {
	return &refusal{fasthttp.StatusServiceUnavailable, reason, message, g.policy().Soon(), false}
}

func (g *Gateway) newServer() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:               g.handle,
		ErrorHandler:          g.handleBroken,
		HeaderReceived:        withoutBody,
		ReadTimeout:           g.cfg.HandshakeTimeout,
		WriteTimeout:          g.cfg.HandshakeTimeout,
		IdleTimeout:           g.cfg.HandshakeTimeout,
		MaxIdleWorkerDuration: time.Second, // a storm's goroutines and their stacks are not kept
		ReadBufferSize:        g.cfg.MaxHeader,
		WriteBufferSize:       1 << 10,
		MaxRequestBodySize:    1 << 10,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		Concurrency:           math.MaxInt32, // the places are the bound: the server's own refuses with words of its own
		Logger:                quiet{},
	}
}

// quiet keeps what clients do to fasthttp out of the log; it is counted instead.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// handleBroken answers a request that fasthttp could not read.
func (g *Gateway) handleBroken(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	if placeOf(ctx).TurnedOut() { // it is counted as that
		ctx.SetConnectionClose()
		return
	}
	switch {
	case errors.As(err, &small):
		g.refuse(ctx, refuse(fasthttp.StatusRequestHeaderFieldsTooLarge, "header_too_large",
			"the request's head is larger than %d bytes", g.cfg.MaxHeader))
	case errors.As(err, &netErr) && netErr.Timeout():
		g.refuse(ctx, refuse(fasthttp.StatusRequestTimeout, "slow_request", "the request did not come in time"))
	default:
		g.refuse(ctx, refuse(fasthttp.StatusBadRequest, "http", "the request is not understood"))
	}
}

// The methods are such as no router passes on for a client.
func (g *Gateway) handle(ctx *fasthttp.RequestCtx) {
	if !placeOf(ctx).Heard() {
		ctx.SetConnectionClose()
		return
	}
	switch string(ctx.Method()) {
	case leg.MethodResume:
		g.handleResume(ctx)
	case leg.MethodBeat:
		g.handleBeat(ctx)
	case leg.MethodCount:
		g.handleCount(ctx)
	default:
		g.handleSession(ctx)
	}
}

func (g *Gateway) handleSession(ctx *fasthttp.RequestCtx) {
	req, err := g.parse(ctx)
	if err == nil && req.preflight != nil {
		g.metrics.preflights.Add(1)
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		for _, h := range req.preflight {
			ctx.Response.Header.Set(h[0], h[1])
		}
		placeOf(ctx).Again()
		return
	}
	if err == nil {
		err = g.admit(req)
	}
	if err == nil {
		err = g.letIn(ctx, req)
	}
	if err != nil {
		g.refuse(ctx, err)
		return
	}
	if req.format.isCable() {
		g.restore(ctx, req)
	}
	if req.onLeg && req.refused == nil {
		req.sealed = g.deps.Keys.Seal(req.asTicket())
	}
	head := g.answerHead(ctx, req)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { g.handOver(c, req, head) })
}

// admit takes a place for the session, which has to be released.
func (g *Gateway) admit(req *request) *refusal {
	switch {
	case g.draining.Load():
		return g.busy("draining", "this gateway drains")
	case !req.stale && req.topic != "" && !g.slots[g.slotOf(req.topic)].vouches():
		return g.busy("stale", "what this gateway knows of the topic is too old")
	case !req.goesOn && req.topic != "" && !g.slots[g.slotOf(req.topic)].admits(req.topic):
		return g.busy("topics_full", "this gateway has all the topics that it takes")
	case !g.reserve():
		return g.busy("full", "this gateway has all the sessions that it takes")
	}
	return nil
}

func (g *Gateway) parse(ctx *fasthttp.RequestCtx) (*request, *refusal) {
	req := &request{session: rand.Uint64()}
	h := &ctx.Request.Header
	if !ctx.IsGet() && !ctx.IsOptions() {
		return nil, refuse(fasthttp.StatusMethodNotAllowed, "method", "only GET is allowed here")
	}
	wanted, no := readHead(h)
	if no != nil {
		return nil, no
	}
	if no := g.checkOrigin(h); no != nil {
		return nil, no
	}
	var err error
	if req.topic, err = topics.FromURI(string(h.RequestURI())); err != nil {
		var te *topics.Error
		if errors.As(err, &te) && te.Reason == "missing" && g.parseCable(ctx, req) {
			return req, g.parseLeg(ctx, req)
		}
		reason := "topic"
		if te != nil {
			reason = "topic_" + te.Reason
		}
		return nil, refuse(fasthttp.StatusBadRequest, reason, "%v", err)
	}
	if ctx.IsOptions() {
		var ok bool
		if req.preflight, ok = g.cfg.Origins.Preflight(string(h.Peek(fasthttp.HeaderOrigin)), string(h.Peek(fasthttp.HeaderAccessControlRequestMethod))); !ok {
			return nil, refuse(fasthttp.StatusMethodNotAllowed, "method", "only GET is allowed here")
		}
		return req, nil
	}
	if g.parseCable(ctx, req) {
		return req, g.parseLeg(ctx, req)
	}
	if no := req.parseSince(ctx); no != nil {
		return nil, no
	}
	if no := req.parseViewers(ctx); no != nil {
		return nil, no
	}
	if no := req.parseFormat(h, wanted); no != nil {
		return nil, no
	}
	return req, g.parseLeg(ctx, req)
}

// checkOrigin refuses pages of sites that are not allowed.
func (g *Gateway) checkOrigin(h *fasthttp.RequestHeader) *refusal {
	origins := h.PeekAll(fasthttp.HeaderOrigin)
	if len(origins) > 1 || len(origins) == 1 && !g.cfg.Origins.Allows(string(origins[0])) {
		return refuse(fasthttp.StatusForbidden, "origin", "pages of this site may not open sessions")
	}
	return nil
}

func (req *request) parseSince(ctx *fasthttp.RequestCtx) *refusal {
	since := ctx.QueryArgs().PeekMulti("since")
	last := ctx.Request.Header.Peek("Last-Event-ID")
	// A browser that reconnects repeats the URL and tells in the header how far it has come since.
	value := string(last)
	if value == "" && len(since) > 0 {
		value = string(since[0])
	}
	if len(since) > 1 {
		return refuse(fasthttp.StatusBadRequest, "position", "since stands in the URL more than once")
	}
	if value == "" {
		return nil
	}
	var err error
	if req.since, err = position.Parse(value); err != nil {
		return refuse(fasthttp.StatusBadRequest, "position", "%v", err)
	}
	req.resumed = true
	return nil
}

func (req *request) parseViewers(ctx *fasthttp.RequestCtx) *refusal {
	for i, v := range ctx.QueryArgs().PeekMulti("viewers") {
		wants, err := strconv.ParseBool(string(v))
		if err != nil || i > 0 {
			return refuse(fasthttp.StatusBadRequest, "viewers", "viewers takes 1 or 0, once")
		}
		req.viewers = wants
	}
	return nil
}

func (req *request) parseFormat(h *fasthttp.RequestHeader, wanted httphead.Wanted) *refusal {
	switch wanted {
	case httphead.WebSocket:
		return req.parseSubprotocol(h)
	case httphead.EventStream:
		req.format = formatSSE
		return nil
	default:
		return refuseFor(httphead.ErrNoSession)
	}
}

func (req *request) parseSubprotocol(h *fasthttp.RequestHeader) *refusal {
	var offered []string
	for _, v := range h.PeekAll(fasthttp.HeaderSecWebSocketProtocol) {
		for p := range strings.SplitSeq(string(v), ",") {
			if p = strings.TrimSpace(p); p != "" {
				offered = append(offered, p)
			}
		}
	}
	for _, p := range offered {
		switch p {
		case protocolV1:
			req.format, req.named = formatV1, true
			return nil
		case protocolRaw:
			req.format, req.named = formatRaw, true
			return nil
		}
	}
	if len(offered) > 0 {
		return refuse(fasthttp.StatusBadRequest, "subprotocol", "the subprotocols spoken here are %s and %s", protocolV1, protocolRaw)
	}
	return nil
}

// parseLeg believes a router only by its signature.
func (g *Gateway) parseLeg(ctx *fasthttp.RequestCtx, req *request) *refusal {
	if len(ctx.Request.Header.Peek(leg.HeaderLeg)) == 0 {
		return nil
	}
	req.onLeg = true
	req.client = string(ctx.Request.Header.Peek(leg.HeaderClient))
	req.takesFeeds = takesFeeds(ctx)
	return g.checkLeg(ctx)
}

// takesFeeds reports whether a router takes offers of feeds.
func takesFeeds(ctx *fasthttp.RequestCtx) bool {
	return string(ctx.Request.Header.Peek(leg.HeaderFeeds)) == leg.Version
}

// checkLeg refuses what no router of ours has sent.
func (g *Gateway) checkLeg(ctx *fasthttp.RequestCtx) *refusal {
	h := &ctx.Request.Header
	version := string(h.Peek(leg.HeaderLeg))
	if version != leg.Version {
		return refuse(fasthttp.StatusBadRequest, "leg_version", "the leg version spoken here is %s", leg.Version)
	}
	signed := leg.Request{
		Method: string(h.Method()), URI: string(h.RequestURI()),
		Host: string(h.Host()), Client: string(h.Peek(leg.HeaderClient)),
	}
	if err := g.deps.Keys.Verify(signed, string(h.Peek(leg.HeaderAuth)), time.Now()); err != nil {
		g.log.Warn("refused a leg: do the router and this gateway have the same secret and time?", zap.Error(err))
		return refuse(fasthttp.StatusForbidden, "leg_auth", "the leg's signature is not valid: %v", err)
	}
	return nil
}

// answerHead is the head of the answer by which a session begins. It is written on the session's loop, together with the first that the
// session is told: an answer is one packet, to the router and from there to the client. The request has been checked by readHead.
func (g *Gateway) answerHead(ctx *fasthttp.RequestCtx, req *request) []byte {
	h := &ctx.Request.Header
	b := make([]byte, 0, headRoom+len(req.sealed)*4/3)
	if req.format == formatSSE {
		b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\nX-Accel-Buffering: no\r\n"...)
		for _, f := range g.cfg.Origins.Headers(string(h.Peek(fasthttp.HeaderOrigin))) {
			b = httphead.AppendField(b, f[0], f[1])
		}
	} else {
		protocol := ""
		if req.named {
			protocol = req.format.subprotocol()
		}
		b = httphead.AppendUpgrade(b, h.Peek(fasthttp.HeaderSecWebSocketKey), protocol)
	}
	if req.onLeg {
		b = g.appendLegFields(b, req)
	}
	return append(b, "\r\n"...)
}

// headRoom is what an answer's head takes without a ticket, and some to spare.
const headRoom = 384

// appendLegFields appends the header fields by which the answer is a leg's.
func (g *Gateway) appendLegFields(b []byte, req *request) []byte {
	b = httphead.AppendField(b, leg.HeaderLeg, leg.Version)
	b = httphead.AppendField(b, leg.HeaderShard, g.cfg.ID)
	b = httphead.AppendField(b, leg.HeaderPolicy, g.policyHeader())
	if req.sealed != nil {
		b = httphead.AppendField(b, leg.HeaderTicket, leg.TicketText(req.sealed))
	}
	if req.grant.Owes() {
		b = httphead.AppendField(b, leg.HeaderFarewell, leg.Version)
	}
	return b
}

// handOver takes the connection out of the HTTP server and gives it to a loop.
func (g *Gateway) handOver(c net.Conn, req *request, head []byte) {
	fd, early, err := g.take(c)
	if err != nil {
		g.release()
		g.log.Warn("cannot take a session over", zap.Error(err))
		return
	}
	if err := eventloop.SetRest(fd, g.cfg.socketOptions()); err != nil {
		g.log.Debug("a session's socket is without its options", zap.Error(err)) // the peer is gone already
	}
	w := g.byLoop[g.group.Next()]
	s := &session{
		worker: w, id: req.session, format: req.format, onLeg: req.onLeg, viewers: req.viewers && !req.format.isCable(),
		takesFeeds: req.takesFeeds && !req.feed && !req.grant.Owes() && !(req.format.isCable() && nameOf(req.grant) != ""), // who has a name may be told to go
		access:     newAccess(req), cable: newCable(req), share: newShare(req), policy: req.policy,
	}
	if s.takesFeeds {
		s.parting = leg.Farewell(req.sealed)
	}
	a := &arrival{
		session: s, fd: fd, topic: req.topic, since: req.since, resumed: req.resumed, goesOn: req.goesOn, head: head, early: early,
		refused: req.refused,
	}
	if !w.loop.Post(a) {
		eventloop.CloseFD(fd)
		g.release()
	}
}

// refuse answers with a JSON error, counts it, and ends the connection: what follows a request that was not understood, or not
// wanted, is not looked at.
func (g *Gateway) refuse(ctx *fasthttp.RequestCtx, no *refusal) {
	g.metrics.refuse(no.reason)
	body, err := json.Marshal(map[string]string{"error": no.reason, "message": no.message})
	if err != nil {
		panic("BUG: gateway: a refusal has no JSON: " + err.Error())
	}
	ctx.Response.Reset()
	ctx.SetStatusCode(no.status)
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if origin := string(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)); origin != "" {
		for _, f := range g.cfg.Origins.Headers(origin) {
			ctx.Response.Header.Set(f[0], f[1]) // a page's script may read why
		}
	}
	if no.final {
		ctx.Response.Header.Set(leg.HeaderFinal, leg.Version)
	}
	switch {
	case no.status == fasthttp.StatusUnauthorized:
		ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
	case no.retry > 0:
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(no.retry.Seconds()))))
	case no.status == fasthttp.StatusUpgradeRequired:
		ctx.Response.Header.Set("Upgrade", "websocket")
	case no.status == fasthttp.StatusMethodNotAllowed:
		ctx.Response.Header.Set("Allow", "GET")
	}
	ctx.SetConnectionClose()
	ctx.SetBody(append(body, '\n'))
}
