package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// shard is a gateway of ours, as this router knows it from its own connections. Safe for concurrent use.
type shard struct {
	id, addr string
	ours     bool // not a static upstream
	r        *Router

	book   book          // of this router's sessions there
	pulse  atomic.Uint32 // a pulseState
	spared atomic.Int64  // until when nothing is moved there without need; Unix ns
	seen   atomic.Int64  // when the ring last had it; Unix ns
}

// pulseState is what the heartbeat connection to a gateway tells.
type pulseState uint32

const (
	pulseUnknown pulseState = iota // there has been none yet
	pulseUp
	pulseDown   // it has broken, and there is no new one
	pulseSilent // nothing comes back, though nothing has broken: its legs are as dead, and don't show it
)

// down reports that the gateway's heartbeat has been there, and is not.
func (sh *shard) down() bool { return pulseState(sh.pulse.Load()) >= pulseDown }

// alive reports whether there is no reason to believe that it would not take a session.
func (sh *shard) alive(now time.Time) bool { return !sh.down() && !sh.r.ejected.has(sh.addr, now) }

// spareTime is for how long nothing is moved without need to a gateway that has refused it.
const spareTime = 5 * time.Second

func (sh *shard) spare(now time.Time) { sh.spared.Store(now.Add(spareTime).UnixNano()) }

func (sh *shard) isSpared(now time.Time) bool { return now.UnixNano() < sh.spared.Load() }

// shards are the gateways that the router knows, by address.
type shards struct {
	r  *Router
	mu sync.RWMutex
	by map[string]*shard // guarded by mu
}

// of is the shard of a member of the ring.
func (s *shards) of(m *ring.Member) *shard {
	s.mu.RLock()
	sh := s.by[m.Addr]
	s.mu.RUnlock()
	if sh != nil && sh.id == m.ID {
		return sh
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh = s.by[m.Addr]; sh == nil || sh.id != m.ID {
		sh = &shard{id: m.ID, addr: m.Addr, ours: !m.Static, r: s.r}
		sh.seen.Store(time.Now().UnixNano())
		s.by[m.Addr] = sh
	}
	return sh
}

// all are the shards at present.
func (s *shards) all() []*shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*shard, 0, len(s.by))
	for _, sh := range s.by {
		list = append(list, sh)
	}
	return list
}

// forget drops the shards that the ring has not had since before cutoff.
func (s *shards) forget(cutoff time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, sh := range s.by {
		if sh.seen.Load() < cutoff.UnixNano() {
			delete(s.by, addr)
		}
	}
}

// count is how many shards are in a state.
func (s *shards) count(state pulseState) (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, sh := range s.by {
		if pulseState(sh.pulse.Load()) == state {
			n++
		}
	}
	return n
}

const (
	// beatsLost is how many heartbeats in a row must be lost for a gateway to count as silent.
	beatsLost = 5
	// watchEvery is how often the gateways of the ring are looked over.
	watchEvery = 100 * time.Millisecond
	// forgetShards is how long a gateway that the ring has no more is still listened to.
	forgetShards = time.Minute
)

