package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// publishScript adds entries to one stream, and returns the value of the epoch key, how many entries the length limit cost, and of
// each message the entry's ID and whether it is that of an earlier publish. With an idempotency key that was used before it adds
// nothing and returns the first entry's ID; it then writes all the same when replicas are to be waited for, because WAIT counts who
// has the connection's last write. When Redis refuses something behind the first message, the others are not tried: the answer
// ends with the last one that went well, and says what Redis said.
//
// KEYS: stream, epoch key, an id key for each message that has an id. ARGV: new epoch, retention in ms, greatest length; then of each
// message its topic, payload, id or "", "1" to write always.
//
//nolint:gochecknoglobals // a constant
var publishScript = newScript(`
local out, key = {enter(KEYS[1], KEYS[2], ARGV[1]), 0, ''}, 2
local function publish(topic, payload, id, always)
  if id == '' then return 0, add(KEYS[1], ARGV[2], 'id', '', 'topic', topic, 'payload', payload) end
  key = key + 1
  local first = redis.call('GET', KEYS[key])
  if first then
    if always == '1' then redis.call('PEXPIRE', KEYS[key], ARGV[2]) end
    return 1, first
  end
  local entry = add(KEYS[1], ARGV[2], 'id', id, 'topic', topic, 'payload', payload, 'claimed', '1')
  redis.call('SET', KEYS[key], entry, 'PX', ARGV[2])
  return 0, entry
end
for i = 4, #ARGV, 4 do
  local ok, duplicate, entry = pcall(publish, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  if not ok then
    local said = type(duplicate) == 'table' and duplicate.err or tostring(duplicate)
    if i == 4 then return redis.error_reply(said) end
    out[3] = said
    break
  end
  out[#out + 1] = entry
  out[#out + 1] = duplicate
end
out[2] = brake(KEYS[1], ARGV[3])
return out
`)

// A run of the script holds Redis up for as long as it takes: so many messages, and payload bytes, of a stream are added by one.
const (
	scriptMessages = 256
	scriptBytes    = 1 << 20
)

// part is what is published to one stream, in order.
type part struct {
	slot int
	rest []*pending // not sent yet
	sent []*pending // by the present round
}

// pending is a message whose outcome is not known yet.
type pending struct {
	m        *Message
	replicas int
	out      *Outcome
}

// PublishAll writes messages to their topics' streams and returns when Redis has taken them, and as many replicas as were asked
// for: an outcome for each message. Messages of a topic stand in its stream in the order that they are given in; of one that Redis
// did not take, or may not have, none behind it in the same slot is tried, so that whoever repeats what failed keeps the order. What
// can't be published, whenever it is tried, keeps nothing up. It takes a round trip for each 256 messages or MiB of a slot; the slots
// share them. Errors wrap [ErrTooLarge], [ErrID], [ErrUnavailable], [ErrAmbiguous], or are of type [*topic.Error].
func (c *Client) PublishAll(ctx context.Context, ms []Message) []Outcome {
	out := make([]Outcome, len(ms))
	var parts []*part
	bySlot := make(map[int]*part, len(ms))
	for i := range ms {
		m := &ms[i]
		if out[i].Err = c.acceptable(m); out[i].Err != nil {
			continue
		}
		slot := topic.Slot(m.Topic)
		p := bySlot[slot]
		if p == nil {
			p = &part{slot: slot}
			bySlot[slot] = p
			parts = append(parts, p)
		}
		p.rest = append(p.rest, &pending{m, max(c.cfg.MinReplicas, m.Replicas), &out[i]})
	}
	r, err := c.client()
	if err != nil {
		for _, p := range parts {
			fail(p.rest, err)
		}
		parts = nil
	}
	for len(parts) > 0 {
		parts = c.round(ctx, r, parts)
	}
	for i := range out {
		c.metrics.published(out[i].Published, out[i].Err)
	}
	return out
}

// round sends the next messages of each part, and returns the parts that have more.
func (c *Client) round(ctx context.Context, r rueidis.Client, parts []*part) (more []*part) {
	replicated := false
	for _, p := range parts {
		n, size := 0, 0
		for n < min(len(p.rest), scriptMessages) && (n == 0 || size+len(p.rest[n].m.Payload) <= scriptBytes) {
			size += len(p.rest[n].m.Payload)
			replicated = replicated || p.rest[n].replicas > 0
			n++
		}
		p.sent, p.rest = p.rest[:n], p.rest[n:]
	}
	started := time.Now()
	if replicated {
		c.sendReplicated(ctx, r, parts)
	} else {
		op, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
		c.send(op, r, parts)
		cancel()
	}
	c.metrics.took(time.Since(started))
	for _, p := range parts {
		err := p.err()
		if err != nil {
			c.suspect(err)
			fail(p.rest, fmt.Errorf("%w: a message before it in the same slot was not taken", ErrUnavailable))
		} else if len(p.rest) > 0 {
			more = append(more, p)
		}
	}
	return more
}

// err is what the first of the messages that were sent has failed with.
func (p *part) err() error {
	for _, x := range p.sent {
		if x.out.Err != nil {
			return x.out.Err
		}
	}
	return nil
}

