package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/tally"
	topics "github.com/ringside-edge/ringside/internal/topic"
)

// caller is a gateway that reports its counts here.
type caller struct {
	conn  *tally.Conn
	woken chan struct{}
}

// handleCount answers how many sessions follow a topic, or takes another gateway's connection.
func (g *Gateway) handleCount(ctx *fasthttp.RequestCtx) {
	if no := g.checkLeg(ctx); no != nil {
		g.refuse(ctx, no)
		return
	}
	args := ctx.QueryArgs()
	if args.Has(tally.ParamTopic) {
		g.answerCount(ctx, string(args.Peek(tally.ParamTopic)))
		return
	}
	shard := string(args.Peek(tally.ParamShard))
	if m, ok := g.deps.Ring().Member(shard); !ok || m.ID == g.cfg.ID {
		g.refuse(ctx, refuse(fasthttp.StatusServiceUnavailable, "count", "no other gateway is called %.64q", shard)) // gossip may be late
		return
	}
	ctx.HijackSetNoResponse(true)
	place := placeOf(ctx)
	ctx.Hijack(func(c net.Conn) {
		place.Leave() // it is none of those that wait to be sessions
		_ = c.SetDeadline(time.Now().Add(g.cfg.HandshakeTimeout))
		if _, err := c.Write(g.upgraded()); err != nil {
			return
		}
		g.counts.serve(tally.Accepted(c), shard)
	})
}

func (g *Gateway) answerCount(ctx *fasthttp.RequestCtx, name string) {
	if err := topics.Validate(name); err != nil {
		g.refuse(ctx, refuse(fasthttp.StatusBadRequest, "count", "%v", err))
		return
	}
	n, ok := g.Count(name)
	if !ok {
		g.refuse(ctx, refuse(fasthttp.StatusMisdirectedRequest, "count", "another gateway adds up the topic's sessions"))
		return
	}
	body, err := json.Marshal(n)
	if err != nil {
		panic("BUG: gateway: a count has no JSON: " + err.Error())
	}
	ctx.SetContentType("application/json")
	ctx.SetConnectionClose()
	ctx.SetBody(body)
}

// serve takes in what a gateway reports until its connection ends, or the gateway does.
func (c *counts) serve(conn *tally.Conn, shard string) {
	k := &caller{conn: conn, woken: make(chan struct{}, 1)}
	c.mu.Lock()
	if c.callers == nil {
		c.mu.Unlock()
		return
	}
	c.callers[k] = true
	c.calls.Add(1)
	c.mu.Unlock()
	defer c.calls.Done()
	r := c.table.Join(shard)
	writing, stop := context.WithCancel(context.Background())
	written := make(chan struct{})
	go func() {
		defer close(written)
		k.write(writing, c, r)
	}()
	err := c.hearOf(conn, r)
	c.steady.Store(false) // until a round has looked: its sessions are about to be counted elsewhere
	c.table.Leave(r)
	stop()
	conn.Close()
	<-written
	c.mu.Lock()
	delete(c.callers, k)
	c.mu.Unlock()
	if errors.Is(err, tally.ErrFrame) {
		c.g.log.Warn("a gateway that reports the sessions of topics is not understood", zap.String("shard", shard), zap.Error(err))
	}
}

// errReplaced ends a connection in whose place there is another.
var errReplaced = errors.New("the gateway has another connection")

func (c *counts) hearOf(conn *tally.Conn, r *tally.Reporter) error {
	for {
		version, list, err := conn.Reported(c.silence())
		if err != nil {
			return err
		}
		asked, ok := c.table.Report(r, version, list)
		if !ok {
			return errReplaced
		}
		if asked && c.sure.Load() { // its sessions wait
			c.table.Tell()
			c.wakeCallers()
		}
	}
}

// write tells the gateway what others have.
func (k *caller) write(ctx context.Context, c *counts, r *tally.Reporter) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.woken:
		}
		if err := k.conn.Tell(c.table.Take(r), c.silence()); err != nil {
			k.conn.Close() // the reader notices
			return
		}
	}
}

// wakeCallers has all who report told what there is to be told.
func (c *counts) wakeCallers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.callers {
		select {
		case k.woken <- struct{}{}:
		default:
		}
	}
}

// end closes all connections and waits for them.
func (c *counts) end() {
	c.mu.Lock()
	for k := range c.callers {
		k.conn.Close()
	}
	c.callers = nil
	c.mu.Unlock()
	c.calls.Wait()
}
