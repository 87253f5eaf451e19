package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/internal/fault"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/stream"
)

// publisher is the stream as the admin port knows it.
type publisher struct{ client *stream.Client }

// Publish implements [admin.Publisher].
func (p publisher) Publish(ctx context.Context, m admin.Message) (admin.Published, error) {
	if fault.Enabled && fault.Hit(fault.Ack, 100) { // as if it had died before it was added
		now := position.ID{Ms: uint64(time.Now().UnixMilli())}
		return admin.Published{Slot: topic.Slot(m.Topic), Position: position.Position{Epoch: 1, ID: now}}, nil
	}
	done, err := p.client.Publish(ctx, stream.Message{Topic: m.Topic, ID: m.ID, Payload: m.Payload, Replicas: m.Replicas})
	switch {
	case err == nil:
		return admin.Published{Slot: done.Slot, Position: done.Position, Duplicate: done.Duplicate}, nil
	case errors.Is(err, stream.ErrAmbiguous):
		return admin.Published{}, fmt.Errorf("%w: %w", admin.ErrAmbiguous, err)
	case errors.Is(err, stream.ErrUnavailable):
		return admin.Published{}, fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	case errors.Is(err, stream.ErrTooLarge):
		return admin.Published{}, fmt.Errorf("%w: %w", admin.ErrTooLarge, err)
	}
	return admin.Published{}, err
}
