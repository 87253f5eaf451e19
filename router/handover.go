package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
	"unique"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/handover"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// sessionState is a session on its way to another process of the same router, beside its descriptors: the client's, and
// the upstream's unless it is closed. Times are ages in ticks.
type sessionState struct {
	Version  int         `json:"v"`
	Flags    flags       `json:"flags"`
	Slot     uint8       `json:"slot"`
	Key      uint32      `json:"key,omitempty"` // of which Slot is the first byte; a predecessor of an earlier version has none
	Reason   closeReason `json:"reason,omitempty"`
	Moved    ticks       `json:"moved"`
	Since    ticks       `json:"since,omitempty"`
	Upstream bool        `json:"upstream"`

	Waiting *waitingState `json:"waiting,omitempty"`
	HalfWay *leg.HalfWay  `json:"half_way,omitempty"`
	Frames  *framesState  `json:"frames,omitempty"`
	Home    *homeState    `json:"home,omitempty"`
	Carrier *carrierState `json:"carrier,omitempty"`
}

type waitingState struct {
	Held []byte `json:"held,omitempty"`
	Down []byte `json:"down,omitempty"`
	Up   []byte `json:"up,omitempty"`
	Lead int    `json:"lead,omitempty"`
	Sent int    `json:"sent,omitempty"`

	DownSince ticks `json:"down_since,omitempty"`
	UpSince   ticks `json:"up_since,omitempty"`
}

type framesState struct {
	Left uint64 `json:"left"`
	Seen uint8  `json:"seen"`
	Size uint8  `json:"size"`
	Bye  bool   `json:"bye,omitempty"`
}

type homeState struct {
	Shard  string         `json:"shard"`
	Addr   string         `json:"addr"`
	Ticket []byte         `json:"ticket"`
	Acked  uint64         `json:"acked"`
	Begun  bool           `json:"begun"`
	Told   uint32         `json:"told,omitempty"`
	Half   string         `json:"half,omitempty"`
	Topics []leg.Standing `json:"topics"`
	Nums   []uint32       `json:"nums"`
	Wants  bool           `json:"wants,omitempty"` // its gateway wants it to go elsewhere

	Farewell bool `json:"farewell,omitempty"` // its gateways want to be told

	Feeds  []feedState `json:"feeds,omitempty"` // of a parked session, by topic; to those who don't know of feeds it is homeless
	Strict bool        `json:"strict,omitempty"`
	Until  int64       `json:"until,omitempty"`
}

// feedState is an offer that a session was parked by.
type feedState struct {
	Key    uint64 `json:"key"`
	Ticket []byte `json:"ticket"`
}

// stateVersion is that of sessionState. A successor takes no other.
const stateVersion = 1

// pack takes the session off its loop. It is gone from here when its successor has it; see [Router.adopt] for the way
// back.
func (s *session) pack() (handover.Item, error) {
	now := s.w.now()
	st := sessionState{
		Version: stateVersion, Flags: s.flags &^ (morePostedDown | morePostedUp | parked), Slot: uint8(ring.SlotOf(s.key)), Key: s.key, Reason: s.reason,
		Moved: now - s.moved, Since: now - s.since, Upstream: s.upstream.Open(), HalfWay: s.upstream.strip.HalfWay(), Carrier: s.carried(),
	}
	if wt := s.waiting; wt != nil {
		st.Waiting = &waitingState{wt.held, slices.Concat(wt.tail, wt.down), wt.up, wt.lead, wt.sent, now - wt.downSince, now - wt.upSince}
	}
	if s.upstream.frames != (frames{}) {
		st.Frames = &framesState{s.upstream.frames.left, s.upstream.frames.seen, s.upstream.frames.size, s.upstream.frames.bye}
	}
	if h := s.home; h != nil {
		st.Home = &homeState{
			Shard: h.shard.id, Addr: h.shard.addr, Ticket: h.ticket, Acked: s.upstream.acked, Begun: h.begun, Told: h.told,
			Wants: h.move != nil && h.move.reason == moveDrain, Farewell: h.farewell,
		}
		if half := s.upstream.half; half != (unique.Handle[string]{}) {
			st.Home.Half = half.Value()
		}
		for _, t := range h.topics {
			st.Home.Topics = append(st.Home.Topics, leg.Standing{Name: t.name.Value(), Position: t.at, Asked: t.asked})
			st.Home.Nums = append(st.Home.Nums, t.num)
		}
		if s.has(parked) {
			s.packFeeds(&st)
		}
	}
	b, err := json.Marshal(st)
	if err != nil {
		return handover.Item{}, fmt.Errorf("BUG: router: a session has no JSON: %w", err)
	}
	item := handover.Item{State: b}
	for _, c := range []*eventloop.Conn{&s.client, &s.upstream.Conn} {
		if !c.Open() {
			continue
		}
		fd, releaseErr := c.Release()
		if releaseErr == nil {
			item.FDs = append(item.FDs, fd)
		}
		err = errors.Join(err, releaseErr)
	}
	s.leaveHome()
	s.forget()
	s.w.remove(s)
	if err != nil {
		closeAll(item.FDs)
		s.w.r.release()
		s.w.r.metrics.closed[closeSetup].Add(1)
	}
	return item, err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		eventloop.CloseFD(fd)
	}
}