func fail(list []*pending, err error) {
	for _, x := range list {
		*x.out = Outcome{Err: err}
	}
}

// send runs the script for what is to be sent of each part, in one round trip, and notes what came of it.
func (c *Client) send(ctx context.Context, r rueidis.CoreClient, parts []*part) {
	calls := make([]call, len(parts))
	for i, p := range parts {
		calls[i] = c.call(p)
	}
	for i, res := range publishScript.run(ctx, r, calls...) {
		c.answered(parts[i], res)
	}
}

func (c *Client) call(p *part) call {
	keys := []string{Key(p.slot), epochKey(p.slot)}
	args := make([]string, 0, 3+4*len(p.sent))
	args = append(args, newEpoch(), millis(c.cfg.Retention), strconv.FormatInt(c.cfg.MaxLen, 10))
	for _, x := range p.sent {
		if x.m.ID != "" {
			keys = append(keys, idKey(p.slot, x.m.Topic, x.m.ID))
		}
		args = append(args, x.m.Topic, rueidis.BinaryString(x.m.Payload), x.m.ID, strconv.Itoa(min(x.replicas, 1)))
	}
	return call{keys, args}
}

// sendReplicated is send, and then waits for replicas: on a connection for each server, because WAIT asks who has the connection's last
// write. In a Cluster that is one for each group of slots.
func (c *Client) sendReplicated(ctx context.Context, r rueidis.Client, parts []*part) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout+c.cfg.WaitTimeout)
	defer cancel()
	groups := make(map[int][]*part)
	for _, p := range parts {
		g := 0
		if c.top == cluster {
			g = p.slot / groupSize
		}
		groups[g] = append(groups[g], p)
	}
	var wg sync.WaitGroup
	for _, group := range groups {
		wg.Go(func() {
			conn, release := r.Dedicate()
			defer release()
			c.send(ctx, conn, group)
			if err := c.waitFor(ctx, conn, group); err != nil {
				conn.Close()
			}
		})
	}
	wg.Wait()
}

// waitFor has messages fail that too few replicas have. It returns an error when the connection is not to be used any more.
func (c *Client) waitFor(ctx context.Context, conn rueidis.DedicatedClient, parts []*part) error {
	var written []*pending
	most, failed := 0, error(nil)
	for _, p := range parts {
		for _, x := range p.sent {
			if x.out.Err != nil {
				failed = x.out.Err
				continue
			}
			written = append(written, x)
			most = max(most, x.replicas)
		}
	}
	if most == 0 {
		return failed
	}
	n, err := conn.Do(ctx, conn.B().Wait().Numreplicas(int64(most)).Timeout(c.cfg.WaitTimeout.Milliseconds()).Build()).AsInt64()
	for _, x := range written {
		switch {
		case x.replicas == 0:
		case err != nil:
			*x.out = Outcome{Err: fmt.Errorf("%w: WAIT: %w", ErrAmbiguous, err)}
		case n < int64(x.replicas):
			*x.out = Outcome{Err: fmt.Errorf("%w: %d of %d replicas have it after %v", ErrAmbiguous, n, x.replicas, c.cfg.WaitTimeout)}
		}
	}
	return errors.Join(failed, err)
}

// answered reads what the publish script returned.
func (c *Client) answered(p *part, res rueidis.RedisResult) {
	parts, err := res.ToArray()
	if err != nil {
		fail(p.sent, outcome(err))
		return
	}
	braked, err := p.parse(parts)
	if err != nil {
		fail(p.sent, fmt.Errorf("%w: %w", ErrAmbiguous, err))
		return
	}
	c.metrics.braked.Add(uint64(braked))
}

var errAnswer = errors.New("the publish script was answered in a way that is not understood")

func (p *part) parse(parts []rueidis.RedisMessage) (braked int64, err error) {
	const head = 3
	done := (len(parts) - head) / 2
	if len(parts) < head || len(parts)%2 != head%2 || done > len(p.sent) {
		return 0, errAnswer
	}
	text, err1 := parts[0].ToString()
	braked, err2 := parts[1].AsInt64()
	said, err3 := parts[2].ToString()
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, err
	}
	epoch, _, err := parseEpoch(text)
	if err != nil || (said == "") != (done == len(p.sent)) {
		return 0, errors.Join(errAnswer, err)
	}
	for i, x := range p.sent[:done] {
		id, err1 := parts[head+2*i].ToString()
		duplicate, err2 := parts[head+2*i+1].AsInt64()
		at, err3 := position.ParseID(id)
		if err := errors.Join(err1, err2, err3); err != nil {
			return 0, err
		}
		*x.out = Outcome{Published: Published{x.m.Topic, p.slot, position.Position{Epoch: epoch, ID: at}, duplicate == 1}}
	}
	if done < len(p.sent) { // at which step of that message is not known
		fail(p.sent[done:], fmt.Errorf("%w: a message before it in the same slot was not taken: %s", ErrUnavailable, said))
		fail(p.sent[done:done+1], fmt.Errorf("%w: %s", ErrAmbiguous, said))
	}
	return braked, nil
}
