package gateway

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/topicrule"
	"github.com/ringside-edge/ringside/leg"
)

// A router that has many sessions of one topic need not be sent every message once for each: it is offered a feed, which is a session
// like any other, but the router's own, and from which the router serves its clients. A session that it serves so has no leg, and is
// unknown here until it needs one again; then it comes as if it had been at another gateway.

// share is what a feed is beside a session.
type share struct {
	members leg.Members // sessions that the router serves from it
	words   leg.Words   // what the router says
}

// feedExtras are the Extra of a feed's ticket: of those whose clients don't ask how many follow the topic, and of those who do.
var feedExtras = [2]string{"feed", "feed viewers"} //nolint:gochecknoglobals // a constant

// feedCable begins that of a feed of Action Cable; the pace of its pings follows. Where other tickets have a grant it has what its clients
// call the topic.
const feedCable = "feed cable "

// isFeed reports whether a ticket is a feed's.
func isFeed(t *leg.Ticket) bool {
	return slices.Contains(feedExtras[:], t.Extra) || strings.HasPrefix(t.Extra, feedCable)
}

func newShare(req *request) *share {
	if !req.feed {
		return nil
	}
	return &share{}
}

// offerFor is how long an offer's ticket is given out, ms: so that it is sealed with a secret that is not on its way out.
const offerFor = 10_000

// offer is what routers are offered of a topic in one format.
type offer struct {
	body []byte
	made int64 // loop time, ms
}

// bodyOf is the offer of a feed with this ticket, whose Session is still to be found.
func (o *offer) bodyOf(w *worker, t leg.Ticket) []byte {
	if now := w.loop.Now(); o.body == nil || now > o.made+offerFor {
		t.Session = feedKey(&t)
		*o = offer{leg.AppendOffer(nil, leg.Offer{Key: t.Session, Ticket: w.g.deps.Keys.Seal(t)}), now}
	}
	return o.body
}

// offerBody is that of the feed's topic, for sessions like this one.
func (f *feed) offerBody(s *session) []byte {
	extra := 0
	if s.viewers {
		extra = 1
	}
	return f.offers[s.format][extra].bodyOf(f.worker, leg.Ticket{Format: uint8(s.format), Topic: f.topic.name, Extra: feedExtras[extra]})
}

// feedKey is the same at all gateways.
func feedKey(t *leg.Ticket) uint64 {
	text := "ringside " + t.Extra + " " + format(t.Format).String() + " " + t.Topic
	if t.Grant != "" {
		text += " " + t.Grant
	}
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:])
}

// offerFeed tells the router, once, that it may serve the subscription itself. Not so of sessions of whose end an application wants to hear.
func (s *sub) offerFeed() {
	ses := s.session
	if s.offered || s.feed == nil || !ses.takesFeeds || s.state != subLive || !s.greeted || ses.blocked() || ses.resume != nil {
		return
	}
	if ses.grant().Owes() {
		return
	}
	body := s.offer()
	if body == nil {
		return
	}
	s.offered = true
	h := leg.Header{Kind: leg.Feed, Topic: s.feed.topic.num}
	if g := ses.grant(); g != nil && g.Expires != 0 {
		h.Position.ID.Ms = uint64(g.Expires) * 1000
	}
	h.Flags = s.feed.topic.strict()
	ses.control(leg.AppendRecord(nil, h, body))
}

// offer is the body of the feed's offer; nil where there is nothing to offer for now.
func (s *sub) offer() []byte {
	if s.class != nil {
		return s.offerClass()
	}
	return s.feed.offerBody(s.session)
}

// withdraw has the router forget what it was offered, because the session gets something else from now on.
func (s *sub) withdraw() {
	if !s.offered {
		return
	}
	s.offered, s.told = false, false
	s.tell(s.last)
}

// strict says by a flag whether a router may serve those from a feed who do not keep up.
func (t *topic) strict() leg.Flags {
	if t.rule.Slow == topicrule.SlowGap {
		return 0
	}
	return leg.Strict
}

// offerAnew tells the router what has changed about until when it may serve the subscriptions itself.
func (s *session) offerAnew() {
	s.subs(func(sub *sub) {
		sub.offered = false
		sub.offerFeed()
	})
}

// weight is for how many sessions the session stands.
func (s *session) weight() int64 {
	if s.share == nil {
		return 1
	}
	return int64(s.share.members.All)
}

// sent counts messages that the session was handed, in one call when bytes is not 0: those of a feed for each session that it stands for.
func (s *session) sent(messages, bytes int) { s.worker.counts.sent(messages*int(s.weight()), bytes) }

// represent takes what the router of a feed says: for how many sessions it stands, and that it asks for more.
func (s *session) represent(p []byte) {
	was, sh := s.share.members, s.share
	if err := sh.words.Take(p, (*listener)(s)); err != nil {
		s.worker.g.log.Warn("a router says on a feed what is not understood", zap.Error(err))
		s.close(closeResume)
		return
	}
	if sh.members == was {
		return
	}
	s.subs(func(sub *sub) {
		sub.feed.topic.subscribed.Add(int64(sh.members.All) - int64(was.All))
		s.worker.g.counts.note(sub.feed.topic)
	})
	s.worker.g.metrics.closed[closeAtRouter].Add(uint64(sh.members.Ended - was.Ended))
	s.worker.counts.shared.Add(uint64(sh.members.Firsts) - uint64(was.Firsts))
}

// listener is the session of a feed to what its router says.
type listener session

// FeedMembers implements leg.Listener.
func (l *listener) FeedMembers(m leg.Members) { l.share.members = m }

// FeedAsked implements leg.Listener.
func (l *listener) FeedAsked(id uint32, request []byte) { (*session)(l).asked(id, request) }

// FeedLeft implements leg.Listener.
func (l *listener) FeedLeft(ticket, resume []byte) { (*session)(l).left(ticket, resume) }
