package gateway

import (
	"net"
	"strings"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// asTicket is what another gateway has to know of the session.
func (req *request) asTicket() leg.Ticket {
	extra := ""
	switch {
	case req.format.isCable():
		extra = req.pace.String()
	case req.viewers:
		extra = extraViewers
	}
	return leg.Ticket{
		Extra:   extra,
		Session: req.session, Format: uint8(req.format), Resumed: req.resumed, Since: req.since, Topic: req.topic,
		Client: req.client[:min(len(req.client), 255)], Grant: string(req.grant.Encode()),
	}
}

// extraViewers is what a ticket says beyond the rest where the client wants to know how many follow its topics.
const extraViewers = "viewers"

// handleResume takes a session that another gateway has begun.
func (g *Gateway) handleResume(ctx *fasthttp.RequestCtx) {
	req, err := g.parseTicket(ctx)
	if err == nil {
		err = g.admit(req)
	}
	if err != nil {
		g.refuse(ctx, err)
		return
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { g.handOver(c, req, g.resumed(req)) })
}

func (g *Gateway) parseTicket(ctx *fasthttp.RequestCtx) (*request, *refusal) {
	if no := g.checkLeg(ctx); no != nil {
		return nil, no
	}
	sealed, err := leg.ParseTicketText(string(ctx.Request.Header.Peek(leg.HeaderTicket)))
	var t leg.Ticket
	if err == nil {
		t, err = g.deps.Keys.Open(sealed)
	}
	feed, names := isFeed(&t), ""
	if feed {
		names, t.Grant = t.Grant, ""
	}
	var grant *auth.Grant
	if err == nil {
		grant, err = auth.Decode([]byte(t.Grant))
	}
	if err != nil || format(t.Format) >= formats {
		g.log.Warn("refused a session that another gateway had begun: do all gateways have the same secrets?", zap.Error(err))
		return nil, refuse(fasthttp.StatusForbidden, "ticket", "the ticket is not valid")
	}
	renewed := g.deps.Keys.Renewed(sealed)
	return &request{
		feed: feed, names: names, takesFeeds: takesFeeds(ctx),
		policy: knownPolicy(ctx.Request.Header.Peek(leg.HeaderPolicy)),
		topic:  t.Topic, since: t.Since, resumed: t.Resumed, format: format(t.Format), onLeg: true, goesOn: true,
		pace: parsePace(strings.TrimPrefix(t.Extra, feedCable)), viewers: t.Extra == extraViewers || t.Extra == feedExtras[1], session: t.Session, client: t.Client, grant: grant, sealed: orSealed(renewed, sealed), renewed: renewed, stale: len(ctx.Request.Header.Peek(leg.HeaderStale)) > 0,
	}, nil
}

// orSealed is the ticket that the router has from now on.
func orSealed(renewed, sealed []byte) []byte {
	if renewed != nil {
		return renewed
	}
	return sealed
}

// upgraded is the head of the answer to a router.
func (g *Gateway) upgraded() []byte {
	return []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + leg.Upgrade + "\r\n" + g.legHead() + "\r\n")
}

// resumed is the same, with a new ticket where the one that came was sealed with a secret that is on its way out.
func (g *Gateway) resumed(req *request) []byte {
	head := g.upgraded()
	if req.renewed == nil {
		return head
	}
	return append(head[:len(head)-2], leg.HeaderTicket+": "+leg.TicketText(req.renewed)+"\r\n\r\n"...)
}

func (g *Gateway) legHead() string {
	return leg.HeaderLeg + ": " + leg.Version + "\r\n" + leg.HeaderShard + ": " + g.cfg.ID + "\r\n"
}

// resume is what a session that another gateway has begun waits for before it goes on: where it stands, and then that the
// message of which its client has a part is completed, before which nothing else may be sent.
type resume struct {
	// Of the ticket: what the session began with, for when no gateway has come further than that.
	topic   string
	since   position.Position
	resumed bool

	got   []byte            // what the router has sent, as far as it is not done with
	block bool              // the resume block has come
	first *sub              // its next message must be sent first; nil for none
	from  position.Position // where first stood
	rest  []leg.Standing    // the topics behind it
}

// resuming takes what the router sends while the session does not go on yet. All of it is bounded by what a router keeps
// of a client's, and by the limit of topics.
func (s *session) resuming(p []byte) {
	r := s.resume
	r.got = append(r.got, p...)
	if r.block {
		return
	}
	block, n, err := leg.ParseResume(r.got, s.resumeLimit())
	if err != nil {
		s.worker.g.log.Warn("refused a session that another gateway had begun", zap.Error(err))
		s.close(closeResume)
		return
	}
	if n == 0 {
		return
	}
	r.got, r.block = r.got[n:], true
	if s.cable != nil && s.share == nil {
		if block = s.resumeCable(block); !s.conn.Open() {
			return
		}
	} else if !block.Begun {
		block = leg.Resume{First: -1, Topics: []leg.Standing{{Name: r.topic, Asked: true, Position: r.since}}}
	}
	r.rest = block.Topics
	if block.First >= 0 {
		t := block.Topics[block.First]
		r.rest = append(block.Topics[:block.First:block.First], block.Topics[block.First+1:]...)
		r.first, r.from = s.sub(t.Name, r.topic), t.Position
		s.follow(r.first, t)
	}
	s.goOn()
}

// sub is a place for the subscription to a topic: first, that of the connect URL, has its own.
func (s *session) sub(topic, first string) *sub {
	if topic == first && s.topic.session == nil && s.cable == nil {
		s.topic.first = true
		return &s.topic
	}
	sub := &sub{}
	s.more = append(s.more, sub)
	return sub
}

// follow goes on with a subscription.
func (s *session) follow(sub *sub, t leg.Standing) {
	sub.greeted = !t.Asked
	if s.cable != nil {
		sub.history = s.historyOf(t)
	}
	s.subscribe(sub, t.Name, t.Position, sub.greeted || t.Position != zeroPosition)
}

// goOn lets the session go on, once nothing is in the way any more.
func (s *session) goOn() {
	r := s.resume
	if r == nil || !r.block || s.blocked() || r.first != nil && r.first.last == r.from {
		return
	}
	s.resume = nil // first: to follow a topic may lead here again
	// Its client may have been told that a topic is stale, or not know yet.
	s.nextBeat = min(s.nextBeat, s.worker.loop.Now()+s.worker.g.cfg.firstBeat.Milliseconds())
	for _, t := range r.rest {
		if s.conn.Open() && s.find(t.Name) == nil {
			s.follow(s.sub(t.Name, r.topic), t)
		}
	}
	if s.cable != nil && s.conn.Open() && !s.closing {
		s.confirm()
		s.subs(s.historyDone)
	}
	if s.worker.telling == 0 {
		s.tellPolicy()
	}
	s.subs((*sub).beginViewers)
	switch {
	case len(r.got) == 0 || !s.conn.Open() || s.closing:
	case s.share != nil:
		s.represent(r.got)
	case s.format != formatSSE:
		s.frames(r.got)
	}
	s.subs((*sub).offerFeed)
}
