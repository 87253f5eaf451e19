package gateway

import (
	"strconv"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/stream"
)

// backup is a copy of the database.
type backup struct {
	keys  map[string]string // as DUMP gives them
	slots []saved           // as world.slots
}

// saved is what a backup has of a slot.
type saved struct {
	epoch uint32
	ids   []position.ID
}

// actLose deletes the newest entries that the tails have seen, with their idempotency keys, and breaks the connections: so it
// looks when a replica takes over that lacks them. The oldest entry stays: to lose all looks like a trim.
func (w *world) actLose(t *rapid.T) {
	w.roughOnly(t)
	slot := w.drawSlot(t)
	n := rapid.IntRange(1, 8).Draw(t, "entries")
	w.felt()
	w.settle()
	top := slot.top()
	const del = `
local n = math.min(ARGV[1], redis.call('XLEN', KEYS[1]) - 1)
for _, e in ipairs(n > 0 and redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', n) or {}) do
  redis.call('XDEL', KEYS[1], e[1])
  local f = {}
  for i = 1, #e[2] - 1, 2 do f[e[2][i]] = e[2][i + 1] end
  local topic = f.topic or ''
  local key = string.gsub(KEYS[1], 'stream$', 'id:') .. #topic .. ':' .. topic .. ':' .. (f.id or '')
  if redis.call('GET', key) == e[1] then redis.call('DEL', key) end
end`
	key := stream.Key(slot.slot)
	before := w.epochOf(slot)
	answers := w.atomically(nil, []string{"EVAL", del, "1", key, strconv.Itoa(n)}, []string{"XRANGE", key, "-", "+"}, kill)
	left := &truth{slot: slot.slot, epochs: map[uint32]position.ID{}}
	w.must(left.take(answers[1]))
	w.note("slot %d loses %d entries", slot.slot, n)
	if w.forget(slot, slot.keep(left.standing()), top) {
		slot.unfelt, slot.epoch = true, before
	}
}

func (w *world) roughOnly(t *rapid.T) {
	if !w.rough {
		t.Skip("redis keeps its data in this case")
	}
}

// actFlush empties Redis.
func (w *world) actFlush(t *rapid.T) {
	w.roughOnly(t)
	cmds := [][]string{{"FLUSHALL"}, spin}
	if rapid.Bool().Draw(t, "with an interruption") {
		cmds = append(cmds, kill)
	}
	w.settle()
	w.atomically(nil, cmds...)
	w.note("redis is empty")
	for _, s := range w.slots {
		s.keep(nil)
		s.lost, s.unfelt, s.epoch = true, true, 0
	}
}

// actSave makes a backup.
func (w *world) actSave(t *rapid.T) {
	w.roughOnly(t)
	w.felt()
	var cmds [][]string
	var keys []string
	for _, s := range w.slots {
		keys = append(keys, stream.Key(s.slot), epochKey(s.slot))
		cmds = append(cmds, []string{"GET", epochKey(s.slot)})
	}
	for _, topic := range w.topics {
		for _, id := range modelIDs {
			keys = append(keys, idKey(topic, id))
		}
	}
	for _, k := range keys {
		cmds = append(cmds, []string{"DUMP", k})
	}
	answers := w.atomically(nil, cmds...)
	w.backup = &backup{keys: map[string]string{}}
	for i, s := range w.slots {
		text, _ := answers[i].(string)
		w.backup.slots = append(w.backup.slots, saved{epochNumber(text), s.standing()})
	}
	for i, k := range keys {
		if dump, ok := answers[len(w.slots)+i].(string); ok {
			w.backup.keys[k] = dump
		}
	}
	w.note("backup")
}

// actRestore puts the backup in the place of what there is.
func (w *world) actRestore(t *rapid.T) {
	w.roughOnly(t)
	if w.backup == nil {
		t.Skip("no backup")
	}
	w.felt()
	w.settle()
	cmds := [][]string{{"FLUSHALL"}}
	for k, dump := range w.backup.keys {
		cmds = append(cmds, []string{"RESTORE", k, "0", dump})
	}
	tops := make([]position.ID, len(w.slots))
	before := make([]uint32, len(w.slots))
	for i, s := range w.slots {
		tops[i], before[i] = s.top(), w.epochOf(s)
	}
	w.atomically(nil, append(cmds, spin, kill)...)
	w.note("the backup is restored")
	for i, s := range w.slots {
		b := &w.backup.slots[i]
		counts := w.forget(s, s.keep(b.ids), tops[i])
		s.rewound = true
		if counts || b.epoch != before[i] {
			s.lost, s.unfelt, s.epoch = true, true, b.epoch
		}
	}
}
