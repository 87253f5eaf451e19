package gateway

import (
	"errors"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/leg"
)

// Sessions of Action Cable whose clients call a topic by the same identifiers, and are pinged at the same pace, get the same bytes: a
// router may serve them from a feed, which is a session with just these identifiers. What else is theirs alone it keeps: see
// cable_note.go.

// offered is of what a class has made an offer.
type offered struct {
	topic *topic
	pace  cablePace
}

// maxNames bounds what a feed's ticket has of identifiers, in bytes: routers take no ticket above 4 KiB.
const maxNames = 3 << 10

// offerClass is the offer of a subscription of Action Cable; nil as long as nobody else has it under the same identifiers, or its
// client is still to be told something.
func (s *sub) offerClass() []byte {
	c, class := s.session.cable, s.class
	if class.uses < 2 || len(class.names()) > maxNames || s.history != nil || c.holdUntil != 0 ||
		slices.ContainsFunc(c.list, func(o *cableSub) bool { return o.pending || !o.confirmed }) {
		return nil
	}
	of := offered{s.feed.topic, c.pace}
	o := class.offers[of]
	if o == nil {
		o = &offer{}
		if class.offers == nil {
			class.offers = make(map[offered]*offer)
		}
		class.offers[of] = o
	}
	return o.bodyOf(s.feed.worker, leg.Ticket{Format: uint8(class.format), Topic: s.feed.topic.name, Extra: feedCable + c.pace.String(), Grant: class.names()})
}

// represent makes c that of a feed: it follows the topic under the identifiers of those for whom it stands.
func (c *cable) represent(req *request) {
	c.welcomed = true
	if req.names == "" {
		return
	}
	for id := range strings.SplitSeq(req.names, nameEnd) {
		c.list = append(c.list, &cableSub{identifier: id, topics: []string{req.topic}, note: c.freeNote(), confirmed: true})
	}
}

// sweepCable looks after a session of Action Cable.
func (s *session) sweepCable(now int64) {
	if s.cable == nil {
		return
	}
	s.pingCable(now)
	s.releaseAll(now)
	if s.takesFeeds {
		s.subs((*sub).offerFeed) // there may be others like it now
	}
}

// left keeps what a session was subscribed to that has ended while its router served it from a feed.
func (s *session) left(ticket, resume []byte) {
	g := s.worker.g
	t, err := g.deps.Keys.Open(ticket)
	r, n, bad := leg.ParseResume(resume, s.resumeLimit())
	if err != nil || bad != nil || n == 0 {
		g.metrics.unkept.Add(1)
		g.log.Warn("a router tells of the end of a session that is not understood: do all gateways have the same secrets?", zap.Error(errors.Join(err, bad)))
		return
	}
	if format(t.Format) != formatCableExt {
		return
	}
	k := &leftBehind{session: t.Session}
	notes, _ := takeNotes(r)
	for _, n := range sortedNotes(notes) {
		if sub, ok := notes[n].sub(); ok && n != welcomeNote && n < maxNote/2 && !notes[n].asked {
			k.Subs = append(k.Subs, sub)
		}
	}
	if len(k.Subs) > 0 {
		g.keep(k)
	}
}
