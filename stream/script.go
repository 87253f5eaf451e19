package stream

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name that Redis gives to a script, no secret
	"encoding/hex"
	"strings"

	"github.com/redis/rueidis"
)

// script is a Lua script, which Redis runs atomically.
type script struct{ text, sha string }

// call is one run of a script. Its keys lie in one hash slot.
type call struct{ keys, args []string }

// prelude is what all scripts begin with. Servers before 7.0 need to be told that the effects of a script are replicated and not
// its text, because it asks for the time.
//
// enter returns the value of an epoch key, which it makes, together with the epoch's mark, when there is none: "<epoch> <ID of
// the mark>". less compares entry IDs. solid is the ID of the last entry up to e that is no beacon, which a beacon names; sum is
// what stands for an entry's content. add adds an entry, trims the stream by time, and returns the entry's ID; brake trims it by
// length, once for all that a run has added, and returns how many entries that cost.
const prelude = `
if redis.replicate_commands then redis.replicate_commands() end
local function begin(stream, key, new)
  local v = new .. ' ' .. redis.call('XADD', stream, '*', 'epoch', new)
  redis.call('SET', key, v)
  return v
end
local function enter(stream, key, new)
  return redis.call('GET', key) or begin(stream, key, new)
end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function digits(n) return string.format('%.0f', n) end
local function less(a, b)
  local am, as = string.match(a, '^(%d+)-(%d+)$')
  local bm, bs = string.match(b, '^(%d+)-(%d+)$')
  if am ~= bm then return #am < #bm or #am == #bm and am < bm end
  return #as < #bs or #as == #bs and as < bs
end
local function solid(e)
  return e[2][1] == 'beacon' and string.match(e[2][2], ' (.+)$') or e[1]
end
local function sum(e) return e and redis.sha1hex(table.concat(e[2], '\0')) or '' end
local oldest
local function add(stream, retention, ...)
  oldest = oldest or digits(math.max(0, now() - retention))
  return redis.call('XADD', stream, 'MINID', '~', oldest, '*', ...)
end
local function brake(stream, most)
  if redis.call('XLEN', stream) <= most + 0 then return 0 end
  return redis.call('XTRIM', stream, 'MAXLEN', '~', most)
end
local function added(stream)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  for i = 1, #info - 1 do
    if info[i] == 'entries-added' then return info[i + 1] end
  end
  return -1
end
`

func newScript(text string) *script {
	text = prelude + text
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see above
	return &script{text, hex.EncodeToString(sum[:])}
}

// run runs s for each of calls and returns their results in that order: in one round trip, but for servers that don't know s yet.
func (s *script) run(ctx context.Context, r rueidis.CoreClient, calls ...call) []rueidis.RedisResult {
	cmds := make(rueidis.Commands, len(calls))
	for i, c := range calls {
		cmds[i] = r.B().Evalsha().Sha1(s.sha).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
	}
	results := r.DoMulti(ctx, cmds...)
	var again []int
	for i := range results {
		if e, ok := rueidis.IsRedisErr(results[i].Error()); ok && strings.HasPrefix(e.Error(), "NOSCRIPT") {
			again = append(again, i)
		}
	}
	if len(again) == 0 {
		return results
	}
	unknown := make([]call, len(again))
	for j, i := range again {
		unknown[j] = calls[i]
	}
	for j, res := range s.eval(ctx, r, unknown...) {
		results[again[j]] = res
	}
	return results
}

// eval runs s by its text, which makes it known to the servers.
func (s *script) eval(ctx context.Context, r rueidis.CoreClient, calls ...call) []rueidis.RedisResult {
	cmds := make(rueidis.Commands, len(calls))
	for i, c := range calls {
		cmds[i] = r.B().Eval().Script(s.text).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
	}
	return r.DoMulti(ctx, cmds...)
}
