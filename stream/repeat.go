package stream

import (
	"context"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
)

// claimScript records that an entry is the first with its idempotency key, and returns which one was.
//
// KEYS: id key. ARGV: the entry, expiry in ms.
//
//nolint:gochecknoglobals // a constant
var claimScript = newScript(`
local first = redis.call('GET', KEYS[1])
if first then return first end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
`)

// dropRepeated empties the entries whose idempotency key stands for another one. The publish script adds none, so that only
// those have to be looked at that something else has added. Redis remembers the keys, for as long as the script's: so all
// gateways drop the same entries, whatever they have seen before, of pages as of tails. As a rule it is the earliest that counts;
// where nobody had read that when a later one was read, or published, it is that one.
func (c *Client) dropRepeated(ctx context.Context, slot int, es []Entry) error {
	var calls []call
	var asked []*Entry
	for i := range es {
		if e := &es[i]; e.Key != "" && !e.claimed && e.Topic != "" {
			calls = append(calls, call{[]string{idKey(slot, e.Topic, e.Key)}, []string{e.ID.String(), millis(c.cfg.Retention)}})
			asked = append(asked, e)
		}
	}
	if len(calls) == 0 {
		return nil
	}
	r, err := c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	for i, res := range claimScript.run(ctx, r, calls...) {
		if err := c.dropIfRepeated(slot, asked[i], res); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) dropIfRepeated(slot int, e *Entry, res rueidis.RedisResult) error {
	text, err := res.ToString()
	if err != nil {
		return outcome(err)
	}
	counts, err := position.ParseID(text)
	if err != nil || counts == e.ID || e.ID.Less(counts) && counts.Ms-e.ID.Ms >= uint64(c.cfg.Retention.Milliseconds()) {
		return nil //nolint:nilerr // what else stands there is not ours to judge; and of an old one the key's time was over
	}
	if c.metrics.repeated(slot, e.ID) {
		c.log.Debug("passed over an entry whose id another one has", zap.String("key", Key(slot)), zap.Stringer("entry", e.ID),
			zap.Stringer("other", counts))
	}
	*e = Entry{ID: e.ID}
	return nil
}
