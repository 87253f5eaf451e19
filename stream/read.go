package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/position"
)

const (
	blockFor  = 5 * time.Second // a read that finds nothing ends after this
	readCount = 256             // entries of a slot that one read takes at most
	readBytes = 4 << 20         // about how many bytes of a slot it shall take
)

// session reads over one connection until that fails, which it reports, or ctx ends.
func (r *reader) session(ctx context.Context) error {
	conn, release := r.c.redis.Dedicate()
	defer release()
	stop := context.AfterFunc(ctx, conn.Close)
	defer stop()
	for ctx.Err() == nil {
		if err := r.sync(ctx); err != nil {
			return err
		}
		if err := r.read(ctx, conn); err != nil {
			conn.Close()
			return err
		}
		r.failing = false
	}
	return ctx.Err()
}

// sync starts the tails that are wanted and not there or lost, and ends those that are not wanted.
func (r *reader) sync(ctx context.Context) error {
	r.mu.Lock()
	wanted := r.wanted
	r.mu.Unlock()
	changed := false
	for i, want := range wanted {
		slot := r.first + i
		t := r.tails[slot]
		if t != nil && t.want != want {
			delete(r.tails, slot)
			t, changed = nil, true
		}
		if want == 0 || t != nil && !t.lost {
			continue
		}
		edges, err := r.c.Edges(ctx, slot)
		if err != nil {
			return err
		}
		if t == nil {
			t = &tail{slot: slot, want: want, at: position.Position{Epoch: edges.Epoch, ID: edges.Last}}
			r.tails[slot], changed = t, true
		} else if err := r.resume(ctx, t, edges); err != nil {
			return err
		}
		t.lost = false
		r.sink.TailStarted(slot, t.at)
	}
	if changed || r.keys == nil {
		r.layOut()
	}
	return nil
}

// layOut prepares what every read needs of the tails.
func (r *reader) layOut() {
	r.order = slices.SortedFunc(maps.Values(r.tails), func(a, b *tail) int { return a.slot - b.slot })
	r.keys, r.byKey = nil, make(map[string]*tail, len(r.order))
	for _, t := range r.order {
		k := Key(t.slot)
		r.keys = append(r.keys, k)
		r.byKey[k] = t
	}
	r.keys = append(r.keys, r.wakeKey)
}

// resume decides where a tail goes on after the connection was lost: where it stood, if the stream is still the same and
// has not been set back, and else at the end of its new life.
func (r *reader) resume(ctx context.Context, t *tail, edges Edges) (err error) {
	if edges.Epoch == t.at.Epoch && edges.Last.Less(t.at.ID) {
		if edges, err = r.c.renew(ctx, t.slot, t.at.Epoch); err != nil {
			return err
		}
	}
	if edges.Epoch != t.at.Epoch {
		r.c.metrics.epochs.Add(1)
		t.at = position.Position{Epoch: edges.Epoch, ID: edges.Last}
	}
	return nil
}

// read waits for entries and hands them on.
func (r *reader) read(ctx context.Context, conn rueidis.DedicatedClient) error {
	r.ids = r.ids[:0]
	for _, t := range r.order {
		r.ids = append(r.ids, t.at.ID.String())
	}
	r.ids = append(r.ids, r.wake.String())
	// A Redis that stops without a word must not hold the read for ever.
	ctx, cancel := context.WithTimeout(ctx, blockFor+r.c.cfg.OpTimeout)
	defer cancel()
	got, err := streams(conn.Do(ctx, blockCommand(conn, r.keys, r.ids, r.count(), blockFor)))
	if err != nil {
		return err
	}
	r.c.metrics.reads.Add(1)
	for key, msgs := range got {
		if key == r.wakeKey {
			es, err := r.c.decode(-1, msgs, nil)
			if err != nil {
				return err
			}
			r.wake = es[len(es)-1].ID
			continue
		}
		if err := r.hand(r.byKey[key], msgs); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// hand gives a slot's entries to the sink.
func (r *reader) hand(t *tail, msgs []rueidis.RedisMessage) error {
	if t == nil || len(msgs) == 0 {
		return errors.New("redis gave a stream that was not asked for, or without entries")
	}
	es, err := r.c.decode(t.slot, msgs, make([]Entry, 0, len(msgs)))
	if err != nil {
		return err
	}
	for i := range es {
		r.sizes += (len(es[i].Payload) - r.sizes) / 16
	}
	r.c.metrics.entries.Add(uint64(len(es)))
	t.at.ID = es[len(es)-1].ID
	r.sink.TailEntries(t.slot, es)
	return nil
}

// count is how many entries of a slot to take at once, by the size of those seen lately.
func (r *reader) count() int { return max(1, min(readCount, readBytes/max(1, r.sizes))) }

// streams reads XREAD's answer: a map in RESP3, an array of pairs in RESP2, nothing when the time was over.
func streams(resp rueidis.RedisResult) (map[string][]rueidis.RedisMessage, error) {
	msg, err := resp.ToMessage()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	got := make(map[string][]rueidis.RedisMessage)
	if msg.IsMap() {
		m, err := msg.ToMap()
		if err != nil {
			return nil, err
		}
		for key, v := range m {
			if got[key], err = v.ToArray(); err != nil {
				return nil, err
			}
		}
		return got, nil
	}
	pairs, err := msg.ToArray()
	if err != nil {
		return nil, err
	}
	for i := range pairs {
		pair, err := pairs[i].ToArray()
		if err != nil {
			return nil, err
		}
		if len(pair) != 2 {
			return nil, errors.New("XREAD was answered in a way that is not understood")
		}
		key, err := pair[0].ToString()
		if err != nil {
			return nil, err
		}
		if got[key], err = pair[1].ToArray(); err != nil {
			return nil, err
		}
	}
	return got, nil
}
