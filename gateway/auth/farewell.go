package auth

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// farewell tells an application that a session is over.
type farewell struct {
	session uint64
	grant   *Grant
	topics  []string
	since   time.Time
}

// farewells wait until the application has been told. As many as fit wait; more are dropped, and counted. Safe for concurrent
// use.
type farewells struct {
	queue   chan farewell
	dropped [dropReasons]atomic.Uint64
}

// dropReason says why an application was not told; it is a label.
type dropReason uint8

const (
	dropFull     dropReason = iota // too many waited
	dropDown                       // the application did not answer for too long
	dropRefused                    // it answered that it failed
	dropShutdown                   // the gateway ended
	dropUnknown                    // whether the session is over is not known: its router vanished
	dropReasons
)

func (r dropReason) String() string {
	return [dropReasons]string{"full", "down", "refused", "shutdown", "unknown"}[r]
}

const (
	farewellPatience = time.Minute     // how long the application is tried for one
	farewellPause    = time.Second     // between two tries
	farewellGrace    = 3 * time.Second // for what still waits when the gateway ends
	farewellShare    = 4               // one of so many places is used for them
)

func (f *farewells) add(w farewell) {
	select {
	case f.queue <- w:
	default:
		f.dropped[dropFull].Add(1)
	}
}

// run tells the application until ctx ends, and then what still waits, for a moment.
func (g *Guard) runFarewells(ctx context.Context, c *caller) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(farewellGrace, cancel) })
	defer stop()
	var wg sync.WaitGroup
	for range max(1, c.cfg.Concurrency/farewellShare) {
		wg.Go(func() {
			for {
				select {
				case w := <-g.farewells.queue:
					g.tell(last, c, w)
					continue
				default:
				}
				select {
				case w := <-g.farewells.queue:
					g.tell(last, c, w)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
}

func (g *Guard) tell(ctx context.Context, c *caller, w farewell) {
	for {
		_, no := c.do(ctx, callDisconnect, func(ctx context.Context) (verdict, error) {
			return c.app.disconnect(ctx, w.session, w.grant.App, w.topics)
		})
		switch {
		case no == nil:
			return
		case no.Reason == AppError || no.Reason == Denied:
			g.farewells.dropped[dropRefused].Add(1)
			return
		case ctx.Err() != nil:
			g.farewells.dropped[dropShutdown].Add(1)
			return
		case time.Since(w.since) > farewellPatience:
			g.farewells.dropped[dropDown].Add(1)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(farewellPause):
		}
	}
}
