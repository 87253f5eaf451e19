package gateway

import (
	"sort"

	"github.com/ringside-edge/ringside/internal/position"
)

// topicLog is what is kept in memory of a topic: every entry after base, in order. Sessions are cursors into
// it: an index that grows by one with every entry and is never used again. It is guarded by its slot's mu.
type topicLog struct {
	entries []*entry // entries[head:] are the log
	head    int
	first   uint64      // index of entries[head]
	base    position.ID // the log has everything after base
	epochAt uint64      // index at which the present epoch begins
	bytes   int
	latest  *latest // nil unless slow sessions pass over what was replaced
}

// next is the index that the next entry will get.
func (l *topicLog) next() uint64 { return l.first + uint64(len(l.entries)-l.head) }

// since is the part of the log from index i on, at most limit entries. The caller must have checked that
// i >= first.
func (l *topicLog) since(i uint64, limit int) []*entry {
	es := l.entries[l.head+int(i-l.first):]
	return es[:min(limit, len(es))]
}

// seek is the index of the first entry after id; ok is false when the log does not reach back to id. The caller must have
// checked that the slot's tail has got to id.
func (l *topicLog) seek(id position.ID) (i uint64, ok bool) {
	if id.Less(l.base) {
		return 0, false
	}
	es := l.entries[l.head:]
	return l.first + uint64(sort.Search(len(es), func(i int) bool { return id.Less(es[i].at.ID) })), true
}

// append takes e in, and returns by how many bytes everything has grown.
func (l *topicLog) append(e *entry) (grown int) {
	if l.head > 64 && l.head > len(l.entries)/2 {
		n := copy(l.entries, l.entries[l.head:])
		clear(l.entries[n:])
		l.entries, l.head = l.entries[:n], 0
	}
	e.logged, e.cost, e.index = true, entryOverhead+len(e.payload)+len(e.key), l.next()
	l.entries = append(l.entries, e)
	l.bytes += e.cost
	if l.latest == nil {
		return e.cost
	}
	return e.cost - l.latest.take(e)
}

// dropFirst drops the oldest entry and returns how many bytes that freed. With keep it goes to the board if it is the newest of its
// key.
func (l *topicLog) dropFirst(keep bool) int {
	e := l.entries[l.head]
	l.entries[l.head] = nil
	l.head++
	l.first++
	l.base = e.at.ID
	l.bytes -= e.cost
	switch {
	case l.latest == nil || e.replaced:
	case keep && e.keyed:
		l.latest.keep(e)
		return 0
	default:
		l.latest.lose(e)
	}
	e.logged = false
	return e.cost
}

// len is the number of entries.
func (l *topicLog) len() int { return len(l.entries) - l.head }

// restart begins a new epoch at base. An index is left out, so that every cursor, also one that stood at the
// very end, finds itself before first and is told of the gap. It returns how many bytes that freed.
func (l *topicLog) restart(base position.ID) int {
	freed := l.bytes
	if l.latest != nil {
		for _, k := range l.latest.board {
			if k.e != nil {
				freed += l.latest.release(k.e)
			}
		}
		l.latest.clear()
	}
	for _, e := range l.entries[l.head:] {
		e.logged = false
	}
	l.first = l.next() + 1
	l.epochAt = l.first
	l.entries, l.head, l.base, l.bytes = nil, 0, base, 0
	return freed
}
