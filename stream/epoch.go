package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/position"
)

// Edges are the ends of a slot's stream.
type Edges struct {
	Epoch uint32      // never 0
	First position.ID // the oldest entry that is still there; zero when there is none
	Last  position.ID // the newest; zero when there is none
}

// edgesScript returns a stream's epoch, first and last entry ID. A stream without an epoch gets one, and with it a first
// entry, its mark, so that the oldest position anybody can have lies on an entry: whoever stands before the first entry
// has missed what was trimmed, and nobody else has. With ARGV[2] it gets a new epoch, provided that it still has that one.
//
// KEYS: stream, epoch key. ARGV: new epoch, epoch to be replaced or "".
//
//nolint:gochecknoglobals // a constant
var edgesScript = rueidis.NewLuaScript(`
local epoch = redis.call('GET', KEYS[2])
if not epoch or epoch == ARGV[2] then
  epoch = ARGV[1]
  redis.call('SET', KEYS[2], epoch)
  redis.call('XADD', KEYS[1], '*', 'epoch', epoch)
end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
return {epoch, first[1] and first[1][1] or '', last[1] and last[1][1] or ''}
`)

// Edges reads the ends of a slot's stream. Errors wrap [ErrUnavailable] or [ErrAmbiguous].
func (c *Client) Edges(ctx context.Context, slot int) (Edges, error) { return c.edges(ctx, slot, "") }

// renew gives a slot's stream a new epoch, unless somebody else has replaced old already.
func (c *Client) renew(ctx context.Context, slot int, old uint32) (Edges, error) {
	return c.edges(ctx, slot, formatEpoch(old))
}

func (c *Client) edges(ctx context.Context, slot int, replace string) (Edges, error) {
	r, err := c.client()
	if err != nil {
		return Edges{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	parts, err := edgesScript.Exec(ctx, r, []string{Key(slot), epochKey(slot)}, []string{newEpoch(), replace}).AsStrSlice()
	if err != nil {
		return Edges{}, outcome(err)
	}
	if len(parts) != 3 {
		return Edges{}, errors.New("the edges script was answered in a way that is not understood")
	}
	var e Edges
	if e.Epoch, err = parseEpoch(parts[0]); err != nil {
		return Edges{}, fmt.Errorf("key %s: %w", epochKey(slot), err)
	}
	for i, id := range []*position.ID{&e.First, &e.Last} {
		if parts[i+1] == "" {
			continue
		}
		if *id, err = position.ParseID(parts[i+1]); err != nil {
			return Edges{}, err
		}
	}
	return e, nil
}

// newEpoch is an epoch that there was not before, with all but certainty.
func newEpoch() string { return formatEpoch(1 + rand.Uint32N(1<<32-1)) }

func formatEpoch(e uint32) string { return strconv.FormatUint(uint64(e), 10) }

func parseEpoch(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%.20q is no epoch", s)
	}
	return uint32(n), nil
}
