package router

import (
	"bytes"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/leg"
)

// A client that comes for a topic of which its loop has a feed needs no leg to begin with: the feed's gateway is asked on the feed, and what it grants is
// a session that is parked there. What the gateway leaves to a leg gets one.

// feedName is what a handshake says of the feed that it may be asked for on. That it is the right one its gateway knows.
type feedName struct {
	topic     uint32 // ring.Key
	websocket bool
}

func (f *feed) name() feedName { return feedName{f.key, f.websocket} }

// After so many asks in a row that were not granted a feed is not asked for some time, in ticks: those who come want something that it does not have,
// another format perhaps.
const (
	mostVain  = 8
	vainPause = 5000 >> 7
)

// mostSaid bounds what waits for a feed's gateway to be taken, in bytes: above it nobody is asked for.
const mostSaid = 64 << 10

// ask asks for a greeting's session. It reports whether that is under way, or has come to an end already.
func (f *feed) ask(g *greeting) bool {
	if len(f.out) > mostSaid || f.w.now() < f.rest {
		return false
	}
	w := f.w
	w.out = g.ask.hs.appendRequest(w.out[:0], w.r.deps.Keys, true, time.Now())
	if len(w.out) > leg.MaxAsk {
		return false
	}
	f.asked++
	g.stage, g.feed, g.asked = stageFeed, f, f.asked
	f.asks[f.asked] = g
	g.waitFor(earlier(g.ask.hs.deadline, time.Now().Add(w.r.cfg.DialTimeout)))
	f.say(leg.AppendAsk(nil, f.asked, w.out))
	return true
}

// forgetAsks has the sessions that were asked for come on legs.
func (f *feed) forgetAsks() {
	if f.asks == nil {
		return
	}
	if f.w.asking[f.name()] == f {
		delete(f.w.asking, f.name())
	}
	asks := f.asks
	f.asks = nil
	for _, g := range asks {
		g.askLeg()
	}
}

// granted takes in what the gateway says of an ask. The session of one that has taken too long has a leg meanwhile.
func (f *feed) granted(h leg.Header, body []byte) {
	grant, ok := leg.ParseGrant(body)
	g := f.asks[grant.ID]
	switch {
	case !ok:
		f.w.counts.badLegs.add(1)
		f.w.r.log.Warn("a gateway broke the protocol of a feed: a grant is malformed", zap.String("shard", f.home.shard.id))
	case g == nil:
	case !grant.Begins:
		delete(f.asks, grant.ID)
		if f.vain++; f.vain >= mostVain {
			f.vain, f.rest = 0, f.w.now()+vainPause
		}
		g.askLeg()
	default:
		delete(f.asks, grant.ID)
		f.vain = 0
		f.claims++
		g.beginParked(f, h, grant)
	}
}

// beginParked makes the client's connection a session that is parked on a feed, of which it has a claim.
func (g *greeting) beginParked(f *feed, h leg.Header, grant leg.Grant) {
	s, w := g.s, g.s.w
	s.flags, s.moved = isLeg, w.now()
	if g.ask.hs.websocket {
		s.flags |= isWebSocket
	}
	s.home = g.r.newHome(f.home.shard, bytes.Clone(grant.Ticket), grant.Policy)
	s.home.begun, s.home.strict, s.home.spoke = true, h.Flags&leg.Strict != 0, s.moved
	s.home.topics = []standing{{name: f.topic, at: h.Position, feed: f}}
	g.become(greetedFeed, func() {
		w.add(s)
		w.counts.opened[s.kind()].add(1)
		if s.writeDown(slices.Concat(grant.Head, grant.First)) {
			s.beParked()
		}
	})
}
