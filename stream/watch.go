package stream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// watchScript looks at the streams of one group of slots. To those that are to have a beacon it adds one, provided that the stream
// is still in the tail's epoch and reaches to where the tail stands; if it is not, data was lost. It returns for
// each stream the value of its epoch key and its last entry, and, when it is to measure them, its first entry, its length, how many
// entries were ever added to it, and how many are pending in the group.
//
// KEYS: stream and epoch key of each slot. ARGV: new epoch, consumer group or "", retention in ms, greatest length, "1" to measure; then
// for each slot the epoch and the position of its tail, and "1" for a beacon.
//
//nolint:gochecknoglobals // a constant
var watchScript = newScript(`
local found = {}
for i = 1, #KEYS / 2 do
  local stream, key = KEYS[2 * i - 1], KEYS[2 * i]
  local epoch, at, beacon = ARGV[3 * i + 3], ARGV[3 * i + 4], ARGV[3 * i + 5]
  local v = enter(stream, key, ARGV[1])
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local top = last and last[1] or '0-0'
  if last and beacon == '1' and string.match(v, '^%d+') == epoch and not less(top, at) then
    top = add(stream, ARGV[3], 'beacon', epoch .. ' ' .. solid(last))
    brake(stream, ARGV[4])
  end
  found[i] = {v, top}
  if ARGV[5] == '1' then
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local pending = 0
    if ARGV[2] ~= '' then
      local p = redis.pcall('XPENDING', stream, ARGV[2])
      pending = p[1] or 0
    end
    found[i] = {v, top, first and first[1] or '0-0', digits(redis.call('XLEN', stream)), digits(added(stream)), digits(pending)}
  end
end
return found
`)

// watchArgs is how many of its arguments are of no slot.
const watchArgs = 5

// measureEvery is at which look a group of slots is measured: what only people and graphs ask for need not be known each second, and
// is the larger part of what a look costs Redis.
const measureEvery = 5

// watch looks at all tailed streams, and at the servers' clocks, once per beacon interval.
func (t *Tailer) watch(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-t.c.connected:
	}
	_ = t.compareClocks(ctx) // what fails here fails again below
	tick := time.NewTicker(t.cfg.Beacon)
	defer tick.Stop()
	changes := t.c.changes.Load()
	for look := 0; ; look++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n := t.c.changes.Load(); n != changes {
			changes = n
			t.interruptAll()
		}
		t.kickContested()
		if err := errors.Join(t.compareClocks(ctx), t.look(ctx, look)); err != nil && ctx.Err() == nil {
			t.c.metrics.watchErrors.Add(1)
			t.c.suspect(err)
			t.c.log.Debug("cannot look at the streams", zap.Error(err))
		}
	}
}

// interruptAll has all tails placed anew: a server may have other data than before.
func (t *Tailer) interruptAll() {
	for _, pair := range t.readers {
		for _, r := range pair {
			r.interrupt()
		}
	}
}

// kickContested has slots read through the group again whose time of being followed is over.
func (t *Tailer) kickContested() {
	now := time.Now()
	var over []int
	t.mu.Lock()
	for s, until := range t.contested {
		if !until.IsZero() && now.After(until) {
			t.contested[s] = time.Time{}
			over = append(over, s)
		}
	}
	t.mu.Unlock()
	for _, s := range over {
		for _, r := range t.readers[s/t.width] {
			r.kick()
		}
	}
}

// look looks at all groups of slots in which one is tailed, in one round trip to each server. It is the look-th time.
func (t *Tailer) look(ctx context.Context, look int) error {
	c, err := t.c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.c.cfg.OpTimeout)
	defer cancel()
	var calls []call
	var looked [][]*tail
	now := time.Now()
	for first := 0; first < topic.Slots; first += groupSize {
		if tails, one := t.lookAt(first, look, now); len(tails) > 0 {
			looked, calls = append(looked, tails), append(calls, one)
		}
	}
	for i, res := range watchScript.run(ctx, c, calls...) {
		if e := t.found(looked[i], calls[i], res); e != nil {
			err = explain(e)
		}
	}
	return err
}

