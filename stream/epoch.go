package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/position"
)

// Edges are the ends of a slot's stream.
type Edges struct {
	Epoch uint32      // never 0
	Begin position.ID // the epoch's mark, with which it began; zero when that is not known
	First position.ID // the oldest entry that is still there; zero when there is none
	Last  position.ID // the newest; zero when there is none

	lastSum string // of the content of Last
	headSum string // of the content of the entry that was asked for; empty when it is not there
	added   int64  // entries that were ever added; -1 when the server does not count them

	solid    position.ID // the last entry that is no beacon
	solidSum string      // of its content; empty when it is trimmed
}

// edgesScript returns a stream's epoch, first and last entry ID, and what the entry ARGV[3] contains. A stream without an epoch
// gets one, and with it a first entry, its mark, so that the oldest position anybody can have lies on an entry: whoever stands
// before the first entry has missed what was trimmed, and nobody else has. With ARGV[2] it gets a new epoch, provided that it
// still has that one.
//
// KEYS: stream, epoch key. ARGV: new epoch, epoch to be replaced or "", ID of an entry.
//
//nolint:gochecknoglobals // a constant
var edgesScript = newScript(`
local v = enter(KEYS[1], KEYS[2], ARGV[1])
if string.match(v, '^%d+') == ARGV[2] then v = begin(KEYS[1], KEYS[2], ARGV[1]) end
local function id(e) return e and e[1] or '' end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local head = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
local s = last and solid(last) or ''
local message = last
if last and s ~= last[1] then message = redis.call('XRANGE', KEYS[1], s, s)[1] end
return {v, id(first), id(last), sum(last), sum(head), digits(added(KEYS[1])), s, sum(message)}
`)

// Edges reads the ends of a slot's stream. Errors wrap [ErrUnavailable] or [ErrAmbiguous].
func (c *Client) Edges(ctx context.Context, slot int) (Edges, error) {
	es, err := c.edges(ctx, []edgesOf{{slot: slot}})
	if err != nil {
		return Edges{}, err
	}
	return es[0], nil
}

// edgesOf asks for the edges of a slot, whether the entry head is there, and, unless replace is 0, for a new epoch in its place.
type edgesOf struct {
	slot    int
	head    position.ID
	replace uint32
}

// edges asks for many at once. It is one round trip.
func (c *Client) edges(ctx context.Context, asked []edgesOf) ([]Edges, error) {
	r, err := c.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	calls := make([]call, len(asked))
	for i, a := range asked {
		replace := ""
		if a.replace != 0 {
			replace = formatEpoch(a.replace)
		}
		calls[i] = call{[]string{Key(a.slot), epochKey(a.slot)}, []string{newEpoch(), replace, a.head.String()}}
	}
	es := make([]Edges, len(asked))
	for i, res := range edgesScript.run(ctx, r, calls...) {
		if err := es[i].parse(res); err != nil {
			return nil, fmt.Errorf("slot %d: %w", asked[i].slot, err) //nolint:gosec // one result for each that is asked
		}
	}
	return es, nil
}

func (e *Edges) parse(res rueidis.RedisResult) error {
	parts, err := res.AsStrSlice()
	if err != nil {
		return outcome(err)
	}
	if len(parts) != 8 {
		return errors.New("the edges script was answered in a way that is not understood")
	}
	var errs [3]error
	e.Epoch, e.Begin, errs[0] = parseEpoch(parts[0])
	for i, id := range map[int]*position.ID{1: &e.First, 2: &e.Last, 6: &e.solid} {
		if parts[i] != "" {
			if *id, err = position.ParseID(parts[i]); err != nil {
				errs[1] = err
			}
		}
	}
	e.lastSum, e.headSum, e.solidSum = parts[3], parts[4], parts[7]
	e.added, errs[2] = strconv.ParseInt(parts[5], 10, 64)
	return errors.Join(errs[:]...)
}

// Window is how far back a slot's stream goes at present.
type Window struct {
	Edges
	Entries int64         // beacons included
	Age     time.Duration // of the oldest entry, by the clock of Redis
}

// windowScript returns a stream's length, and the server's time in ms.
//
// KEYS: stream.
//
//nolint:gochecknoglobals // a constant
var windowScript = newScript("return {redis.call('XLEN', KEYS[1]), now()}")

// Window reads how far back a slot's stream goes. Errors wrap [ErrUnavailable] or [ErrAmbiguous].
func (c *Client) Window(ctx context.Context, slot int) (Window, error) {
	e, err := c.Edges(ctx, slot)
	if err != nil {
		return Window{}, err
	}
	r, err := c.client()
	if err != nil {
		return Window{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	parts, err := windowScript.run(ctx, r, call{keys: []string{Key(slot)}})[0].AsIntSlice()
	if err != nil || len(parts) != 2 {
		return Window{}, outcome(err)
	}
	return Window{e, parts[0], time.Duration(max(0, parts[1]-int64(e.First.Ms))) * time.Millisecond}, nil
}

// newEpoch is an epoch that there was not before, with all but certainty.
func newEpoch() string { return formatEpoch(1 + rand.Uint32N(1<<32-1)) }

func formatEpoch(e uint32) string { return strconv.FormatUint(uint64(e), 10) }

// parseEpoch reads the value of an epoch key: the epoch and the ID of its mark.
func parseEpoch(s string) (uint32, position.ID, error) {
	number, mark, _ := strings.Cut(s, " ")
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 0 {
		return 0, position.ID{}, fmt.Errorf("%.20q is no epoch", s)
	}
	if mark == "" {
		return uint32(n), position.ID{}, nil
	}
	id, err := position.ParseID(mark)
	return uint32(n), id, err
}
