package stream

import (
	"context"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
)

// solid is an entry that must not be lost, unlike a beacon. Owners add beacons until the moment in which another server takes
// over, so that nearly every failover loses some: were these a loss, it would begin a new epoch in every quiet stream.
type solid struct {
	id    position.ID
	sum   string                // of its content; empty when it is not known, or entry is
	entry *rueidis.RedisMessage // when this reader has read it
}

func (s *solid) content() string {
	if s.entry != nil {
		return entrySum(s.entry)
	}
	return s.sum
}

// lastSolid is the index of the last entry that is no beacon; -1 when there is none.
func lastSolid(es []Entry) int {
	for i := len(es) - 1; i >= 0; i-- {
		if !es[i].beacon {
			return i
		}
	}
	return -1
}

// mendScript looks whether a stream whose last entries are missing has lost nothing but beacons: the entry ARGV[3] is there with
// the content that it had, or trimmed, and between it and the position ARGV[2] are only beacons. It then makes sure that what is
// added from now on is above that position, by the same beacon again. It returns 1 when the tail can go on.
//
// KEYS: stream, epoch key. ARGV: epoch, position, ID of the entry, sum of its content, ID behind the entry.
//
//nolint:gochecknoglobals // a constant
var mendScript = newScript(`
if string.match(redis.call('GET', KEYS[2]) or '', '^%d+') ~= ARGV[1] then return 0 end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then return 0 end
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if entry and sum(entry) ~= ARGV[4] or not entry and not less(ARGV[3], first[1]) then return 0 end
if not less(ARGV[3], ARGV[2]) then return 0 end
for _, e in ipairs(redis.call('XRANGE', KEYS[1], ARGV[5], ARGV[2])) do
  if solid(e) == e[1] then return 0 end
end
if less(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1], ARGV[2]) then
  local added = redis.pcall('XADD', KEYS[1], ARGV[2], 'beacon', ARGV[1] .. ' ' .. ARGV[3])
  if type(added) == 'table' then
    if not string.find(added.err, 'equal or smaller') then return added end
    -- Redis remembers a greater ID than that of any entry there is: what it gives out is above the position.
    redis.call('XADD', KEYS[1], '*', 'beacon', ARGV[1] .. ' ' .. ARGV[3])
  end
end
return 1
`)

// mend has a tail go on whose stream has lost nothing but beacons, and reports whether that is so.
func (r *reader) mend(ctx context.Context, t *tail) (bool, error) {
	c, err := r.t.c.client()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	mended, err := mendScript.run(ctx, c, call{
		[]string{Key(t.slot), epochKey(t.slot)},
		[]string{formatEpoch(t.at.Epoch), t.at.ID.String(), t.solid.id.String(), t.solid.content(), t.solid.id.Next().String()},
	})[0].AsInt64()
	if err != nil {
		return false, outcome(err)
	}
	if mended == 1 {
		r.t.c.log.Info("a stream has lost beacons, and no messages; its tail goes on", zap.Int("slot", t.slot), zap.Stringer("at", t.at))
	}
	return mended == 1, nil
}
