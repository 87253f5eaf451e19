package gateway

import (
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topiclog"
)

// topicLog is what is kept in memory of a topic, and of the topics whose slow sessions pass over what was replaced, a board behind it.
// It is guarded by its slot's mu.
type topicLog struct {
	topiclog.Log[*entry]
	latest *latest // nil unless slow sessions pass over what was replaced
}

// ID implements topiclog.Entry.
func (e *entry) ID() position.ID { return e.at.ID }

// Size implements topiclog.Entry.
func (e *entry) Size() int { return e.cost }

// append takes e in, and returns by how many bytes everything has grown.
func (l *topicLog) append(e *entry) (grown int) {
	e.logged, e.cost, e.index = true, entryOverhead+len(e.payload)+len(e.key), l.Next()
	l.Append(e)
	if l.latest == nil {
		return e.cost
	}
	return e.cost - l.latest.take(e)
}

// dropFirst drops the oldest entry and returns how many bytes that freed. With keep it goes to the board if it is the newest of its
// key.
func (l *topicLog) dropFirst(keep bool) int {
	e := l.DropFirst()
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

// restart begins a new epoch at base: every cursor is told of the gap. It returns how many bytes that freed.
func (l *topicLog) restart(base position.ID) int {
	freed := l.Bytes
	if l.latest != nil {
		for _, k := range l.latest.board {
			if k.e != nil {
				freed += l.latest.release(k.e)
			}
		}
		l.latest.clear()
	}
	for _, e := range l.Restart(base) {
		e.logged = false
	}
	return freed
}
