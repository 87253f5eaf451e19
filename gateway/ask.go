package gateway

import (
	"bufio"
	"bytes"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// A router that has a feed asks there for more sessions of its topic: each is a handshake as on a leg, and the answer is all that a session's leg would
// bring up to where it is parked. What it takes to say so must be at hand; for everything else the router is told to open a leg.

// asker reads the handshakes of one loop. Its zero value is ready to use.
type asker struct {
	ctx  fasthttp.RequestCtx
	from bytes.Reader
	buf  *bufio.Reader
}

// read reads a handshake. What it returns is valid until the next one.
func (a *asker) read(request []byte) (*fasthttp.RequestCtx, error) {
	a.from.Reset(request)
	if a.buf == nil {
		a.buf = bufio.NewReaderSize(nil, leg.MaxAsk)
	}
	a.buf.Reset(&a.from)
	a.ctx.Request.Reset()
	if err := a.ctx.Request.Header.Read(a.buf); err != nil {
		return nil, err
	}
	withoutBody(&a.ctx.Request.Header)
	return &a.ctx, nil
}

// asked answers the router of a feed that asks for a session.
func (s *session) asked(id uint32, request []byte) {
	if !s.conn.Open() || s.closing {
		return
	}
	g, at := s.grantAsked(request)
	if g.ID = id; g.Begins {
		s.worker.g.metrics.granted.Add(1)
	} else {
		s.worker.g.metrics.sentOn.Add(1)
	}
	h := leg.Header{Kind: leg.Granted, Position: at}
	if g.Begins {
		h.Flags = s.topic.feed.topic.strict()
	}
	s.control(leg.AppendRecord(nil, h, leg.AppendGrant(nil, g)))
}

// grantAsked is the beginning of the session that is asked for, and where its client stands; an empty grant when it has to come on a leg.
func (s *session) grantAsked(request []byte) (leg.Grant, position.Position) {
	w, own, none := s.worker, &s.topic, leg.Grant{}
	g := w.g
	if own.feed == nil || own.state != subLive || s.blocked() || s.resume != nil {
		return none, own.last
	}
	ctx, err := w.asker.read(request)
	if err != nil {
		g.log.Debug("a router asks for a session by what is no request", zap.Error(err))
		return none, own.last
	}
	req, no := g.parse(ctx)
	if no != nil || !req.onLeg || !req.takesFeeds || req.viewers || s.viewers || req.preflight != nil || req.topic != own.feed.topic.name ||
		req.format != s.format || g.demands(req.topic) != 0 {
		return none, own.last // a leg is where that is understood, refused, and seen to
	}
	at := own.last
	if req.resumed {
		at = req.since
	}
	if !own.reaches(at) || g.admit(req) != nil {
		return none, at
	}
	g.release() // it is parked from the first on
	sealed := g.deps.Keys.Seal(req.asTicket())
	req.onLeg = false // the head is the client's
	one := &session{worker: w, id: req.session, format: req.format}
	first := encodeGreeting(one, &sub{session: one, feed: own.feed, first: true, last: at})
	g.metrics.opened[req.format].Add(1)
	return leg.Grant{Begins: true, Policy: w.policy.version, Ticket: sealed, Head: g.answerHead(ctx, req), First: first}, at
}

// reaches reports whether what follows p is in memory, up to where the subscription stands.
func (s *sub) reaches(p position.Position) bool {
	t := s.feed.topic
	t.slot.mu.Lock()
	defer t.slot.mu.Unlock()
	if !t.slot.warm || p.Epoch != t.slot.at.Epoch || p.Epoch != s.last.Epoch || s.last.ID.Less(p.ID) {
		return false
	}
	_, ok := t.log.Seek(p.ID)
	return ok
}
