package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// What can become of a publish that did not succeed.
var (
	// ErrTooLarge: the payload is above the limit. Nothing was written.
	ErrTooLarge = errors.New("the payload is too large")
	// ErrID: the idempotency key is not acceptable. Nothing was written.
	ErrID = errors.New("an id has 1 to 255 bytes of UTF-8")
	// ErrUnavailable: Redis is away or refuses. Nothing was written.
	ErrUnavailable = errors.New("redis is not available")
	// ErrAmbiguous: the answer did not come. The message may have been written; a retry with the same ID is safe.
	ErrAmbiguous = errors.New("redis did not answer in time, the message may have been written")
)

// Message is what is published.
type Message struct {
	Topic   string
	ID      string // idempotency key; empty for none
	Payload []byte
	// Replicas must have the message before the publish is acknowledged; Config.MinReplicas is the least.
	Replicas int
}

// Published is the answer to a publish.
type Published struct {
	Topic     string
	Slot      int
	Position  position.Position
	Duplicate bool // the ID was used before: nothing was written, and the position is that of the first
}

// maxID is the length of the longest idempotency key.
const maxID = 255

// Outcome is what became of one message of several.
type Outcome struct {
	Published // zero when Err is not nil
	Err       error
}

// Publish is [Client.PublishAll] of one message.
func (c *Client) Publish(ctx context.Context, m Message) (Published, error) {
	o := c.PublishAll(ctx, []Message{m})[0]
	return o.Published, o.Err
}

// acceptable says why a message can't be published.
func (c *Client) acceptable(m *Message) error {
	if err := topic.Validate(m.Topic); err != nil {
		return err
	}
	if len(m.Payload) > c.cfg.MaxPayload {
		return fmt.Errorf("%w: %d bytes, %d is the most", ErrTooLarge, len(m.Payload), c.cfg.MaxPayload)
	}
	if len(m.ID) > maxID || !utf8.ValidString(m.ID) {
		return ErrID
	}
	return nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// outcome says of a command that failed whether it can have been carried out.
func outcome(err error) error {
	var dial *net.OpError
	var cert *tls.CertificateVerificationError
	switch _, answered := redisError(err); {
	case answered, errors.As(err, &dial) && dial.Op == "dial", errors.As(err, &cert), errors.Is(err, rueidis.ErrNoSlot):
		return fmt.Errorf("%w: %w", ErrUnavailable, explain(err))
	}
	return fmt.Errorf("%w: %w", ErrAmbiguous, err)
}
