package stream

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
)

// goneScript returns a stream's first entry, and how many entries have ever been removed from it; -1 when the server does not count.
//
// KEYS: stream.
//
//nolint:gochecknoglobals // a constant
var goneScript = newScript(`
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local n = added(KEYS[1])
if n >= 0 then n = n - redis.call('XLEN', KEYS[1]) end
return {first and first[1] or '0-0', digits(n)}
`)

// farBehind is how many entries make a read so large that some before them may have been trimmed unread.
const farBehind = 64

// checkTrimmed looks whether entries were trimmed before the tails have read them, where got is so much, or comes after so long,
// that this can be. Such a tail is placed where the stream begins now, and its sessions find out what they have missed.
func (r *reader) checkTrimmed(ctx context.Context, conn rueidis.DedicatedClient, got map[string][]rueidis.RedisMessage) error {
	var calls []call
	var tails []*tail
	for key, msgs := range got {
		t := r.byKey[key]
		if t != nil && (len(msgs) >= farBehind || time.Since(t.seen) > 4*r.t.cfg.Beacon) {
			calls, tails = append(calls, call{keys: []string{key}}), append(tails, t)
		}
	}
	if len(calls) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	for i, res := range goneScript.run(ctx, conn, calls...) {
		if err := r.skipTrimmed(tails[i], res); err != nil {
			return fmt.Errorf("slot %d: %w", tails[i].slot, err)
		}
	}
	return nil
}

func (r *reader) skipTrimmed(t *tail, res rueidis.RedisResult) error {
	parts, err := res.AsStrSlice()
	if err != nil || len(parts) != 2 {
		return fmt.Errorf("the script was answered in a way that is not understood: %w", outcome(err))
	}
	first, err := position.ParseID(parts[0])
	if err != nil {
		return err
	}
	gone, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return err
	}
	unread := t.at.ID.Less(first.Prev())
	if gone >= 0 && t.base >= 0 {
		unread = unread && gone > t.base+t.read
	}
	if !unread {
		return nil
	}
	r.t.c.metrics.trimmedUnread.Add(1)
	r.t.c.log.Warn("a stream was trimmed faster than its tail has read it; its sessions are told of a gap", zap.Int("slot", t.slot),
		zap.Stringer("was", t.at), zap.Stringer("first", first))
	t.moveTo(position.Position{Epoch: t.at.Epoch, ID: first.Prev()}, t.begin, "", Edges{})
	r.t.cfg.Sink.TailStarted(t.slot, t.at, t.begin)
	return nil
}
