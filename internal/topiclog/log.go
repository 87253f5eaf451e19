// Package topiclog is what is kept in memory of a topic: its newest entries, in order. Whoever follows the topic is a cursor into it:
// an index that grows by one with every entry and is never used again. A gateway has such a log of what it reads from the stream, a
// router of what comes on a feed.
//
// A Log is not safe for concurrent use: it belongs to a loop, or is guarded by its owner's mutex.
package topiclog

import (
	"sort"

	"github.com/ringside-edge/ringside/internal/position"
)

// Entry is what a log consists of.
type Entry interface {
	// ID is where in its stream the entry stands. IDs grow, or stay the same, from one entry to the next of an epoch.
	ID() position.ID
	// Size is how many bytes the log is charged for it.
	Size() int
}

// Log is every entry after Base. The zero Log is empty and begins at the stream's beginning. Its fields are to be read only.
type Log[E Entry] struct {
	First   uint64      // index of the first entry
	Base    position.ID // the log has everything after Base
	EpochAt uint64      // index at which the present epoch begins
	Bytes   int         // of all entries

	entries []E // entries[head:] are the log
	head    int
}

// Next is the index that the next entry will get.
func (l *Log[E]) Next() uint64 { return l.First + uint64(l.Len()) }

// Len is the number of entries.
func (l *Log[E]) Len() int { return len(l.entries) - l.head }

// Since is the part of the log from index i on, at most limit entries. The caller must have checked that i >= First. What it returns
// is valid until the log changes.
func (l *Log[E]) Since(i uint64, limit int) []E {
	es := l.entries[l.head+int(i-l.First):]
	return es[:min(limit, len(es))]
}

// Seek is the index of the first entry of the present epoch after id; ok is false when the log does not reach back to id. The caller
// must have checked that the log has got to id.
func (l *Log[E]) Seek(id position.ID) (i uint64, ok bool) {
	if id.Less(l.Base) {
		return 0, false
	}
	from := max(l.First, l.EpochAt)
	es := l.Since(from, l.Len())
	return from + uint64(sort.Search(len(es), func(i int) bool { return id.Less(es[i].ID()) })), true
}

// Append takes e in.
func (l *Log[E]) Append(e E) {
	if l.head > 64 && l.head > len(l.entries)/2 {
		n := copy(l.entries, l.entries[l.head:])
		clear(l.entries[n:])
		l.entries, l.head = l.entries[:n], 0
	}
	l.entries = append(l.entries, e)
	l.Bytes += e.Size()
}

// Grown notes that an entry is charged for n bytes more than when it was appended.
func (l *Log[E]) Grown(n int) { l.Bytes += n }

// DropFirst drops the oldest entry, of which there must be one, and returns it.
func (l *Log[E]) DropFirst() E {
	var none E
	e := l.entries[l.head]
	l.entries[l.head] = none
	l.head++
	l.First++
	l.Base = e.ID()
	l.Bytes -= e.Size()
	return e
}

// NewEpoch says that the next entry begins an epoch: what is there stays, but nobody is placed before it any more. The log has
// everything of the epoch after base.
func (l *Log[E]) NewEpoch(base position.ID) {
	l.EpochAt, l.Base = l.Next(), base
}

// Restart forgets all entries and begins a new epoch at base. An index is left out, so that every cursor, also one that stood at the
// very end, finds itself before First. The entries that were there are the caller's.
func (l *Log[E]) Restart(base position.ID) (were []E) {
	were = l.entries[l.head:]
	l.First = l.Next() + 1
	l.EpochAt = l.First
	l.entries, l.head, l.Base, l.Bytes = nil, 0, base, 0
	return were
}
