package router

import (
	"bytes"
	"errors"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// feedLeg is a feed's leg. It changes gateways as a session does, and its members wait meanwhile.
type feedLeg struct {
	conn  eventloop.Conn
	home  home
	num   uint32               // that the gateway has given to the topic; 0: it has not begun yet
	held  []byte               // a record that is not whole yet
	out   []byte               // what the gateway has not taken yet of what it is told
	asks  map[uint32]*greeting // sessions that it has been asked for, by the asks' numbers; nil where it can't be asked
	asked uint32               // the last number
	vain  int                  // asks in a row that were not granted
	rest  ticks                // nobody is asked for before
	said  leg.Members          // what the gateway knows of them
	ended uint32               // members that have ended
	moved ticks                // when something last came
	empty ticks                // since when there have been no members; 0 while there are
	again ticks                // not to be opened before
}

const (
	// feedLinger is how long a feed without members is kept open, and feedPause how long one that its gateway has ended is not opened
	// again, in ticks.
	feedLinger = 5000 >> 7
	feedPause  = 10000 >> 7
)

// live reports whether entries come, or would.
func (f *feed) live() bool { return f.conn.Open() && f.num != 0 }

// open opens the feed, if it is worth a leg and none is on its way, for a session that stands at p and whose client knows of this
// version of the policy.
func (f *feed) open(p position.Position, told uint32) {
	now := f.w.now()
	if f.conn.Open() || f.home.move != nil || len(f.members) == 0 && f.claims < f.w.r.cfg.FeedMin || now < f.again {
		return
	}
	if len(f.members) == 0 || f.at == (position.Position{}) { // else they go on where they stand
		f.clear(p.ID)
		f.at, f.next, f.left, f.home.told = p, f.log.First, 0, told
	}
	f.empty = now
	f.lookForHome(moveOpen)
}

// arrive implements mobile.
func (f *feed) arrive(m *move) {
	if m.shard == nil {
		f.home.endMove(f.w, movedNot)
		if !f.conn.Open() {
			f.abandon()
		}
		return
	}
	f.drop()
	if err := f.w.loop.Add(&f.conn, m.fd, f); err != nil { // closes it
		f.home.endMove(f.w, movedSuperseded)
		f.lookForHome(moveCrash)
		return
	}
	renewed := !bytes.Equal(m.ticket, f.home.ticket)
	f.home.succeeded(f.w, m)
	f.moved, f.said, f.ended = f.w.now(), leg.Members{}, 0
	if renewed { // the cluster's secret is being rotated, and what its members have is as old
		defer f.sendAway(unparkRenew)
	}
	f.w.counts.feeds.add(1)
	f.say(leg.AppendResume(nil, leg.Resume{
		Begun: true, First: -1, Topics: []leg.Standing{{Name: f.topic.Value(), Position: f.at}},
	}))
}

// sendAway gives the members legs of their own.
func (f *feed) sendAway(why unparkReason) {
	for i := len(f.members) - 1; i >= 0; i-- {
		f.members[i].unpark(why)
	}
}

// say writes to the gateway. What waits for it to be taken is bounded by [feed.ask] and [feed.tellLeft].
func (f *feed) say(b []byte) {
	n := 0
	if len(f.out) == 0 {
		var err error
		if n, err = f.conn.Write(b); err != nil {
			f.lost()
			return
		}
	}
	f.out = append(f.out, b[n:]...)
}

// flush says what has had to wait.
func (f *feed) flush() {
	n, err := f.conn.Write(f.out)
	if err != nil {
		f.lost()
		return
	}
	if f.out = f.out[n:]; len(f.out) == 0 {
		f.out = nil
	}
}

// lookForHome begins a move, in place of one that is under way for a lesser reason.
func (f *feed) lookForHome(reason moveReason) { f.moveTo(nil, reason) }

// moveTo begins a move to a shard that has been chosen already.
func (f *feed) moveTo(to *shard, reason moveReason) { f.home.begin(f.w, f, f.key, to, reason) }

// begun is called when the gateway goes on with the topic.
func (f *feed) begun(h leg.Header) {
	f.num = h.Topic
	if h.Flags&leg.TakesAsks != 0 && f.asks == nil {
		f.asks = make(map[uint32]*greeting)
		f.w.asking[f.name()] = f
	}
	// Backwards, because one that ends makes room for the last one.
	for i := len(f.members) - 1; i >= 0; i-- {
		s := f.members[i]
		if t := s.standing(f); t.next == unplaced {
			f.place(s, t)
		}
	}
}

// Ready implements eventloop.Handler.
func (f *feed) Ready(_ *eventloop.Conn, ev eventloop.Event) {
	if ev&eventloop.Writable != 0 && len(f.out) > 0 {
		f.flush()
	}
	if ev&eventloop.Readable == 0 {
		return
	}
	for range turn {
		if !f.conn.Open() {
			break
		}
		buf := f.w.loop.Scratch()
		n, drained, err := f.conn.Read(buf)
		switch {
		case n > 0:
			f.moved = f.w.now()
			if !f.received(buf[:n]) || drained {
				f.more()
				return
			}
		case errors.Is(err, eventloop.ErrAgain):
			f.more()
			return
		default:
			f.lost()
			f.more()
			return
		}
	}
	f.more()
	if f.conn.Open() {
		f.w.loop.Post((*moreOfFeed)(f))
	}
}

// moreOfFeed is a feed that reads on after others have had their turn.
type moreOfFeed feed

// Run implements eventloop.Note.
func (m *moreOfFeed) Run() { (*feed)(m).Ready(nil, eventloop.Readable) }

// received takes in what has come, up to the last record that is whole. It reports whether to go on.
func (f *feed) received(b []byte) bool {
	if len(f.held) > 0 {
		f.held = append(f.held, b...)
		b = f.held
	}
	for {
		h, body, n, err := leg.Next(b)
		if err != nil {
			f.w.counts.badLegs.add(1)
			f.w.r.log.Warn("a gateway broke the protocol of a feed; its sessions get legs of their own", zap.String("shard", f.home.shard.id), zap.Error(err))
			f.end()
			return false
		}
		if n == 0 {
			break
		}
		if !f.take(h, body) {
			return false
		}
		b = b[n:]
	}
	f.held = append(f.held[:0], b...)
	if len(f.held) == 0 && cap(f.held) > feedWrite {
		f.held = nil
	}
	return f.conn.Open()
}

// Sweep implements eventloop.Handler.
func (f *feed) Sweep(c *eventloop.Conn, now int64) {
	t := ticksOf(now)
	switch {
	case c.Gone(now, f.w.r.cfg.AckTimeout), t-f.moved > f.w.idleTimeout:
		f.lost()
		return
	case len(f.members) > 0:
		f.empty = t
	case t-f.empty > feedLinger:
		f.hangUp()
		return
	}
	f.sayMembers()
}

// tellLeft tells the gateway that a member has ended of which it may have to remember something. It is best effort: what waits is bounded.
func (f *feed) tellLeft(s *session) {
	var w []byte
	if f.live() && len(f.out) <= mostSaid {
		w = leg.AppendLeft(nil, s.home.ticket, s.resume())
	}
	if len(w) == 0 {
		f.w.counts.unkept.add(1)
		return
	}
	f.say(w)
}

// sayMembers tells the gateway for how many sessions the feed stands, if that has changed.
func (f *feed) sayMembers() {
	if m := (leg.Members{All: uint32(len(f.members)), Firsts: uint32(f.firsts), Ended: f.ended}); f.live() && m != f.said {
		f.said = m
		f.say(leg.AppendMembers(nil, m))
	}
}

// drop lets go of the leg, whatever comes next.
func (f *feed) drop() {
	if !f.conn.Open() {
		return
	}
	f.conn.Close()
	f.num, f.held, f.out = 0, nil, nil
	f.home.count(false)
	f.w.counts.feeds.dec()
	f.forgetAsks()
}

// lost looks for another gateway in place of one that is gone.
func (f *feed) lost() {
	f.drop()
	f.lookForHome(moveCrash)
}

// hangUp ends the leg, and the search for one.
func (f *feed) hangUp() {
	f.drop()
	f.home.endMove(f.w, movedLeft)
}

// end gives the members legs of their own.
func (f *feed) end() {
	f.hangUp()
	f.again = f.w.now() + feedPause
	f.sendAway(unparkFeed)
}

// abandon ends the sessions of a feed that no gateway takes: they would not be taken either.
func (f *feed) abandon() {
	for i := len(f.members) - 1; i >= 0; i-- {
		f.members[i].goAway(closeNoGateway, f.w.r.crashDelay())
	}
}
