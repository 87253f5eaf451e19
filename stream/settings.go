package stream

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// keySettings is a hash: what the cluster's operators have set at run time, by name. It is no slot's.
const keySettings = "ringside:{settings}"

const (
	// maxSettings bounds the hash.
	maxSettings = 2048
	// settingsSkew is how far ahead of Redis's clock a setting may have been written, ms. It is that of gossip, and a bit.
	settingsSkew = 90_000
)

// settingsScript takes in what is later than what is there, byte by byte, forgets what it is told to, and returns how many
// it refused and then all that there is. Strings are not compared by "<", which goes by the server's locale. The first 6
// bytes of a value are the time when it was written, ms.
//
// KEYS: the hash. ARGV: skew, most fields, how many to keep; then of each a name and a value; then of those to forget.
//
//nolint:gochecknoglobals // a constant
var settingsScript = newScript(`
local function later(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end
local function written(v)
  local t = 0
  for i = 1, 6 do t = t * 256 + (string.byte(v, i) or 0) end
  return t
end
local limit, refused = now() + ARGV[1], 0
for i = 0, ARGV[3] - 1 do
  local name, v = ARGV[4 + 2 * i], ARGV[5 + 2 * i]
  local was = redis.call('HGET', KEYS[1], name)
  if was and not later(v, was) then
  elseif written(v) > limit or not was and redis.call('HLEN', KEYS[1]) >= ARGV[2] + 0 then
    refused = refused + 1
  else
    redis.call('HSET', KEYS[1], name, v)
  end
end
for i = 4 + 2 * ARGV[3], #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
local all = redis.call('HGETALL', KEYS[1])
table.insert(all, 1, digits(refused))
return all
`)

// Settings exchanges what was set at run time with what Redis remembers of it: of two values of a name, the greater one
// counts, byte by byte, and each begins with when it was written (ms since 1970 in 6 bytes). Those to forget are taken out
// as long as they are still like that. It returns all that Redis has, and how many it refused: from too far in the future,
// or too many. Errors wrap [ErrUnavailable] or [ErrAmbiguous]; it may be repeated.
func (c *Client) Settings(ctx context.Context, keep, forget map[string][]byte) (all map[string][]byte, refused int, err error) {
	r, err := c.client()
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	args := []string{fmt.Sprint(settingsSkew), fmt.Sprint(maxSettings), fmt.Sprint(len(keep))}
	for _, m := range []map[string][]byte{keep, forget} {
		for name, v := range m {
			args = append(args, name, rueidis.BinaryString(v))
		}
	}
	list, err := settingsScript.run(ctx, r, call{keys: []string{keySettings}, args: args})[0].ToArray()
	if err != nil {
		return nil, 0, outcome(err)
	}
	if len(list)%2 != 1 {
		return nil, 0, fmt.Errorf("%w: the settings script gave %d values", ErrAmbiguous, len(list))
	}
	first, err := list[0].AsInt64()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrAmbiguous, err)
	}
	all = make(map[string][]byte, len(list)/2)
	for i := 1; i < len(list); i += 2 {
		name, err1 := list[i].ToString()
		value, err2 := list[i+1].ToString()
		if err1 != nil || err2 != nil {
			return nil, 0, fmt.Errorf("%w: a setting is no string", ErrAmbiguous)
		}
		all[name] = []byte(value)
	}
	return all, int(first), nil
}
