package main

import (
	"slices"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
)

// Everything in this file is pure. What Redis holds at the end is only the last life of its streams: what a fault takes
// away is read before. A life is what was written under one epoch:
//
//	before a fault   mark 1   a   b   c   d
//	afterwards       mark 1   a   b           e   mark 2   f
//
// Epoch 1 had a, b, c and d; c and d are gone, and their positions are void. Then e was written by somebody who did not
// know of it; so the stream has it in epoch 1, and the gap to epoch 2, whose life begins with f, covers it.

// row is an entry of a stream as it stands in Redis.
type row struct {
	ID    position.ID
	Topic string // empty for a mark, a beacon, and what is no message
	Mark  uint32 // the epoch that begins here; else 0
	Sum   uint64
	Name  string
}

// entry is a row and what became of it: the truth.
type entry struct {
	ID    position.ID
	Topic string
	Sum   uint64
	Name  string
	Lost  bool // a fault took it away while its life lasted
	Gone  bool // a fault took it away, then or later
	Stray bool // written after such a fault, before the next epoch began
	// Started is when its publish began; what a session says of its start can be held against it.
	Started time.Duration
	Known   bool // a publisher of ours wrote it
}

// span is a stretch of positions, both ends included.
type span struct{ From, To position.ID }

// life is what a slot's stream had under one epoch.
type life struct {
	Epoch     uint32
	Began     position.ID // its mark
	Entries   []entry
	Voids     []span // what faults have taken away while it lasted
	Causeless bool   // it began although nothing had been lost
	Seen      bool   // a session has stood in what was taken away
}

// void is the stretch that was taken away in which id lies.
func (l *life) void(id position.ID) (span, bool) {
	for _, s := range l.Voids {
		if !id.Less(s.From) && !s.To.Less(id) {
			return s, true
		}
	}
	return span{}, false
}

// of is the life of one topic.
func (l *life) of(topic string) life {
	own := *l
	own.Entries = slices.DeleteFunc(slices.Clone(l.Entries), func(e entry) bool { return e.Topic != topic })
	return own
}

// livesOf puts together what stood in a slot's stream before each of the faults that took something away, and at the end.
func livesOf(shots [][]row) []life {
	var list []life
	var before []row
	lost := false // since the present epoch began
	for _, shot := range shots {
		if gone := without(before, shot); len(gone) > 0 {
			lost = true
			for i := range list {
				list[i].lose(gone, i == len(list)-1)
			}
		}
		for _, r := range without(shot, before) {
			switch {
			case len(list) == 0:
				list = append(list, life{Epoch: r.Mark, Began: r.ID})
			case r.Mark != 0 && list[0].Epoch == 0: // the first epoch; what came before its mark is nobody's
				list[0].Epoch, list[0].Began = r.Mark, r.ID
			case r.Mark != 0:
				list = append(list, life{Epoch: r.Mark, Began: r.ID, Causeless: !lost})
				lost = false
			}
			l := &list[len(list)-1]
			l.Entries = append(l.Entries, entry{ID: r.ID, Topic: r.Topic, Sum: r.Sum, Name: r.Name, Stray: lost})
		}
		before = shot
	}
	return list
}

// lose notes what a fault took away; lasts says whether the life did until then. Of one that was over everybody had been told.
func (l *life) lose(gone []row, lasts bool) {
	var s span
	for _, r := range gone {
		i, ok := slices.BinarySearchFunc(l.Entries, r.ID, func(e entry, id position.ID) int { return e.ID.Compare(id) })
		if !ok || l.Entries[i].Gone || l.Entries[i].Sum != r.Sum {
			continue
		}
		l.Entries[i].Gone, l.Entries[i].Lost = true, lasts
		if s.From.IsZero() {
			s.From = r.ID
		}
		s.To = r.ID
	}
	if lasts && !s.From.IsZero() {
		l.Voids = append(l.Voids, s)
	}
}

// without are the rows of a that b has not, both in order.
func without(a, b []row) (rest []row) {
	for _, r := range a {
		for len(b) > 0 && b[0].ID.Less(r.ID) {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != r {
			rest = append(rest, r)
		}
	}
	return rest
}
