package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ringside-edge/ringside/gateway/auth"
)

// A session of the extended protocol whose client goes without a word may come back under its ID: what it was subscribed to is kept
// for a while, so that neither it nor the application has to say so again. What it has missed it asks for by history. When nothing
// is kept, it subscribes anew, and misses nothing either.
const (
	keepFor     = 5 * time.Minute
	keepQueue   = 4096        // sessions that wait to be kept
	keepWriters = 4           // that are being kept
	restoreTime = time.Second // for Redis to say what is kept
	holdFor     = 3000        // how long a subscription that was restored waits for its client's history, ms
)

// leftBehind is what is kept of a session.
type leftBehind struct {
	session uint64
	Name    string     `json:"n,omitempty"` // of its client
	Subs    []noteText `json:"s"`
}

// nameOf is the client's name by its grant.
func nameOf(g *auth.Grant) string {
	switch {
	case g == nil:
		return ""
	case g.App != nil:
		return g.App.Identifiers
	}
	return g.Identity
}

func keepName(sid string) string { return "cable:" + sid }

// keep has what the session is subscribed to kept, if its client may come back for it. More than fit are not.
func (s *session) keep(reason closeReason) {
	c, g := s.cable, s.worker.g
	if c == nil || s.share != nil || s.wasParked || s.format != formatCableExt || s.closing || s.goBy > 0 || s.offered > 0 || len(c.list) == 0 ||
		reason != closeClient && reason != closeError && reason != closeGone {
		return
	}
	k := &leftBehind{session: s.id, Name: nameOf(s.grant())}
	for _, sub := range c.list {
		if sub.confirmed {
			k.Subs = append(k.Subs, noteText{Identifier: sub.identifier, Topics: sub.topics, State: sub.state})
		}
	}
	g.keep(k)
}

func (g *Gateway) keep(k *leftBehind) {
	select {
	case g.keeps <- k:
	default:
		g.metrics.unkept.Add(1)
	}
}

// runKeeps keeps what there is to keep, until ctx ends.
func (g *Gateway) runKeeps(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case k := <-g.keeps:
			b, err := json.Marshal(k)
			if err == nil {
				err = g.stream.Keep(ctx, keepName(fmt.Sprintf("%016x", k.session)), b, keepFor)
			}
			if err != nil {
				g.metrics.unkept.Add(1)
			}
		}
	}
}

// restore finds what is kept of the session that a client names. Whoever the client is has been found out before: of another's it gets
// nothing.
func (g *Gateway) restore(ctx *fasthttp.RequestCtx, req *request) {
	sid := string(ctx.QueryArgs().Peek("sid"))
	if sid == "" {
		sid = string(ctx.Request.Header.Peek("X-ANYCABLE-RESTORE-SID"))
	}
	if _, err := strconv.ParseUint(sid, 16, 64); err != nil || req.format != formatCableExt || len(sid) != 16 || req.refused != nil {
		return
	}
	limit, cancel := context.WithTimeout(g.ctx, restoreTime)
	defer cancel()
	b, err := g.stream.Take(limit, keepName(sid))
	var k leftBehind
	if err != nil || b == nil || json.Unmarshal(b, &k) != nil || k.Name != nameOf(req.grant) || len(k.Subs) > g.cfg.MaxTopics {
		return
	}
	req.restored = k.Subs
}

// restoreSubs takes subscriptions up again. They are followed once the client says from where, or after a while.
func (s *session) restoreSubs(list []noteText) (ids []string) {
	for _, t := range list {
		if s.cable.find(t.Identifier) != nil || s.cableRoom(t.Topics...) != "" {
			continue
		}
		sub := &cableSub{identifier: t.Identifier, topics: t.Topics, state: t.State, confirmed: true, held: true, note: s.cable.freeNote()}
		names, ok := noteParts(0, sub.text())
		if !ok {
			continue
		}
		sub.parts = len(names)
		s.cable.add(sub)
		s.tellNote(sub.note, sub.text(), false)
		ids = append(ids, sub.identifier)
	}
	if len(ids) > 0 {
		s.worker.g.metrics.restored.Add(1)
		s.cable.holdUntil = s.worker.loop.Now() + holdFor
	}
	return ids
}

// release follows what a subscription that was restored has waited to follow, and reports whether some of what its client asks for can't be
// had.
func (s *session) release(sub *cableSub, h *cableHistory) (lost bool) {
	if !sub.held {
		return false
	}
	sub.held = false
	for _, topic := range sub.topics {
		if s.conn.Open() && !s.closing && s.find(topic) == nil {
			lost = s.cableFollow(topic, h) || lost
		}
	}
	if s.conn.Open() && !s.closing {
		s.renote(sub)
	}
	return lost
}

// releaseAll follows what clients have not asked for in time.
func (s *session) releaseAll(now int64) {
	c := s.cable
	if c.holdUntil == 0 || now < c.holdUntil || s.resume != nil || s.blocked() {
		return
	}
	c.holdUntil = 0
	for i := 0; i < len(c.list); i++ { // a note that is renewed has another place
		if c.list[i].held {
			s.release(c.list[i], nil)
			i = -1
		}
		if !s.conn.Open() || s.closing {
			return
		}
	}
}