// unpack makes the session of a state; its descriptors are still to be added.
func (r *Router) unpack(w *worker, st *sessionState) *session {
	s := newSession(w)
	s.flags, s.key, s.reason = st.Flags, st.key(), st.Reason
	now := w.now()
	s.moved, s.since = now-st.Moved, now-st.Since
	s.upstream = &uplink{}
	s.upstream.strip.Restore(st.HalfWay)
	if f := st.Frames; f != nil {
		s.upstream.frames = frames{f.Left, f.Seen, f.Size, f.Bye}
	}
	if h := st.Home; h != nil {
		s.home = r.newHome(r.shards.of(&ring.Member{ID: h.Shard, Addr: h.Addr, Role: ring.RoleGateway}), h.Ticket, h.Told)
		s.upstream.acked, s.home.begun, s.home.farewell = h.Acked, h.Begun, h.Farewell
		if h.Half != "" {
			s.upstream.half = unique.Make(h.Half)
		}
		for i, t := range h.Topics {
			s.home.topics = append(s.home.topics, standing{name: unique.Make(t.Name), num: h.Nums[i], asked: t.Asked, at: t.Position})
		}
		s.home.spoke = now
		s.home.strict, s.home.until = h.Strict, h.Until
		if r.takesParked(st) {
			s.flags &^= homeless
		}
	}
	if wt := st.Waiting; wt != nil {
		was := s.load()
		s.waiting = &waiting{wt.Held, nil, wt.Down, wt.Up, wt.Lead, wt.Sent, now - wt.DownSince, now - wt.UpSince}
		s.settle(was)
	}
	return s
}

// key is the session's.
func (st *sessionState) key() uint32 {
	if st.Key == 0 {
		return uint32(st.Slot) << 24
	}
	return st.Key
}

// valid says what is wrong with a state; nil when nothing is.
func (st *sessionState) valid(fds int) error {
	want := 1
	if st.Upstream {
		want++
	}
	switch wt, h := st.Waiting, st.Home; {
	case st.Version != stateVersion:
		return fmt.Errorf("the state has version %d, want %d", st.Version, stateVersion)
	case fds != want:
		return fmt.Errorf("%d descriptors, want %d", fds, want)
	case wt != nil && (wt.Lead < 0 || wt.Sent < 0 || wt.Lead > len(wt.Up) || wt.Sent > len(wt.Up)):
		return errors.New("what waits for the upstream does not add up")
	case h != nil && (len(h.Nums) != len(h.Topics) || len(h.Feeds) > 0 && len(h.Feeds) != len(h.Topics)):
		return errors.New("a topic is without its number")
	}
	return nil
}

// adopt is a session that comes from another process, or comes back.
type adopt struct {
	w     *worker
	state sessionState
	fds   []int
}

