package main

import (
	"context"
	"errors"
	"time"

	"github.com/ringside-edge/ringside/gateway"
	"github.com/ringside-edge/ringside/internal/tally"
	"github.com/ringside-edge/ringside/internal/topic"
)

const (
	// countTimeout is what a count may take: long enough for gossip to notice that the gateway which adds up has died.
	countTimeout = 4 * time.Second
	countAgain   = 200 * time.Millisecond
)

// count is how many sessions follow a topic in the whole cluster. The gateway that adds them up is asked, one request, whatever the cluster's size;
// when it does not answer, again, until the ring says who takes its place.
func (c *core) count(ctx context.Context, name string) (tally.Count, error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	for {
		n, err := c.countOnce(ctx, name)
		if err == nil {
			return n, nil
		}
		select {
		case <-ctx.Done():
			return tally.Count{}, err
		case <-time.After(countAgain):
		}
	}
}

func (c *core) countOnce(ctx context.Context, name string) (tally.Count, error) {
	m := tally.Counter(c.ring(), topic.Slot(name))
	if m == nil {
		return tally.Count{}, errors.New("there is no active gateway")
	}
	if g, ok := c.server.(*gateway.Gateway); ok && m.ID == c.set.id {
		if n, ok := g.Count(name); ok {
			return n, nil
		}
		return tally.Count{}, tally.ErrElsewhere
	}
	return tally.Dialer{Keys: c.keys, TLS: c.legTLS}.Ask(ctx, m, name)
}
