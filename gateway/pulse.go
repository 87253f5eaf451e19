package gateway

import (
	"errors"
	"net"
	"sync/atomic"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/eventloop"
)

// pulse is a router's heartbeat connection. A byte that comes goes back once every event loop has turned, so that a
// gateway of which one loop hangs is as silent as one that is gone. It belongs to its loop.
type pulse struct {
	conn  eventloop.Conn
	w     *worker
	owed  int  // bytes to be answered
	round bool // the loops are being asked
}

// handleBeat takes a router's heartbeat connection.
func (g *Gateway) handleBeat(ctx *fasthttp.RequestCtx) {
	if no := g.checkLeg(ctx); no != nil {
		g.refuse(ctx, no)
		return
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) {
		fd, early, err := g.take(c)
		if err != nil {
			g.log.Warn("cannot take a heartbeat connection over", zap.Error(err))
			return
		}
		if err := eventloop.SetOptions(fd, eventloop.SocketOptions{KeepAlive: g.cfg.KeepAlive}); err != nil {
			g.log.Debug("a heartbeat connection is without its options", zap.Error(err)) // the peer is gone already
		}
		b := &pulse{w: g.byLoop[g.group.Next()], owed: len(early)}
		if !b.w.loop.Post(eventloop.NoteFunc(func() { b.begin(fd, g.upgraded()) })) {
			eventloop.CloseFD(fd)
		}
	})
}

func (p *pulse) begin(fd int, head []byte) {
	if p.w.loop.Add(&p.conn, fd, p) != nil {
		return
	}
	p.write(head)
	p.ask()
}

// Ready implements eventloop.Handler.
func (p *pulse) Ready(_ *eventloop.Conn, ev eventloop.Event) {
	if ev&eventloop.Readable == 0 {
		return
	}
	buf := p.w.loop.Scratch()
	for {
		n, drained, err := p.conn.Read(buf)
		p.owed += n
		switch {
		case errors.Is(err, eventloop.ErrAgain), err == nil && drained:
			p.ask()
			return
		case err != nil:
			p.conn.Close()
			return
		}
	}
}

// Sweep implements eventloop.Handler.
func (p *pulse) Sweep(c *eventloop.Conn, now int64) {
	if c.Gone(now, p.w.g.cfg.AckTimeout) {
		c.Close()
	}
}

// ask sends a note around all loops.
func (p *pulse) ask() {
	if p.round || p.owed == 0 || !p.conn.Open() {
		return
	}
	n := p.owed
	p.owed, p.round = 0, true
	var left atomic.Int64
	left.Store(int64(len(p.w.g.workers)))
	for _, w := range p.w.g.workers {
		w.loop.Post(eventloop.NoteFunc(func() {
			if left.Add(-1) == 0 {
				p.w.loop.Post(eventloop.NoteFunc(func() { p.answer(n) }))
			}
		}))
	}
}

func (p *pulse) answer(n int) {
	p.round = false
	if p.conn.Open() {
		p.write(make([]byte, min(n, 1024))) // more are a router that does not wait
		p.ask()
	}
}

// write gives up on a router that reads nothing of so little.
func (p *pulse) write(b []byte) {
	if n, err := p.conn.Write(b); err != nil || n < len(b) {
		p.conn.Close()
	}
}