// Run takes the session in, on its loop.
func (a *adopt) Run() {
	w := a.w
	s := w.r.unpack(w, &a.state)
	if err := w.loop.Add(&s.client, a.fds[0], s); err != nil {
		closeAll(a.fds[1:])
		s.forget()
		w.r.release()
		w.r.metrics.closed[closeSetup].Add(1)
		return
	}
	w.add(s)
	if s.has(homeless) {
		w.counts.homeless.add(1)
	}
	if a.state.Upstream {
		if err := s.connect(a.fds[1], s); err != nil {
			s.close(closeSetup)
			return
		}
	}
	if s.home != nil && a.state.Upstream {
		s.home.count(true)
	}
	switch {
	case s.unpackFeeds(&a.state):
	case s.has(homeless):
		s.lookForHome(moveCrash)
	case a.state.Home != nil && a.state.Home.Wants && s.movable():
		s.lookForHome(moveDrain)
	}
	s.carriedBy(a.state.Carrier)
	s.later(morePostedDown)
	s.later(morePostedUp)
}

// Adopt takes in sessions that a predecessor has given: its descriptors are the router's from now on. Sessions that are
// not understood are closed, counted, and named in the error; the others go on. Run must have been called.
func (r *Router) Adopt(items []handover.Item) error {
	var errs []error
	for _, item := range items {
		if err := r.adoptOne(item); err != nil {
			closeAll(item.FDs)
			r.metrics.closed[closeSetup].Add(1)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *Router) adoptOne(item handover.Item) error {
	a := &adopt{fds: item.FDs}
	err := json.Unmarshal(item.State, &a.state)
	if err == nil {
		err = a.state.valid(len(item.FDs))
	}
	if err != nil {
		return fmt.Errorf("a session that was handed over is not understood: %w", err)
	}
	r.sessions.Add(1)
	a.w = r.workerOf(r.group.Next())
	if !a.w.loop.Post(a) {
		r.release()
		return errors.New("the router has ended")
	}
	r.metrics.adopted.Add(1)
	return nil
}

// How many sessions go at a time: none of them is served while its batch is under way.
const (
	handoverBatch = 64
	// handoverBytes of states end a batch too. Nearly all sessions have a few hundred; what waits for a gateway, or for a
	// slow client, can be as much as [Config.MaxUnacked].
	handoverBytes = 1 << 20
)

// HandOver gives all sessions, and those that still come out of their handshakes, to a successor: give returns nil when it
// has them. Until then they are served here, and what give did not get rid of is served on. No clients are accepted
// meanwhile: that is for the successor, which has the listener. It returns when no session is left, nor a connection that
// may become one; on an error the router takes clients again.
func (r *Router) HandOver(ctx context.Context, give func(context.Context, []handover.Item) error) error {
	r.pauseAccepting(true)
	err := r.handOver(ctx, give)
	if err != nil {
		r.pauseAccepting(false)
	}
	return err
}

func (r *Router) handOver(ctx context.Context, give func(context.Context, []handover.Item) error) error {
	patience := time.Now().Add(r.cfg.HandshakeTimeout) // for connections that say nothing
	for r.Sessions() > 0 || r.conns.room.Len() > 0 && time.Now().Before(patience) {
		idle := true
		for _, w := range r.workers {
			items := r.packSome(w)
			if len(items) == 0 {
				continue
			}
			idle = false
			if err := give(ctx, items); err != nil {
				for _, item := range items {
					r.sessions.Add(-1) // it is counted again
					if err := r.adoptOne(item); err != nil {
						closeAll(item.FDs)
						r.log.Error("a session is lost on its way back", zap.Error(err))
					}
				}
				return err
			}
			for _, item := range items {
				closeAll(item.FDs)
				r.release()
				r.metrics.handedOver.Add(1)
			}
		}
		if !idle {
			continue
		}
		select { // for handshakes
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// packSome takes some sessions off a worker.
func (r *Router) packSome(w *worker) (items []handover.Item) {
	done := make(chan struct{})
	posted := w.loop.Post(eventloop.NoteFunc(func() {
		defer close(done)
		for size := 0; len(items) < handoverBatch && size < handoverBytes && len(w.sessions) > 0; {
			s := w.sessions[len(w.sessions)-1]
			item, err := s.pack()
			if err != nil {
				r.log.Error("a session could not be handed over and is closed", zap.Error(err))
				continue
			}
			items = append(items, item)
			size += len(item.State)
		}
	}))
	if posted {
		<-done
	}
	return items
}

// Listener is the router's listener, of which a successor may get a duplicate.
func (r *Router) Listener() net.Listener { return r.ln }
