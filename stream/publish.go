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

// publishScript adds an entry and returns its ID, the value of the epoch key, whether it is that of an earlier publish, and how
// many entries the length limit cost. With an idempotency key that was used before it adds nothing and returns the first entry's
// ID; it then writes all the same when replicas are to be waited for, because WAIT counts who has the connection's last write.
//
// KEYS: stream, epoch key, id key if there is an id. ARGV: new epoch, topic, payload, id or "", retention in ms, greatest length, "1" to write always.
//
//nolint:gochecknoglobals // a constant
var publishScript = newScript(`
local v = enter(KEYS[1], KEYS[2], ARGV[1])
if ARGV[4] == '' then
  local entry, braked = add(KEYS[1], ARGV[5], ARGV[6], 'id', '', 'topic', ARGV[2], 'payload', ARGV[3])
  return {entry, v, 0, braked}
end
local first = redis.call('GET', KEYS[3])
if first then
  if ARGV[7] == '1' then redis.call('PEXPIRE', KEYS[3], ARGV[5]) end
  return {first, v, 1, 0}
end
local entry, braked = add(KEYS[1], ARGV[5], ARGV[6], 'id', ARGV[4], 'topic', ARGV[2], 'payload', ARGV[3], 'claimed', '1')
redis.call('SET', KEYS[3], entry, 'PX', ARGV[5])
return {entry, v, 0, braked}
`)

// Publish writes m to its topic's stream and returns when Redis has taken it, and as many replicas as were asked for. Errors wrap
// [ErrTooLarge], [ErrID], [ErrUnavailable], [ErrAmbiguous], or are of type [*topic.Error].
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
	replicas := max(c.cfg.MinReplicas, m.Replicas)
	slot := topic.Slot(m.Topic)
	pub := call{
		[]string{Key(slot), epochKey(slot)},
		[]string{
			newEpoch(), m.Topic, rueidis.BinaryString(m.Payload), m.ID, millis(c.cfg.Retention),
			strconv.FormatInt(c.cfg.MaxLen, 10), strconv.Itoa(min(replicas, 1)),
		},
	}
	if m.ID != "" {
		pub.keys = append(pub.keys, idKey(slot, m.Topic, m.ID))
	}
	p := Published{Topic: m.Topic, Slot: slot}
	started := time.Now()
	if replicas == 0 {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
		defer cancel()
		err = c.published(&p, publishScript.run(ctx, r, pub)[0])
	} else {
		err = c.publishReplicated(ctx, r, &p, pub, replicas)
	}
	c.metrics.took(time.Since(started))
	if err != nil {
		c.suspect(err)
		return Published{}, err
	}
	return p, nil
}

// publishReplicated publishes and waits for replicas, on one connection: WAIT asks who has the connection's last write.
func (c *Client) publishReplicated(ctx context.Context, r rueidis.Client, p *Published, pub call, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout+c.cfg.WaitTimeout)
	defer cancel()
	conn, release := r.Dedicate()
	defer release()
	if err := c.published(p, publishScript.run(ctx, conn, pub)[0]); err != nil {
		conn.Close()
		return err
	}
	n, err := conn.Do(ctx, conn.B().Wait().Numreplicas(int64(replicas)).Timeout(c.cfg.WaitTimeout.Milliseconds()).Build()).AsInt64()
	switch {
	case err != nil:
		conn.Close()
		return fmt.Errorf("%w: WAIT: %w", ErrAmbiguous, err)
	case n < int64(replicas):
		return fmt.Errorf("%w: %d of %d replicas have it after %v", ErrAmbiguous, n, replicas, c.cfg.WaitTimeout)
	}
	return nil
}

// published reads what the publish script returned.
func (c *Client) published(p *Published, res rueidis.RedisResult) error {
	parts, err := res.ToArray()
	if err != nil {
		return outcome(err)
	}
	braked, err := p.parse(parts)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAmbiguous, err)
	}
	c.metrics.braked.Add(uint64(braked))
	return nil
}

func (p *Published) parse(parts []rueidis.RedisMessage) (braked int64, err error) {
	if len(parts) != 4 {
		return 0, errors.New("the publish script was answered in a way that is not understood")
	}
	id, err1 := parts[0].ToString()
	epoch, err2 := parts[1].ToString()
	duplicate, err3 := parts[2].AsInt64()
	braked, err4 := parts[3].AsInt64()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return 0, err
	}
	p.Duplicate = duplicate == 1
	if p.Position.ID, err = position.ParseID(id); err != nil {
		return 0, err
	}
	p.Position.Epoch, _, err = parseEpoch(epoch)
	return braked, err
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
