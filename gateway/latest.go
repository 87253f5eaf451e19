package gateway

import (
	"sort"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topicrule"
)

// latest is what a topic whose slow sessions pass over replaced messages has beside its log: which entry is the newest of each
// key, and the board, on which stand those of them that the log has dropped. A session that has fallen off the log goes over the
// board first. It is guarded by the slot's mu.
//
//	          board                         log
//	|  A     C   D           |  a  b  E  b  a  B  |      capitals: the newest of their key
//	       ▲     ▲
//	       └─────┴ lost: an entry that nothing had replaced is gone, and sessions before it are told of a gap
type latest struct {
	newest map[string]*entry // all of them stand in the log or on the board
	board  []kept            // in order; those that were replaced since have no entry and go now and then
	dead   int               // of those without an entry
	bytes  int
	lost   loss // behind the last one on the board
}

// kept is a place on the board.
type kept struct {
	id    position.ID
	index uint64
	e     *entry
	lost  loss // before it
}

// loss is the newest entry that is gone though nothing had replaced it; the zero loss is none.
type loss struct {
	next uint64 // the index behind it
	id   position.ID
}

func (l *loss) add(o loss) {
	if o.next > l.next {
		*l = o
	}
}

// clear forgets everything.
func (l *latest) clear() {
	if l != nil {
		*l = latest{newest: make(map[string]*entry)}
	}
}

// take notes that e is the newest of its key now, and returns how many bytes that freed.
func (l *latest) take(e *entry) (freed int) {
	if !e.keyed {
		return 0
	}
	old := l.newest[e.key]
	l.newest[e.key] = e
	if old == nil {
		return 0
	}
	old.replaced = true
	if !old.kept {
		return 0
	}
	i := l.seek(old.index)
	l.board[i].e = nil
	l.dead++
	freed = l.release(old)
	l.compact()
	return freed
}

// release takes the bytes of an entry that leaves the board.
func (l *latest) release(e *entry) int {
	e.kept, e.logged = false, false
	l.bytes -= e.cost
	return e.cost
}

// seek is the first place of the board at index i or behind it.
func (l *latest) seek(i uint64) int {
	return sort.Search(len(l.board), func(j int) bool { return l.board[j].index >= i })
}

// compact closes up the places without an entry once they are most.
func (l *latest) compact() {
	if l.dead < 32 || l.dead < len(l.board)/2 {
		return
	}
	live := l.board[:0]
	var lost loss
	for _, k := range l.board {
		lost.add(k.lost)
		if k.e != nil {
			k.lost, lost = lost, loss{}
			live = append(live, k)
		}
	}
	lost.add(l.lost)
	clear(l.board[len(live):])
	l.board, l.dead, l.lost = live, 0, lost
}

// keep puts an entry that the log drops on the board.
func (l *latest) keep(e *entry) {
	e.kept = true
	l.bytes += e.cost
	l.board = append(l.board, kept{id: e.at.ID, index: e.index, e: e, lost: l.lost})
	l.lost = loss{}
}

// lose notes that an entry is gone that nothing has replaced.
func (l *latest) lose(e *entry) {
	l.lost.add(loss{next: e.index + 1, id: e.at.ID})
	if e.keyed {
		delete(l.newest, e.key)
	}
}

// evict gives up the oldest entry on the board, and returns how many bytes that freed; ok is false when there is none.
func (l *latest) evict() (freed int, ok bool) {
	for i := range l.board {
		k := l.board[i]
		if k.e == nil {
			continue
		}
		lost := loss{next: k.index + 1, id: k.id}
		delete(l.newest, k.e.key)
		freed = l.release(k.e)
		l.board = l.board[i+1:]
		l.dead -= i
		if len(l.board) > 0 {
			l.board[0].lost.add(lost)
		} else {
			l.lost.add(lost)
		}
		return freed, true
	}
	return 0, false
}

// len is the number of entries on the board.
func (l *latest) len() int { return len(l.board) - l.dead }

// newer reports whether there is an entry that replaces e, which was read from the stream.
func (l *latest) newer(e *entry) bool {
	if !e.keyed {
		return false
	}
	n := l.newest[e.key]
	return n != nil && e.at.ID.Less(n.at.ID)
}

// latestSince appends to es what a session with its cursor at next has still to get when it passes over what was replaced, until
// there are limit. end is where its cursor stands then. When an entry that nothing had replaced is gone from there, lost says which,
// and es is empty.
func (l *topicLog) latestSince(es []*entry, next uint64, limit int) (_ []*entry, end uint64, lost loss) {
	if next < l.First {
		board := l.latest.board
		for i := l.latest.seek(next); i <= len(board); i++ {
			hole := &l.latest.lost
			if i < len(board) {
				hole = &board[i].lost
			}
			switch {
			case hole.next > next && len(es) == 0:
				return es, next, *hole
			case hole.next > next:
				return es, es[len(es)-1].index + 1, loss{}
			case i < len(board) && board[i].e != nil:
				es = append(es, board[i].e)
			}
			if len(es) == limit {
				return es, es[limit-1].index + 1, loss{}
			}
		}
		next = l.First
	}
	for _, e := range l.Since(next, l.Len()) {
		if e.replaced {
			continue
		}
		if es = append(es, e); len(es) == limit {
			return es, e.index + 1, loss{}
		}
	}
	return es, l.Next(), loss{}
}

// key finds the keys of entries, before they are taken in.
func (t *topic) key(payload []byte) (key string, keyed bool) {
	switch {
	case t.rule.Slow != topicrule.SlowLatest:
		return "", false
	case t.rule.Key == "":
		return "", true
	}
	key, keyed = keyOf(payload, t.rule.Key)
	if !keyed {
		t.slot.g.metrics.unkeyed.Add(1)
	}
	return key, keyed
}

// replace notes which of a page's entries were replaced by others of it.
func (g *page) replace() {
	seen := make(map[string]bool)
	for i := len(g.entries) - 1; i >= 0; i-- {
		if e := g.entries[i]; e.keyed {
			e.replaced = seen[e.key]
			seen[e.key] = true
		}
	}
}
