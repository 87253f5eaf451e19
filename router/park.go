package router

import (
	mathrand "math/rand/v2"
	"time"

	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// A session that only listens needs no leg: it is parked, and served from the feeds of its topics. When its client says something, or
// falls behind, it gets a leg again, as if its gateway had been lost, and the feeds go on serving it until it has that.

// unparkReason says why a session needs a leg again; it is the label of ringside_router_unparked_total.
type unparkReason uint8

const (
	unparkSpoke  unparkReason = iota // its client has said something
	unparkBehind                     // it does not keep up, or the feed does not reach back to where it stands
	unparkExpiry                     // its gateway wants it back at this time: its token expires
	unparkFeed                       // the feed has ended
	unparkRenew                      // its ticket may be sealed with a secret that is on its way out
	unparkReasons
)

func (r unparkReason) String() string {
	return [unparkReasons]string{"spoke", "behind", "expiry", "feed", "renew"}[r]
}

// maxControls is how many of them are at once.
const maxControls = 4

// minChatter is how far apart the pings and pongs of a parked session's client must be to be answered here, in ticks: half a second.
const minChatter = 500 >> 7

// maxPatience bounds for how long a client that keeps saying something must have been silent to be parked again, in ticks: 4 minutes.
const maxPatience = 4 * 60 * 1000 >> 7

// maxParked is how long a session is parked at a time, in ticks: a quarter of an hour. It is with a gateway now and then, as one on a leg
// is whenever gateways are restarted, so that the ticket it has is of a secret that is still in use. See "Rotation" in docs/OPERATIONS.md.
const maxParked = 15 * 60 * 1000 >> 7

// mindParked looks after a parked session.
func (s *session) mindParked(now ticks) {
	switch {
	case s.home.move != nil:
	case s.outstays():
		s.unpark(unparkExpiry)
	case now > s.home.renew:
		s.unpark(unparkRenew)
	default:
		s.mindFeeds()
	}
}

// LegFeed implements leg.Sink.
func (s *session) LegFeed(h leg.Header, o leg.Offer) {
	s.w.counts.records[recordFeed].add(1)
	if s.home == nil || s.w.r.cfg.NoFeeds {
		return
	}
	for i := range s.home.topics {
		t := &s.home.topics[i]
		if t.num != h.Topic || t.isNote() {
			continue
		}
		s.home.until, s.home.strict = int64(h.Position.ID.Ms), h.Flags&leg.Strict != 0
		if t.feed == nil {
			t.feed = s.w.feed(o, t.name, s.has(isWebSocket))
			if t.feed.claims >= s.w.r.cfg.FeedMin && !t.asked { // those who are about to come need no legs then
				t.feed.open(t.at, s.home.told)
			}
		}
		return
	}
}

// standing is where the session stands in a feed's topic.
func (s *session) standing(f *feed) *standing {
	for i := range s.home.topics {
		if t := &s.home.topics[i]; t.feed == f {
			return t
		}
	}
	panic("BUG: router: a feed has a member that does not follow its topic")
}

// renounce takes back that the session may be parked on the topic's feed.
func (t *standing) renounce() {
	if t.feed != nil {
		t.feed.release()
		t.feed = nil
	}
}

// mayPark parks the session if it has nothing to do but to listen, or sees to it that there is something to listen to.
func (s *session) mayPark(now ticks) {
	h := s.home
	const busy = parked | homeless | ending | leaving | clientEnded | upstreamEnded | upstreamDeaf | legEnded | legBroken
	if h == nil || s.has(busy) || s.waiting != nil || h.move != nil || len(h.topics) == 0 || now-h.spoke < ticks(h.patience) || s.outstays() {
		return
	}
	if _, half := s.upstream.strip.Half(); half {
		return
	}
	ready := true
	for i := range h.topics {
		t := &h.topics[i]
		switch {
		case t.asked || t.feed == nil && (i == 0 || !t.isNote()):
			return
		case t.feed == nil: // a note
		case !t.feed.serves(t.at, h.told):
			t.feed.open(t.at, h.told)
			ready = false
		}
	}
	if ready {
		s.park()
	}
}

// park lets go of the leg, and says so.
func (s *session) park() {
	w := leg.Farewell(s.home.ticket)
	_, _ = s.upstream.Write(w[:]) // it is best effort
	s.upstream.Close()
	s.home.count(false)
	s.lost()
	s.flags &^= isLegTLS
	s.beParked()
}

// beParked makes the session a member of its feeds.
func (s *session) beParked() {
	s.upstream = noUplink
	s.setParked(true)
	s.home.renew = s.w.now() + maxParked/2 + mathrand.N[ticks](maxParked/2)
	for i := range s.home.topics {
		t := &s.home.topics[i]
		if t.feed == nil {
			return // the rest are notes
		}
		t.feed.join(s, t)
		if !s.client.Open() || !s.has(parked) {
			return
		}
	}
}

// setParked notes whether the session is parked.
func (s *session) setParked(is bool) {
	was := s.load()
	s.flags ^= parked
	s.settle(was)
	s.w.counts.parked.add(uint64(2*oneIf(is) - 1))
}

// outstays reports whether the session is about to need a leg of its own, or does already.
func (s *session) outstays() bool {
	const margin = 5000 // ms: for the gateway to end it in time, or to hear of another token
	return s.home != nil && s.home.until != 0 && s.w.r.now().UnixMilli() > s.home.until-margin
}

// unpark looks for a leg. Until there is one the feeds go on.
func (s *session) unpark(why unparkReason) {
	if s.home.move != nil || s.has(ending) {
		return
	}
	if why == unparkSpoke {
		s.home.patience = min(2*s.home.patience, maxPatience)
	}
	s.w.r.metrics.unparked[why].Add(1)
	s.lookForHome(moveUnpark)
}

// leaveFeeds ends that the session is parked, if it is.
func (s *session) leaveFeeds() {
	if !s.has(parked) {
		return
	}
	s.setParked(false)
	for i := range s.home.topics {
		if t := &s.home.topics[i]; t.joined {
			t.feed.leave(s, t)
		}
	}
}

// endParked has the gateway told, who knows nothing of it, that a parked session ends.
func (s *session) endParked() {
	if !s.has(parked) {
		return
	}
	f := s.home.topics[0].feed
	f.ended++
	if s.home.notes() {
		f.tellLeft(s)
	}
}

// mindFeeds sees to it that a parked session has feeds.
func (s *session) mindFeeds() {
	for i := range s.home.topics {
		if t := &s.home.topics[i]; t.feed != nil {
			t.feed.open(t.at, s.home.told)
		}
	}
}

// renounceAll takes back that the session may be parked.
func (s *session) renounceAll() {
	for i := range s.home.topics {
		s.home.topics[i].renounce()
	}
}

// catchUp hands on what a parked session's feeds have for it, once its socket takes something again.
func (s *session) catchUp() {
	for i := 0; s.client.Open() && s.has(parked) && i < len(s.home.topics); i++ {
		if t := &s.home.topics[i]; t.joined && t.next != unplaced {
			t.feed.catchUp(s, t)
		}
	}
}

// spoke notes that the client of a session on a leg, or of one that is parked, has said b. What is not for the gateway is answered
// here; the rest is left.
func (s *session) spoke(b []byte) (left []byte) {
	h, now := s.home, s.w.now()
	if !s.has(parked) && h.notes() && wsframe.Says(b, cablePong) == len(b) {
		return b
	}
	often := now-h.spoke < minChatter
	h.spoke = now
	if s.has(parked) && s.waiting == nil && !often { // else its gateway may find that it sends too much
		for range maxControls {
			op, payload, n := wsframe.ClientControl(b)
			if n == 0 && h.notes() {
				n = wsframe.Says(b, cablePong)
			}
			if n == 0 {
				break
			}
			if op == wsframe.Ping && !s.writeDown(wsframe.AppendFrame(nil, wsframe.Pong, payload)) {
				return nil
			}
			b = b[n:]
		}
	}
	if len(b) == 0 {
		return nil
	}
	if s.has(parked) {
		s.unpark(unparkSpoke)
	}
	return b
}

// cablePong is what clients of Action Cable may answer a ping by: it is a sign of life, and no word.
const cablePong = `{"command":"pong"}`

// parkPatience is a time in ticks, as home keeps it.
func parkPatience(d time.Duration) uint16 {
	return uint16(min(max(1, ticksOf(d.Milliseconds())), maxPatience))
}

// packFeeds adds to a state by which offers the session was parked. To a successor that does not know of feeds it is without a
// gateway.
func (s *session) packFeeds(st *sessionState) {
	st.Flags |= homeless
	st.Home.Strict, st.Home.Until = s.home.strict, s.home.until
	for _, t := range s.home.topics {
		var f feedState // that of a note
		if t.feed != nil {
			f = feedState{t.feed.offered, t.feed.home.ticket}
		}
		st.Home.Feeds = append(st.Home.Feeds, f)
	}
}

// takesParked reports whether a session of this state goes on as it was, parked.
func (r *Router) takesParked(st *sessionState) bool {
	return st.Home != nil && len(st.Home.Feeds) > 0 && !r.cfg.NoFeeds
}

// unpackFeeds parks a session that was parked at a predecessor. It reports whether it is.
func (s *session) unpackFeeds(st *sessionState) bool {
	if !s.w.r.takesParked(st) {
		return false
	}
	for i := range s.home.topics {
		t, o := &s.home.topics[i], st.Home.Feeds[i]
		if t.isNote() {
			continue
		}
		t.feed = s.w.feed(leg.Offer{Key: o.Key, Ticket: o.Ticket}, t.name, s.has(isWebSocket))
	}
	s.beParked()
	if s.client.Open() && s.has(parked) {
		s.mindFeeds()
	}
	if s.unsent() > 0 {
		s.unpark(unparkSpoke)
	}
	return true
}
