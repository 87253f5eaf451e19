package main

import (
	"context"
	"encoding/json"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/admin/page"
	"github.com/ringside-edge/ringside/internal/backoff"
)

// crowd is viewers of the match: sessions of ringside.v1 through the router, as any client has them. Each counts what it gets.
type crowd struct {
	router  string // host:port
	viewers int
	policy  func() backoff.Policy

	watching, received, lost, repeated, returns atomic.Int64
}

// counts are what all of them together have counted.
func (c *crowd) counts() page.Crowd {
	return page.Crowd{
		Viewers: c.watching.Load(), Received: c.received.Load(), Lost: c.lost.Load(), Repeated: c.repeated.Load(), Returns: c.returns.Load(),
	}
}

// run has them watch until ctx ends.
func (c *crowd) run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range c.viewers {
		wg.Go(func() { c.watch(ctx) })
	}
	<-ctx.Done()
	wg.Wait()
	return nil
}

// watch is one of them: it comes back when it is closed, and says how far it had come.
func (c *crowd) watch(ctx context.Context) {
	v := viewer{crowd: c}
	for failures := 0; ; failures++ {
		began := time.Now()
		v.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if v.position != "" {
			c.returns.Add(1)
		}
		if time.Since(began) > 5*time.Second {
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.policy().Delay(failures)):
		}
	}
}

// viewer is one viewer's place in the match.
type viewer struct {
	crowd    *crowd
	position string
	run      string
	seq      uint64
}

// session follows the match until the connection ends.
func (v *viewer) session(ctx context.Context) {
	target := url.URL{Scheme: "ws", Host: v.crowd.router, Path: "/t/" + matchTopic}
	if v.position != "" {
		target.RawQuery = url.Values{"since": {v.position}}.Encode()
	}
	dialer := websocket.Dialer{Subprotocols: []string{"ringside.v1"}, HandshakeTimeout: 10 * time.Second}
	ws, resp, err := dialer.DialContext(ctx, target.String(), nil)
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { ws.Close() })
	defer stop()
	defer ws.Close()
	v.crowd.watching.Add(1)
	defer v.crowd.watching.Add(-1)
	for {
		var m struct {
			Type     string     `json:"type"`
			ID       string     `json:"id"`
			Position string     `json:"position"`
			Data     matchState `json:"data"`
		}
		_, text, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if json.Unmarshal(text, &m) != nil {
			continue
		}
		switch m.Type {
		case "message":
			v.position = m.ID
			v.count(m.Data)
		case "welcome", "heartbeat", "gap":
			v.position = m.Position
		}
	}
}

// count compares a message with the one that had to come.
func (v *viewer) count(m matchState) {
	c := v.crowd
	c.received.Add(1)
	switch {
	case v.run != m.Run || m.Seq == v.seq+1:
	case m.Seq <= v.seq:
		c.repeated.Add(1)
		return
	default:
		c.lost.Add(int64(m.Seq - v.seq - 1))
	}
	v.run, v.seq = m.Run, m.Seq
}