// watch keeps a heartbeat connection to every gateway of ours, until ctx ends. Sessions of one that is silent are moved,
// once there is another.
func (r *Router) watch(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	listened := map[*shard]context.CancelFunc{}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		for _, m := range r.ring().Members() {
			if m.Role == ring.RoleGateway && !m.Static && m.State != ring.StateLeft && m.State != ring.StateJoining && m.Addr != "" {
				r.shards.of(&m).seen.Store(now.UnixNano())
			}
		}
		r.shards.forget(now.Add(-forgetShards))
		r.spread.sample()
		known := map[*shard]bool{}
		for _, sh := range r.shards.all() {
			known[sh] = true
			if listened[sh] == nil && sh.ours && r.deps.Keys != nil {
				c, cancel := context.WithCancel(ctx)
				listened[sh] = cancel
				wg.Go(func() { r.listen(c, sh) })
			}
		}
		for sh, cancel := range listened {
			if !known[sh] {
				cancel()
				delete(listened, sh)
			}
		}
		r.leaveSilent()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leaveSilent moves the sessions of silent gateways, when there is one that is not.
func (r *Router) leaveSilent() {
	if r.shards.count(pulseSilent) == 0 || r.shards.count(pulseUp) == 0 {
		return
	}
	for _, w := range r.workers {
		w.loop.Post(eventloop.NoteFunc(w.leaveSilent))
	}
}

func (w *worker) leaveSilent() {
	for i := len(w.sessions) - 1; i >= 0; i-- {
		s := w.sessions[i]
		if s.home != nil && !s.has(homeless|parked|ending) && pulseState(s.home.shard.pulse.Load()) == pulseSilent {
			s.upstreamGone(closeLegLost)
		}
	}
	for _, f := range w.feeds {
		if f.conn.Open() && pulseState(f.home.shard.pulse.Load()) == pulseSilent {
			f.lost()
		}
	}
}

// beatEvery is how far apart heartbeats are for a silence to be noticed within detect: it may begin right behind an answer,
// and the last of the beats that are lost has to get its time too.
func beatEvery(detect time.Duration) time.Duration { return detect / (beatsLost + 1) }

// listen keeps the heartbeat connection to one gateway.
func (r *Router) listen(ctx context.Context, sh *shard) {
	every := beatEvery(r.cfg.Detect)
	for told := false; ; {
		err := r.beat(ctx, sh, every)
		if ctx.Err() != nil {
			return
		}
		was := pulseState(sh.pulse.Load())
		switch {
		case errors.Is(err, errSilent):
			sh.pulse.Store(uint32(pulseSilent))
			if was == pulseUp || was == pulseUnknown { // after a connection that broke it is gone, with its address, and has not hung
				r.metrics.silent.Add(1)
			}
			if was != pulseSilent {
				r.leaveSilent() // at once; watch sees to it for as long as it lasts
			}
		case was == pulseUp:
			sh.pulse.Store(uint32(pulseDown))
		case was == pulseSilent && errors.Is(err, errRefused): // now it has broken, and so have its legs
			sh.pulse.Store(uint32(pulseDown))
		}
		if was == pulseUp || !told {
			told = true
			r.log.Warn("no heartbeat from a gateway", zap.String("shard", sh.id), zap.String("addr", sh.addr), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

var (
	errSilent  = errors.New("nothing comes back")
	errRefused = errors.New("it took no connection")
)

// beat opens a heartbeat connection and returns what ended it.
func (r *Router) beat(ctx context.Context, sh *shard, every time.Duration) error {
	yes, outcome, err := r.ask(ctx, leg.MethodBeat, sh, r.cfg.Detect, "")
	switch {
	case err == nil:
	case outcome == dialRefused:
		return errors.Join(errRefused, err)
	case outcome == dialTimeout: // it may have been silent before we came
		return errors.Join(errSilent, err)
	default:
		return err
	}
	c := yes.conn
	defer c.Close()
	_ = c.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r.beats(sh)
	return beatOn(c, every)
}

// beatOn sends heartbeats until the connection breaks or nothing comes back, and closes it.
func beatOn(c net.Conn, every time.Duration) error {
	var answered atomic.Int64
	broken := make(chan error, 1)
	go func() { broken <- echoes(c, &answered) }()
	defer func() {
		c.Close()
		<-broken //nolint:errcheck // what ended it is known already
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	// Counting what was sent, and not the time, forgives a silence that was our own: a router that did not run did not
	// send.
	for sent := int64(0); ; {
		select {
		case err := <-broken:
			broken <- err
			return err
		case <-tick.C:
		}
		if sent-answered.Load() >= beatsLost {
			return errSilent
		}
		_ = c.SetWriteDeadline(time.Now().Add(every)) // an open connection takes it
		if _, err := c.Write([]byte{0}); err != nil {
			return fmt.Errorf("heartbeat: %w", err)
		}
		sent++
	}
}

// echoes counts what comes back.
func echoes(c net.Conn, answered *atomic.Int64) error {
	var buf [64]byte
	for {
		n, err := c.Read(buf[:])
		answered.Add(int64(n))
		if err != nil {
			return fmt.Errorf("heartbeat: %w", err)
		}
	}
}

// beats notes that the gateway's heartbeat is there.
func (r *Router) beats(sh *shard) {
	if was := pulseState(sh.pulse.Swap(uint32(pulseUp))); was >= pulseDown {
		r.log.Info("a gateway's heartbeat is back", zap.String("shard", sh.id))
	}
	r.mover.kick()
}
