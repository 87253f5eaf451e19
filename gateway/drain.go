package gateway

import (
	"context"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// drainTick is how often a drain sends sessions away.
const drainTick = 50 * time.Millisecond

// drainSlack is what a drain may take beyond what its pace says: the sweeps that end what is left.
const drainSlack = 3 * time.Second

// Drain takes no new sessions any more and sends those that are left away, at an even pace over the drain window that is
// bounded below and above. A router takes its sessions to another gateway, and clients notice nothing; one that has not
// done so when the move's grace is over is left to see to it on its own, when its leg ends. Clients that came directly
// are closed at that pace, each with a short delay for its return. Drain blocks until no
// session is left, or ctx ends, whose error it returns.
func (g *Gateway) Drain(ctx context.Context) error {
	g.draining.Store(true)
	// Each loop keeps its own pace; at worst one of them has all sessions.
	loops := uint64(len(g.workers))
	most := loops * g.Sessions()
	limit := time.Duration(float64(most)/g.cfg.drainRate(most)*float64(time.Second)) + g.cfg.MoveGrace + closeGrace*time.Millisecond + drainSlack
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for g.Sessions() > 0 {
		for _, w := range g.workers {
			w.loop.Post(eventloop.NoteFunc(func() {
				if w.drainShare == 0 {
					w.drainShare = g.cfg.drainRate(loops*uint64(len(w.sessions))) / float64(loops) * drainTick.Seconds()
				}
				w.drainSome(w.drainShare)
			}))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// drainRate is how many of n sessions are sent away per second.
func (c *Config) drainRate(n uint64) float64 {
	return min(max(float64(n)/c.DrainWindow.Seconds(), float64(c.DrainMin)), float64(c.DrainMax))
}

// drainSome sends n more sessions away, in the long run.
func (w *worker) drainSome(n float64) {
	w.owed += n
	for i := len(w.sessions) - 1; i >= 0 && w.owed >= 1; i-- {
		s := w.sessions[i]
		if s.closing || s.goBy > 0 {
			continue
		}
		w.owed--
		s.goElsewhere()
	}
	w.owed = min(w.owed, max(1, n)) // what nobody was there for is not made up for later
}

// goElsewhere asks the router to take the session to another gateway, or its client to come back.
func (s *session) goElsewhere() {
	g := s.worker.g
	if !s.onLeg {
		s.finish(closeDrain, g.policy().Paced(g.cfg.DrainWindow))
		return
	}
	s.goBy = s.worker.loop.Now() + g.cfg.MoveGrace.Milliseconds()
	s.worker.counts.leaving.Add(1)
	s.control(newRecord(leg.Move, 0, position.Position{}, nil).b)
}
