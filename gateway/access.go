package gateway

import (
	"context"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/leg"
)

// Access says what a client has to bring for a topic, and checks it.
type Access struct {
	Guard   *auth.Guard                       // run by the gateway
	Demands func(topic string) []auth.Methods // what a topic demands, in order; none for an open one. Safe for concurrent use, quick
}

// access is what a session has beyond those of open topics, which have none. It belongs to the session's loop.
type access struct {
	grant    *auth.Grant
	ticket   leg.Ticket // what a fresh grant is sealed with
	calls    []command  // wait for others' answers; the first one's is on its way
	calling  bool
	held     uint64                    // calls: what was acknowledged of the client's before the first of them
	farewell [2][leg.FarewellSize]byte // of the newest ticket and the one before: how a router says that it takes the session elsewhere
	last     [leg.FarewellSize]byte    // what the router has sent last
	gone     bool                      // it has said so
	topics   []string                  // closing: what the session followed, where the application wants to know
	owes     bool                      // on a leg, and the application waits for the end
}

// Close codes of our own. Clients must not come back on their own with what they have.
const (
	codeUnauthorized = 4401
	codeForbidden    = 4403
)

// authenticate asks what the topic demands. It blocks within the guard's time-outs.
func (g *Gateway) authenticate(ctx *fasthttp.RequestCtx, req *request) *refusal {
	if g.deps.Access == nil {
		return nil
	}
	demanded := g.deps.Access.Demands(req.topic)
	if len(demanded) == 0 && !req.format.isCable() {
		return nil
	}
	h := &ctx.Request.Header
	client := req.client
	if !req.onLeg {
		client = ctx.RemoteIP().String()
	}
	limit, cancel := context.WithTimeout(g.ctx, g.cfg.HandshakeTimeout/2) // routers give up later
	defer cancel()
	asked := &auth.Request{
		Session: req.session, Topic: req.topic, URI: string(h.RequestURI()), Host: string(h.Host()), Client: client,
		Header: func(name string) string { return joined(h, name) },
	}
	var grant *auth.Grant
	var no *auth.Refusal
	if req.format.isCable() { // what it follows is asked about stream by stream
		grant, no = g.deps.Access.Guard.ConnectCable(limit, asked, req.token)
	} else {
		grant, no = g.deps.Access.Guard.Connect(limit, demanded, asked)
	}
	if no != nil {
		return &refusal{status: no.Status, reason: no.Reason, message: no.Message, retry: no.Retry, final: no.Reason != auth.KeysMissing}
	}
	req.grant = grant
	return nil
}

// letIn authenticates a session that has a place, which is given back when it is refused. A client that could not read that has
// its session, for as long as it takes to say so.
func (g *Gateway) letIn(ctx *fasthttp.RequestCtx, req *request) *refusal {
	no := g.authenticate(ctx, req)
	switch {
	case no == nil:
	case no.wantsReason(ctx, req.format):
		g.metrics.refuse(no.reason)
		req.refused = no
	default:
		g.release()
		return no
	}
	return nil
}

// joined are all values of a header in one.
func joined(h *fasthttp.RequestHeader, name string) string {
	values := h.PeekAll(name)
	if len(values) == 0 {
		return ""
	}
	s := string(values[0])
	for _, v := range values[1:] {
		s += ", " + string(v)
	}
	return s
}

// demands is what a topic demands of who subscribes to it by message.
func (g *Gateway) demands(topic string) (set auth.Methods) {
	if g.deps.Access == nil {
		return 0
	}
	for _, m := range g.deps.Access.Demands(topic) {
		set |= m
	}
	return set
}

// newAccess is the access of a session that begins, or goes on; nil for an open topic's.
func newAccess(req *request) *access {
	if req.grant == nil {
		return nil
	}
	a := &access{grant: req.grant, ticket: req.asTicket(), owes: req.onLeg && req.grant.Owes()}
	if a.owes {
		a.farewell[0] = leg.Farewell(req.sealed)
	}
	return a
}

func (s *session) grant() *auth.Grant {
	if s.access == nil {
		return nil
	}
	return s.access.grant
}

// leftBy reports whether the router has said, with p as its newest bytes, that it takes the session elsewhere.
func (a *access) leftBy(p []byte) bool {
	if n := leg.FarewellSize; len(p) >= n {
		copy(a.last[:], p[len(p)-n:])
	} else {
		copy(a.last[:], a.last[len(p):])
		copy(a.last[n-len(p):], p)
	}
	a.gone = a.gone || a.last == a.farewell[0] || a.last == a.farewell[1]
	return a.gone
}

