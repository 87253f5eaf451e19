package router

import (
	"bytes"
	"slices"
	"unique"

	"github.com/ringside-edge/ringside/internal/fault"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// home is what a session on a leg needs to go on at another gateway: the sealed ticket, and where the client stands in
// every topic that it follows. It belongs to the session's loop.
type home struct {
	shard  *shard
	ticket []byte
	topics []standing // notes of the gateway's ([leg.IsNote]) stand behind the topics
	move   *move      // under way; nil as a rule
	until  int64      // when it needs a leg of its own at the latest, Unix ms; 0: never

	spoke    ticks  // when its client last said something
	renew    ticks  // parked: when it gets a leg for the sake of its ticket
	told     uint32 // version of the backoff policy that the client knows; 0: not known
	patience uint16 // for how long a client must have said nothing for the session to be parked, in ticks
	begun    bool   // a gateway has told of topics
	counted  bool   // as one of the shard's sessions
	farewell bool   // its gateways want to be told when they lose it to another one
	strict   bool   // its feeds serve it only as long as it keeps up
}

// newHome is the home of a session that has been given this ticket, and whose client knows of that version of the policy.
func (r *Router) newHome(sh *shard, ticket []byte, told uint32) *home {
	return &home{shard: sh, ticket: ticket, told: told, patience: parkPatience(r.cfg.ParkAfter)}
}

// count counts the session as one of its shard's, or no longer.
func (h *home) count(is bool) {
	if h.counted == is {
		return
	}
	h.counted = is
	h.shard.book.held.Add(int64(2*oneIf(is) - 1))
}

// standing is where a session stands in a topic: everything up to the position has been handed to the client.
type standing struct {
	name unique.Handle[string]
	at   position.Position
	feed *feed  // that the gateway has offered; nil for none
	next uint64 // parked: index of what comes next in the feed's log

	num    uint32 // that this leg's gateway has given to it; 0: not told yet
	place  int32  // joined: in feed.members
	asked  bool   // the client does not know yet that it follows the topic
	joined bool   // it is one of the feed's members
}

// LegTopic implements leg.Sink.
func (s *session) LegTopic(h leg.Header, name []byte) {
	s.w.counts.records[recordTopic].add(1)
	home := s.home
	if home == nil {
		return
	}
	if h.Flags&leg.Off != 0 {
		home.topics = slices.DeleteFunc(home.topics, func(t standing) bool {
			if t.num == h.Topic {
				t.renounce()
			}
			return t.num == h.Topic
		})
		return
	}
	home.begun = true
	t := standing{name: unique.Make(string(name)), num: h.Topic, asked: h.Flags&leg.Asked != 0, at: h.Position}
	for i := range home.topics {
		if home.topics[i].name == t.name {
			home.topics[i].renounce()
			home.topics[i] = t
			return
		}
	}
	home.follow(t)
}

// follow takes a topic in, or a note.
func (h *home) follow(t standing) {
	if h.topics == nil {
		h.topics = make([]standing, 0, 1) // as a rule it stays at that
	}
	at := len(h.topics)
	for !t.isNote() && at > 0 && h.topics[at-1].isNote() {
		at--
	}
	h.topics = slices.Insert(h.topics, at, t)
}

// isNote reports whether it is something that is only to be given back.
func (t *standing) isNote() bool { return leg.IsNote(t.name.Value()) }

// notes reports whether there is something of that kind.
func (h *home) notes() bool { return len(h.topics) > 0 && h.topics[len(h.topics)-1].isNote() }

// LegPosition implements leg.Sink.
func (s *session) LegPosition(topic uint32, p position.Position) {
	s.w.counts.records[recordPosition].add(1)
	if s.home == nil {
		return
	}
	if fault.Enabled && fault.Hit(fault.Position, 100) {
		return
	}
	for i := range s.home.topics {
		if t := &s.home.topics[i]; t.num == topic {
			t.at, t.asked = p, false
			return
		}
	}
}

// LegAck implements leg.Sink.
func (s *session) LegAck(n uint64) {
	up := s.upstream
	if s.home == nil || n <= up.acked {
		return
	}
	if !s.acknowledged(n - up.acked) {
		s.flags |= legBroken
	}
	up.acked = n
}

// LegTold implements leg.Sink.
func (s *session) LegTold(version uint32) {
	if s.home != nil {
		s.home.told = version
	}
}

// LegMove implements leg.Sink.
func (s *session) LegMove() {
	s.w.counts.records[recordMove].add(1)
	if s.movable() {
		s.lookForHome(moveDrain)
	}
}

// LegRenew implements leg.Sink.
func (s *session) LegRenew(sealed []byte) {
	s.w.counts.records[recordRenew].add(1)
	if s.home != nil {
		s.home.ticket = bytes.Clone(sealed)
	}
}

// sayFarewell tells the gateway, where it wants to know, that the session is not over but goes on elsewhere. A socket that takes
// nothing any more is not waited for.
func (s *session) sayFarewell() {
	if s.home.farewell && s.upstream.Open() {
		w := leg.Farewell(s.home.ticket)
		_, _ = s.upstream.Write(w[:]) // it is best effort
	}
}

// LegEnd implements leg.Sink.
func (s *session) LegEnd() {
	s.w.counts.records[recordEnd].add(1)
	s.flags |= legEnded
}

// LegUnknown implements leg.Sink.
func (s *session) LegUnknown(leg.Kind) { s.w.counts.records[recordUnknown].add(1) }

// lost notes that the leg is gone, perhaps with a message half way to the client.
func (s *session) lost() {
	if s.upstream != noUplink {
		s.keepHalf()
		s.upstream.strip.NextLeg()
		s.upstream.acked = 0
	}
	for i := range s.home.topics {
		s.home.topics[i].num = 0
	}
}

// keepHalf notes the topic of the message that is half way. The strip says 0 for one that the leg has not begun anew.
func (s *session) keepHalf() {
	up := s.upstream
	num, half := up.strip.Half()
	if !half {
		up.half = unique.Handle[string]{}
		return
	}
	for i := range s.home.topics {
		if t := &s.home.topics[i]; num != 0 && t.num == num {
			up.half = t.name
		}
	}
}

// resume is what the next gateway is told of the session.
func (s *session) resume() leg.Resume {
	h := s.home
	r := leg.Resume{Begun: h.begun, First: -1, Topics: make([]leg.Standing, len(h.topics))}
	for i, t := range h.topics {
		r.Topics[i] = leg.Standing{Name: t.name.Value(), Position: t.at, Asked: t.asked}
		if t.name == s.upstream.half {
			r.First = i
			r.Topics[i].Position, _ = s.upstream.strip.From()
		}
		if fault.Enabled && fault.Hit(fault.Epoch, 50) {
			r.Topics[i].Position.ID.Ms += 1 << 32
		}
	}
	return r
}
