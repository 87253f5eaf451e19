package gateway

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/stream"
)

// freshness is what can be vouched for: everything up to asOf has been handed on.
type freshness struct {
	asOf  int64 // ms since the UNIX epoch, by the clock of Redis
	lag   int64 // how long ago that was, ms
	stale bool  // too long ago for quiet
}

// freshness is that of the slot; with mu held. Entry IDs can be ahead of a clock that was set back: the lag is never less than
// how long nothing has come.
func (s *slot) freshness(now time.Time) freshness {
	f := s.freshnessAt(s.at)
	f.lag = max(f.lag, now.Sub(s.seen).Milliseconds())
	f.stale = s.stale.Load() || s.late(f.lag, now)
	return f
}

// late reports whether a lag is too long for quiet; with mu held. A tail that has just been placed has a beacon coming, which tells
// whether the stream is quiet or the tail lags behind.
func (s *slot) late(lag int64, now time.Time) bool {
	return s.warm && lag > s.g.cfg.StaleAfter.Milliseconds() && (s.stale.Load() || now.Sub(s.placed) >= 2*s.g.cfg.Beacon)
}

// freshnessAt is that of a session which stands at p.
func (s *slot) freshnessAt(p position.Position) freshness {
	redis := s.g.tailer.Now(s.n) / 1000
	asOf := min(int64(p.ID.Ms), redis)
	return freshness{asOf: asOf, lag: redis - asOf, stale: s.stale.Load() || redis-asOf > s.g.cfg.StaleAfter.Milliseconds()}
}

// Tail is how far a slot has been read, and what can be vouched for.
type Tail struct {
	stream.Stats
	AsOf  int64 // up to when, ms by the clock of Redis
	Age   int64 // how long ago that was, ms
	Stale bool
}

// Tail is that of a slot; ok is false when it is not tailed. Safe for concurrent use.
func (g *Gateway) Tail(slot int) (t Tail, ok bool) {
	stats, ok := g.tailer.Stats(slot)
	if !ok {
		return Tail{}, false
	}
	s := g.slots[slot]
	s.mu.Lock()
	f := s.freshness(time.Now())
	s.mu.Unlock()
	return Tail{Stats: stats, AsOf: f.asOf, Age: f.lag, Stale: s.stale.Load()}, true
}

// vouches reports whether a session of the slot is well served here: the tail is fresh, or can soon stand.
func (s *slot) vouches() bool {
	if s.stale.Load() {
		return false
	}
	s.mu.Lock()
	warm := s.warm
	s.mu.Unlock()
	return warm || s.g.stream.Ready() == nil
}

// freshnessEvery is how often slots are looked at.
const freshnessEvery = 250 * time.Millisecond

// watchFreshness finds the slots that have become stale, and those that are fresh again, and tells their sessions at once. Of
// stale slots no sessions are taken any more, and those that are there are offered to other gateways.
func (g *Gateway) watchFreshness(ctx context.Context) {
	tick := time.NewTicker(freshnessEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			g.lookAtFreshness(now)
		}
	}
}

func (g *Gateway) lookAtFreshness(now time.Time) {
	was, stale := g.staleSlots.Load(), int64(0)
	for _, s := range g.slots {
		if s.age(now) {
			stale++
		}
	}
	g.staleSlots.Store(stale)
	switch {
	case stale > 0 && was == 0:
		g.log.Warn("slots are stale: their tails bring nothing, or lag behind", zap.Int64("slots", stale), zap.NamedError("redis", g.stream.Ready()))
	case stale == 0 && was > 0:
		g.log.Info("all slots are fresh again")
	}
	if stale == 0 && was == 0 {
		return // nobody has to go, and no loop need wake
	}
	for _, w := range g.workers {
		w.loop.Post(eventloop.NoteFunc(w.exodus))
	}
}

// age updates whether the slot is stale, and tells its feeds when that has changed.
func (s *slot) age(now time.Time) (stale bool) {
	var few [fewFeeds]*feed
	touched := few[:0]
	s.mu.Lock()
	was := s.stale.Load()
	stale = s.late(s.freshness(now).lag, now)
	if was != stale {
		s.stale.Store(stale)
		if stale {
			s.g.metrics.turnedStale.Add(1)
		}
		for _, t := range s.topics {
			touched = t.touch(touched)
		}
	}
	s.mu.Unlock()
	notify(touched)
	return stale
}

// tellFreshness sends all subscriptions a heartbeat when the slot has become stale, or is fresh again.
func (f *feed) tellFreshness() {
	stale := f.topic.slot.stale.Load()
	if stale == f.stale {
		return
	}
	f.stale = stale
	for i := len(f.subs) - 1; i >= 0; i-- {
		sub := f.subs[i]
		switch {
		case !sub.greeted:
		case sub.session.blocked() || sub.session.resume != nil:
			sub.session.nextBeat = 0 // as soon as it can be told
		default:
			sub.beat()
		}
	}
}

// An exodus offers the sessions of a loop's stale slots to other gateways. Perhaps it is only this one that does not get on; then
// they are better served elsewhere, and a router takes them there. Or nobody does, and everybody refuses them; then it would be a
// waste to offer more than one now and then.
type exodus struct {
	probe *session // offered alone, to see whether it is taken
	open  bool     // it was: the others follow, at the pace of a drain
	next  int64    // when something is to be done, by the loop's clock, ms
	owed  float64
}

const (
	probeFor   = 2000   // how long a session that was offered may take to go, ms
	probeAgain = 5000   // until the next is offered, ms
	offerAgain = 60_000 // until the same one is, ms
)

// exodus does what is due.
func (w *worker) exodus() {
	if w.g.staleSlots.Load() == 0 {
		w.leaving = exodus{}
		return
	}
	x, now := &w.leaving, w.loop.Now()
	switch {
	case x.next == 0:
		x.next = now + w.g.cfg.firstProbe.Milliseconds()
	case x.open:
		x.owed += w.g.cfg.drainRate(uint64(len(w.sessions))) / float64(len(w.g.workers)) * freshnessEvery.Seconds()
		if w.offer(int(x.owed), now) == nil && x.owed >= 1 {
			*x = exodus{next: now + probeAgain}
		}
		x.owed -= float64(int(x.owed))
	case x.probe != nil && !x.probe.conn.Open():
		*x = exodus{open: true, next: now}
	case x.probe != nil && now >= x.next:
		*x = exodus{next: now + probeAgain}
	case x.probe == nil && now >= x.next:
		x.probe, x.next = w.offer(1, now), now+probeFor
	}
}

// offer offers up to n sessions of stale slots to other gateways and returns the last; nil when there is none that was not offered
// lately.
func (w *worker) offer(n int, now int64) (last *session) {
	for _, f := range w.feeds {
		if !f.topic.slot.stale.Load() {
			continue
		}
		// Backwards, because a session that ends makes room for the last one.
		for i := len(f.subs) - 1; i >= 0; i-- {
			s := f.subs[i].session
			if n == 0 {
				return last
			}
			if !s.onLeg || s.closing || s.goBy != 0 || s.resume != nil || s.offered > 0 && now < s.offered+offerAgain {
				continue
			}
			s.offered = now
			w.g.metrics.offered.Add(1)
			s.control(newRecord(leg.Move, 0, position.Position{}, nil).b)
			last = s
			n--
		}
	}
	return last
}
