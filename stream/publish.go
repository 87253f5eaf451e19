package stream

import (
	"context"
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

// publishScript adds an entry and returns its ID and the epoch. With an idempotency key that was used before it adds
// nothing and returns the first entry's ID.
//
// KEYS: stream, epoch key, id key. ARGV: new epoch, topic, payload, id or "", expiry of the id in ms, least ID to keep.
//
//nolint:gochecknoglobals // a constant
var publishScript = rueidis.NewLuaScript(`
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[2], epoch)
  redis.call('XADD', KEYS[1], '*', 'epoch', epoch)
end
if ARGV[4] ~= '' then
  local first = redis.call('GET', KEYS[3])
  if first then
    return {first, epoch, 1}
  end
end
local entry = redis.call('XADD', KEYS[1], 'MINID', '~', ARGV[6], '*', 'id', ARGV[4], 'topic', ARGV[2], 'payload', ARGV[3])
if ARGV[4] ~= '' then
  redis.call('SET', KEYS[3], entry, 'PX', ARGV[5])
end
return {entry, epoch, 0}
`)

// Publish writes m to its topic's stream and returns when Redis has taken it. Errors wrap [ErrTooLarge], [ErrID],
// [ErrUnavailable], [ErrAmbiguous], or are of type [*topic.Error].
func (c *Client) Publish(ctx context.Context, m Message) (Published, error) {
	p, err := c.publish(ctx, m)
	c.metrics.published(p, err)
	return p, err
}

func (c *Client) publish(ctx context.Context, m Message) (Published, error) {
	if err := topic.Validate(m.Topic); err != nil {
		return Published{}, err
	}
	if len(m.Payload) > c.cfg.MaxPayload {
		return Published{}, fmt.Errorf("%w: %d bytes, %d is the most", ErrTooLarge, len(m.Payload), c.cfg.MaxPayload)
	}
	if len(m.ID) > maxID || !utf8.ValidString(m.ID) {
		return Published{}, ErrID
	}
	r, err := c.client()
	if err != nil {
		return Published{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	slot := topic.Slot(m.Topic)
	keys := []string{Key(slot), epochKey(slot), idKey(slot, m.ID)}
	args := []string{newEpoch(), m.Topic, rueidis.BinaryString(m.Payload), m.ID, millis(c.cfg.Retention), c.minID()}
	started := time.Now()
	parts, err := publishScript.Exec(ctx, r, keys, args).ToArray()
	c.metrics.took(time.Since(started))
	if err != nil {
		return Published{}, outcome(err)
	}
	p := Published{Topic: m.Topic, Slot: slot}
	if err := p.parse(parts); err != nil {
		return Published{}, fmt.Errorf("%w: %w", ErrAmbiguous, err)
	}
	c.brake(ctx, r, slot)
	return p, nil
}

func (p *Published) parse(parts []rueidis.RedisMessage) error {
	if len(parts) != 3 {
		return errors.New("the publish script was answered in a way that is not understood")
	}
	id, err1 := parts[0].ToString()
	epoch, err2 := parts[1].ToString()
	duplicate, err3 := parts[2].AsInt64()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var err error
	if p.Position.ID, err = position.ParseID(id); err != nil {
		return err
	}
	p.Duplicate = duplicate == 1
	p.Position.Epoch, err = parseEpoch(epoch)
	return err
}

// brakeEvery is after how many publishes of ours a stream's length is looked at.
const brakeEvery = 128

// brake keeps a stream that grows faster than its retention allows for from filling Redis. It is best effort, and counted.
func (c *Client) brake(ctx context.Context, r rueidis.Client, slot int) {
	if c.published[slot].Add(1)%brakeEvery != 0 {
		return
	}
	cmd := r.B().Xtrim().Key(Key(slot)).Maxlen().Almost().Threshold(strconv.FormatInt(c.cfg.MaxLen, 10)).Build()
	if n, err := r.Do(ctx, cmd).AsInt64(); err == nil && n > 0 {
		c.metrics.braked.Add(uint64(n))
	}
}

// minID is the least entry ID that lies within the retention.
func (c *Client) minID() string {
	return strconv.FormatInt(max(0, c.now()-c.cfg.Retention.Milliseconds()), 10)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// outcome says of a command that failed whether it can have been carried out.
func outcome(err error) error {
	var dial *net.OpError
	switch _, answered := rueidis.IsRedisErr(err); {
	case answered, errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrAmbiguous, err)
}
