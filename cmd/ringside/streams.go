package main

import (
	"context"
	"fmt"

	"github.com/ringside-edge/ringside/gateway"
	"github.com/ringside-edge/ringside/internal/admin"
)

// streams tells the admin port of slots' streams.
type streams struct{ core *core }

// Window implements [admin.Streams].
func (s streams) Window(ctx context.Context, slot int) (admin.Window, error) {
	w, err := s.core.stream.Window(ctx, slot)
	if err != nil {
		return admin.Window{}, err
	}
	return admin.Window{
		Epoch: fmt.Sprintf("%08x", w.Epoch), First: w.First.String(), Last: w.Last.String(), Entries: w.Entries, Seconds: w.Age.Seconds(),
	}, nil
}

// Tail implements [admin.Streams].
func (s streams) Tail(slot int) (admin.Tail, bool) {
	g, ok := s.core.server.(*gateway.Gateway)
	if !ok {
		return admin.Tail{}, false
	}
	t, ok := g.Tail(slot)
	return admin.Tail{
		Owned: t.Owned, Stands: t.Stands, Position: t.At.String(), AsOf: t.AsOf, Lag: t.Age, Stale: t.Stale, Unread: t.Lag, Pending: t.Pending,
	}, ok
}
