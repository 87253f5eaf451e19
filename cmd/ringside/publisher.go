package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/internal/fault"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/stream"
)

// publisher is the stream as the admin port knows it.
type publisher struct {
	client *stream.Client
	done   *atomic.Uint64 // counts what was published, repetitions not
}

// Publish implements [admin.Publisher].
func (p publisher) Publish(ctx context.Context, ms []admin.Message) []admin.Outcome {
	out := make([]admin.Outcome, len(ms))
	if fault.Enabled && fault.Hit(fault.Ack, 100) { // as if it had died before they were added
		now := position.ID{Ms: uint64(time.Now().UnixMilli())}
		for i, m := range ms {
			out[i].Published = admin.Published{Slot: topic.Slot(m.Topic), Position: position.Position{Epoch: 1, ID: now}}
		}
		return out
	}
	list := make([]stream.Message, len(ms))
	for i, m := range ms {
		list[i] = stream.Message{Topic: m.Topic, ID: m.ID, Payload: m.Payload, Replicas: m.Replicas}
	}
	for i, o := range p.client.PublishAll(ctx, list) {
		if o.Err == nil && !o.Duplicate {
			p.done.Add(1)
		}
		out[i] = admin.Outcome{Published: admin.Published{Slot: o.Slot, Position: o.Position, Duplicate: o.Duplicate}, Err: asAdmin(o.Err)}
	}
	return out
}

// asAdmin says what a publish has failed with in the words of the admin port.
func asAdmin(err error) error {
	switch {
	case errors.Is(err, stream.ErrAmbiguous):
		return fmt.Errorf("%w: %w", admin.ErrAmbiguous, err)
	case errors.Is(err, stream.ErrUnavailable):
		return fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
	case errors.Is(err, stream.ErrTooLarge):
		return fmt.Errorf("%w: %w", admin.ErrTooLarge, err)
	}
	return err
}
