package stream

import (
	"context"
	"crypto/sha1" //nolint:gosec // compares what an entry contains with what Redis says it contains
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
)

// tail is a slot that is read. It belongs to the reader that has it.
type tail struct {
	slot  int
	times uint64                // which want of the slot it is for
	had   *reader               // who has it; nil for nobody, guarded by the tailer's mu
	begin position.ID           // the mark of its epoch; zero when that is not known
	sum   string                // of the content of the entry at `at`; empty when there is none, or when it is last
	last  *rueidis.RedisMessage // the entry at `at`, when this reader has read it
	solid solid                 // the last entry up to `at` that is no beacon
	acks  []string              // entries handed over and not acknowledged yet; of owned slots

	mu    sync.Mutex        // held by the reader to write what follows, and by others to read it
	lost  bool              // TailLost was called, or TailStarted never
	at    position.Position // everything up to here was handed over
	seen  time.Time         // when the last entry came
	due   bool              // a beacon is due, unless an entry comes first: it has just been placed
	read  int64             // entries read since base
	base  int64             // entries that had ever been added to the stream when read was 0; -1 when unknown
	other uint32            // the epoch of the stream when it was last looked at
	stats Stats             // what the watch has found
}

// Stats are what is known of a slot that is tailed.
type Stats struct {
	At      position.Position // how far the tail has come
	Seen    time.Time         // when the last entry came, beacons included
	Owned   bool              // read as the shard's own: through its group, where it has one
	Stands  bool              // the tail reads
	First   position.ID       // the oldest entry of the stream
	Last    position.ID       // the newest
	Length  int64             // entries of the stream, beacons included
	Lag     int64             // entries that the tail has not read yet; -1 when the server does not tell
	Pending int64             // entries that the group's consumers have not acknowledged
}

// Watermark is the newest instant, in ms, that the slot is known up to: by the clock of Redis, of which now is the present time.
// Entry IDs can be ahead of a clock that was set back.
func (s *Stats) Watermark(now int64) int64 { return min(int64(s.At.ID.Ms), now) }

// Age is how old the watermark is, in ms: not less than how long nothing has come, whatever the clocks say.
func (s *Stats) Age(now int64) int64 {
	return max(now-s.Watermark(now), time.Since(s.Seen).Milliseconds())
}

// Stats are what is known of a slot; ok is false when it is not tailed.
func (t *Tailer) Stats(slot int) (s Stats, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tl := t.tails[slot]
	if tl == nil || tl.had == nil {
		return Stats{}, false
	}
	tl.mu.Lock()
	defer tl.mu.Unlock()
	s = tl.stats
	s.At, s.Seen = tl.at, tl.seen
	s.Owned = tl.had.kind == owned || t.cfg.Plain && t.wanted[slot] == owned
	s.Stands = !tl.lost
	return s, true
}

// moveTo places the tail, in an epoch that began at begin. e are the edges that led there.
func (t *tail) moveTo(at position.Position, begin position.ID, sum string, e Edges) {
	t.begin, t.sum, t.last, t.solid = begin, sum, nil, solid{id: at.ID, sum: sum}
	t.mu.Lock()
	t.at, t.seen, t.due, t.read, t.base = at, time.Now(), true, 0, -1
	if at.ID == e.Last {
		t.base = e.added
	}
	t.mu.Unlock()
}

// content is the sum of the entry at `at`, empty when there is none.
func (t *tail) content() string {
	if t.last != nil {
		return entrySum(t.last)
	}
	return t.sum
}

// passed notes that entries were handed over, which msgs are. It keeps none but two, by copy, so that the others can go.
func (t *tail) passed(es []Entry, msgs []rueidis.RedisMessage) {
	n := len(es)
	last := msgs[n-1]
	t.last = &last
	if i := lastSolid(es); i >= 0 {
		entry := msgs[i]
		t.solid = solid{id: es[i].ID, entry: &entry}
	} else {
		t.solid = solid{id: t.solid.id, sum: t.solid.content()} // which may stay for long
	}
	t.mu.Lock()
	t.at.ID, t.seen, t.due = es[n-1].ID, time.Now(), false
	t.read += int64(n)
	t.mu.Unlock()
}

// place decides where a tail stands, given the edges of its stream. A new one stands at the end. One that was interrupted goes on
// where it stood, if the stream still is what it was: the epoch the same, and the last entry that was handed over still there with
// the same content, or else trimmed. If not, Redis has lost data, and the stream gets a new epoch, unless somebody else has given
// it one already. Lost beacons are no loss. An epoch that began before ours is an old snapshot, and no newer life; a stream that ends
// before its epoch's mark has lost that.
func (r *reader) place(ctx context.Context, t *tail, e Edges) (err error) {
	if t.at.Epoch == 0 && !e.Last.Less(e.Begin) {
		t.moveTo(position.Position{Epoch: e.Epoch, ID: e.Last}, e.Begin, e.lastSum, e)
		t.solid = solid{id: e.solid, sum: e.solidSum}
		return nil
	}
	same := e.Epoch == t.at.Epoch
	switch {
	case same && !e.Last.Less(t.at.ID) && t.at.ID.Less(e.First.Prev()):
		// What followed it is trimmed: the sessions find out.
		t.moveTo(position.Position{Epoch: e.Epoch, ID: e.First.Prev()}, t.begin, "", e)
		return nil
	case same && !e.Last.Less(t.at.ID) && (e.headSum == t.content() || t.at.ID.Less(e.First)):
		return nil
	case same || t.at.Epoch == 0 || !t.begin.Less(e.Begin):
		if same {
			if mended, err := r.mend(ctx, t); err != nil || mended {
				return err
			}
		}
		es, err := r.t.c.edges(ctx, []edgesOf{{slot: t.slot, replace: e.Epoch}})
		if err != nil {
			return err
		}
		e = es[0]
		r.t.c.log.Warn("a stream has lost data, and begins a new epoch", zap.Int("slot", t.slot), zap.Stringer("was", t.at),
			zap.Uint32("epoch", e.Epoch), zap.Stringer("begin", e.Begin))
	}
	r.enter(t, e)
	return nil
}

// enter places the tail at the beginning of an epoch that is not its own.
func (r *reader) enter(t *tail, e Edges) {
	r.t.c.metrics.epochs.Add(1)
	at, sum := e.Begin, markSum(e.Epoch)
	if at.Less(e.First.Prev()) {
		at, sum = e.First.Prev(), ""
	}
	t.moveTo(position.Position{Epoch: e.Epoch, ID: at}, e.Begin, sum, e)
}

// markSum is the sum of an epoch's mark.
func markSum(epoch uint32) string { return sumOf(fieldEpoch, formatEpoch(epoch)) }

// sumOf is what the edges script makes of an entry's fields and values.
func sumOf(fields ...string) string {
	sum := sha1.Sum([]byte(strings.Join(fields, "\x00"))) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// entrySum is the sum of an entry as XREAD gives it.
func entrySum(entry *rueidis.RedisMessage) string {
	pair, err := entry.ToArray()
	if err != nil || len(pair) < 2 {
		return ""
	}
	fields, err := pair[1].AsStrSlice()
	if err != nil {
		return ""
	}
	return sumOf(fields...)
}
