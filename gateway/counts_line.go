package gateway

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/tally"
	"github.com/ringside-edge/ringside/ring"
)

const (
	lineAgain     = 250 * time.Millisecond // until a connection is tried again, at first
	lineAgainMost = 5 * time.Second
)

// countLine keeps a connection to one gateway, which is told what there is here of the topics that it adds up.
type countLine struct {
	c      *counts
	to     ring.Member
	cancel context.CancelFunc
	now    *line // the latest connection, which may have ended; nil for none. It belongs to counts.run
}

// line is one connection, and what is to be said on it.
type line struct {
	of    *countLine
	woken chan struct{}

	mu   sync.Mutex
	ring string                 // guarded by mu: version of the ring by which everything has been said; empty before
	out  map[string]tally.Entry // guarded by mu; the newest of a topic replaces an earlier one; nil when the connection has ended
}

// say has e said with the next frame.
func (l *line) say(e tally.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != nil {
		e.Anew = e.Anew || l.out[e.Topic].Anew
		l.out[e.Topic] = e
	}
}

// send has what is to be said sent. ring is the version by which it is everything; empty for as before.
func (l *line) send(ring string) {
	if ring != "" {
		l.mu.Lock()
		l.ring = ring
		l.mu.Unlock()
	}
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

func (l *line) take() (ring string, list []tally.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list = make([]tally.Entry, 0, len(l.out))
	for _, e := range l.out {
		list = append(list, e)
	}
	clear(l.out)
	return l.ring, list
}

func (l *line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = nil
}

// standing is the connection that there is; nil for none. It may be called on nil, which is the line to oneself.
func (l *countLine) standing() *line {
	if l == nil {
		return nil
	}
	return l.now
}

// reline begins lines to gateways that have come, and ends those to such as have gone.
func (c *counts) reline(ctx context.Context, r *ring.Ring) {
	known := map[string]bool{}
	for _, m := range tally.Reporters(r) {
		if m.ID == c.g.cfg.ID || m.Addr == "" {
			continue
		}
		known[m.ID] = true
		l := c.lines[m.ID]
		if l != nil && l.to.Addr == m.Addr {
			continue
		}
		if l != nil {
			l.cancel()
		}
		l = &countLine{c: c, to: m}
		var lineCtx context.Context
		lineCtx, l.cancel = context.WithCancel(ctx)
		c.lines[m.ID] = l
		c.calls.Go(func() { l.run(lineCtx) })
	}
	for id, l := range c.lines {
		if !known[id] {
			l.cancel()
			delete(c.lines, id)
		}
	}
}

// run keeps the connection until ctx ends.
func (l *countLine) run(ctx context.Context) {
	log := l.c.g.log
	wait, told := lineAgain, false
	for {
		began := time.Now()
		err := l.stand(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lineAgainMost {
			wait, told = lineAgain, false
		}
		if !told {
			told = true
			log.Info("no connection to a gateway that adds up the sessions of topics", zap.String("shard", l.to.ID), zap.String("addr", l.to.Addr), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, lineAgainMost)
	}
}

// stand opens the connection and returns what ended it.
func (l *countLine) stand(ctx context.Context) error {
	c := l.c
	dialer := tally.Dialer{Keys: c.g.deps.Keys, TLS: c.g.deps.LegTLS}
	conn, err := dialer.Open(ctx, &l.to, c.g.cfg.ID)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	now := &line{of: l, woken: make(chan struct{}, 1), out: map[string]tally.Entry{}}
	defer now.end()
	c.mu.Lock()
	c.relined = append(c.relined, now)
	c.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- l.hear(conn) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-now.woken:
		}
		version, list := now.take()
		if err := conn.Report(version, list, c.silence()); err != nil {
			conn.Close()
			<-ended //nolint:errcheck // what ended it is known already
			return err
		}
	}
}

// hear takes in what the gateway has added up.
func (l *countLine) hear(conn *tally.Conn) error {
	c := l.c
	for {
		list, err := conn.Told(c.silence())
		if err != nil {
			return err
		}
		if len(list) == 0 {
			continue
		}
		c.mu.Lock()
		c.heard = append(c.heard, list...)
		c.mu.Unlock()
		c.wake()
	}
}