// lookAt is how to look at a group of slots, the look-th time.
func (t *Tailer) lookAt(first, look int, now time.Time) (tails []*tail, c call) {
	group := ""
	if t.cfg.Shard != "" && !t.cfg.Plain {
		group = t.group
	}
	c.args = []string{newEpoch(), group, millis(t.c.cfg.Retention), strconv.FormatInt(t.c.cfg.MaxLen, 10), ""}
	measure := (look+first/groupSize)%measureEvery == 0 // some of the groups at each look
	t.mu.Lock()
	defer t.mu.Unlock()
	for slot := first; slot < first+groupSize; slot++ {
		tl := t.tails[slot]
		if tl == nil || tl.had == nil {
			continue
		}
		quiet := t.cfg.Beacon
		if t.wanted[slot] != owned {
			quiet *= 2
		}
		tl.mu.Lock()
		at, lost := tl.at, tl.lost
		due := tl.due || now.Sub(tl.seen) >= quiet-quiet/4
		measure = measure || tl.stats.First.IsZero()
		tl.mu.Unlock()
		if at.Epoch == 0 {
			continue
		}
		beacon := "0"
		if !lost && due {
			beacon = "1"
			t.c.metrics.beacons.Add(1)
		}
		tails = append(tails, tl)
		c.keys = append(c.keys, Key(slot), epochKey(slot))
		c.args = append(c.args, formatEpoch(at.Epoch), at.ID.String(), beacon)
	}
	if measure {
		c.args[watchArgs-1] = "1"
	}
	return tails, c
}

// found takes in what was found of one group of slots, asked as in c.
func (t *Tailer) found(tails []*tail, c call, res rueidis.RedisResult) error {
	parts, err := res.ToArray()
	if err != nil {
		return outcome(err)
	}
	if len(parts) != len(tails) {
		return errors.New("the watch script was answered in a way that is not understood")
	}
	for i, tl := range tails {
		asked := c.args[watchArgs+3*i:]
		at, err := position.ParseID(asked[1])
		if err != nil {
			return err
		}
		epoch, err := tl.found(parts[i])
		if err != nil {
			return err
		}
		tl.mu.Lock()
		lost := tl.stats.Last.Less(at) // nothing that is added now would be read
		// One that is behind comes to the other epoch's mark by itself, unless the IDs of that epoch are the smaller ones.
		other := formatEpoch(epoch) != asked[0] && tl.other == epoch
		tl.other = epoch
		tl.mu.Unlock()
		if lost || other {
			t.interruptSlot(tl)
		}
	}
	return nil
}

// found notes what was found of the tail's stream, and returns the epoch of that.
func (t *tail) found(m rueidis.RedisMessage) (epoch uint32, err error) {
	f, err := m.AsStrSlice()
	if err != nil {
		return 0, err
	}
	measured := len(f) == 6
	if len(f) != 2 && !measured {
		return 0, errors.New("the watch script was answered in a way that is not understood")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, added := t.stats, int64(0)
	var errs [4]error
	epoch, _, errs[0] = parseEpoch(f[0])
	s.Last, errs[1] = position.ParseID(f[1])
	if measured {
		s.First, errs[2] = position.ParseID(f[2])
		for i, n := range []*int64{&s.Length, &added, &s.Pending} {
			if *n, err = strconv.ParseInt(f[3+i], 10, 64); err != nil {
				errs[3] = err
			}
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return 0, err
	}
	switch {
	case !measured:
	case added < 0 || t.base < 0 && s.Last != t.at.ID:
		s.Lag = -1
	case t.at.ID == s.Last: // it has all there is
		t.base = added - t.read
	default:
		s.Lag = max(0, added-t.base-t.read)
	}
	t.stats = s
	return epoch, nil
}

// interruptSlot has the reader of a tail place its tails anew.
func (t *Tailer) interruptSlot(tl *tail) {
	t.mu.Lock()
	r := tl.had
	t.mu.Unlock()
	if r != nil {
		r.interrupt()
	}
}

// clockScript returns the server's clock in µs.
//
//nolint:gochecknoglobals // a constant
var clockScript = newScript(`
local t = redis.call('TIME')
return digits(t[1] * 1000000 + t[2])
`)

// compareClocks asks each server for its clock, one after the other, because a call that waits for others would be told late.
func (t *Tailer) compareClocks(ctx context.Context) error {
	c, err := t.c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.c.cfg.OpTimeout)
	defer cancel()
	for g := range t.clocks {
		if g > 0 && t.c.top != cluster {
			t.clocks[g].Store(t.clocks[0].Load())
			continue
		}
		began := time.Now()
		clock, err := clockScript.run(ctx, c, call{keys: []string{epochKey(g * groupSize)}})[0].AsInt64()
		if err != nil {
			return outcome(err)
		}
		t.clocks[g].Store(clock - began.Add(time.Since(began)/2).UnixMicro())
	}
	return nil
}