// setGrant gives the session another grant, and the router a ticket with it.
func (s *session) setGrant(grant *auth.Grant) {
	a := s.access
	if grant == a.grant {
		return
	}
	a.grant = grant
	if !s.onLeg {
		return
	}
	a.ticket.Grant = string(grant.Encode())
	sealed := s.worker.g.deps.Keys.Seal(a.ticket)
	if s.takesFeeds {
		s.parting = leg.Farewell(sealed)
	}
	if a.owes {
		a.farewell[1], a.farewell[0] = a.farewell[0], leg.Farewell(sealed)
	}
	s.control(newRecord(leg.Renew, 0, zeroPosition, sealed).b)
	s.offerAnew()
}

// expired ends a session whose grant has ended.
func (s *session) expired() bool {
	if s.access == nil || s.resume != nil || !s.access.grant.Expired(time.Now()) {
		return false
	}
	s.turnAway(closeExpired, &refusal{status: fasthttp.StatusUnauthorized, reason: auth.TokenExpired})
	return true
}

// turnAway ends a session with a reason that its client can read.
func (s *session) turnAway(reason closeReason, no *refusal) {
	if s.cable != nil {
		s.turnCableAway(reason, no)
		return
	}
	text := `{"error":"` + no.reason + `"}`
	code := uint16(codeForbidden)
	delay := int64(0)
	switch {
	case no.status == fasthttp.StatusUnauthorized:
		code = codeUnauthorized
	case no.retry > 0:
		code, delay = codeTryLater, s.worker.g.policy().Over(backoff.Widest).Milliseconds()
		text = `{"error":"` + no.reason + `","reconnect":` + strconv.FormatInt(delay, 10) + "}"
	}
	if s.format != formatSSE {
		s.finishWith(reason, code, text)
		return
	}
	last := "event: closed\ndata: {\"code\":" + strconv.Itoa(int(code)) + `,"error":"` + no.reason + "\"}\n\n"
	if delay > 0 {
		last = "retry: " + strconv.FormatInt(delay, 10) + "\n\n"
	}
	s.end(reason, []byte(last))
}

// over tells the application that the session is over, if it is: one that goes on at another gateway is not.
func (s *session) over(reason closeReason) {
	a, g := s.access, s.worker.g
	if a == nil || !a.grant.Owes() || a.gone || reason == closeResume {
		return
	}
	if s.closing {
		reason = s.reason
	}
	switch {
	case !s.onLeg:
	case reason == closeDrain && s.goBy > 0: // its router has to find it another gateway
		return
	case reason == closeGone:
		g.deps.Access.Guard.Vanished(a.grant)
		return
	}
	g.deps.Access.Guard.Ended(s.id, a.grant, a.topics)
}

// wantsReason reports whether a client could not read a refusal: a browser shows neither status nor body of a handshake that
// failed, and other clients ask for a close in the query. An event stream that is refused for good has to be: EventSource ends then.
func (no *refusal) wantsReason(ctx *fasthttp.RequestCtx, f format) bool {
	h := &ctx.Request.Header
	if f.isCable() { // its clients look for the reason where a session is
		return true
	}
	asks := f != formatSSE && string(ctx.QueryArgs().Peek("refuse")) == "close"
	if !no.final || !asks && len(h.Peek("Origin")) == 0 && len(h.Peek("Sec-Fetch-Mode")) == 0 {
		return false
	}
	return f != formatSSE || no.retry > 0
}

// encodeReply is something that the application says to one client.
func encodeReply(transmission string) []byte {
	return text(append(appendData([]byte(`{"type":"reply"`), []byte(transmission)), '}'))
}

// note keeps the topics that the session follows for the application.
func (s *session) note() {
	if a := s.access; a != nil && a.grant.Owes() {
		if s.cable != nil { // it knows them by their identifiers
			for _, c := range s.cable.list {
				a.topics = append(a.topics, c.identifier)
			}
			return
		}
		s.subs(func(sub *sub) { a.topics = append(a.topics, sub.feed.topic.name) })
	}
}

// expiry is when the session ends, as a field of the welcome; empty when it does not by itself.
func (s *session) expiry() string {
	if g := s.grant(); g != nil && g.Expires != 0 {
		return `"expires":` + strconv.FormatInt(g.Expires*1000, 10) + ","
	}
	return ""
}
