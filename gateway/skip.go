package gateway

import (
	"fmt"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topicrule"
	"github.com/ringside-edge/ringside/leg"
)

// skips reports whether the subscription passes over what was replaced: its topic is set to, and it is behind. What its client has a
// part of must come, whatever has replaced it.
func (s *sub) skips() bool {
	return s.feed.topic.rule.Slow == topicrule.SlowLatest && !s.halfWay()
}

// halfWay reports whether the client has a part of the subscription's next message.
func (s *sub) halfWay() bool {
	r := s.session.resume
	return r != nil && r.first == s && s.last == r.from
}

// skipTo hands the socket what is left of a stretch of the log, once the client has been told how much is left out. end is where the
// cursor stands behind it.
func (s *session) skipTo(sub *sub, es []*entry, end uint64) {
	last := es[len(es)-1]
	if n := last.index + 1 - sub.next - uint64(len(es)); n > 0 {
		sub.tellSkipped(n, last.at)
	}
	taken := s.push(sub, es)
	if taken == 0 || sub.feed == nil {
		return
	}
	next := es[taken-1].index + 1
	s.worker.counts.skipped.Add(next - sub.next - uint64(taken))
	if sub.next = next; taken == len(es) {
		sub.next = end
	}
}

// skipWithin is what is left of a page's entries. The client is told how many are left out.
func (s *sub) skipWithin(pg *page, rest []*entry) (left []*entry) {
	w, t := s.session.worker, s.feed.topic
	left = w.more[:0]
	t.slot.mu.Lock()
	for _, e := range rest {
		if !e.replaced && !t.log.latest.newer(e) {
			left = append(left, e)
		}
	}
	t.slot.mu.Unlock()
	w.more = left
	if n := len(rest) - len(left); n > 0 {
		s.tellSkipped(uint64(n), position.Position{Epoch: pg.epoch, ID: pg.to})
	}
	return left
}

// replayed hands on what a page has for the subscription, and reports whether the socket has taken it all.
func (s *sub) replayed(pg *page, rest []*entry) bool {
	ses := s.session
	if !s.late || !s.skips() {
		return ses.push(s, rest) == len(rest) && !ses.blocked()
	}
	left := s.skipWithin(pg, rest)
	taken := ses.push(s, left)
	all := taken == len(left) && !ses.blocked()
	switch {
	case all:
		ses.worker.counts.skipped.Add(uint64(len(rest) - len(left)))
	case taken > 0:
		n := 0
		for n < len(rest) && !s.last.ID.Less(rest[n].at.ID) {
			n++
		}
		ses.worker.counts.skipped.Add(uint64(n - taken))
	}
	clear(left)
	return all
}

// tellSkipped tells the client that n messages between where it stands and until are left out because newer ones have replaced
// them. Its position does not move by that.
func (s *sub) tellSkipped(n uint64, until position.Position) {
	r := newRecord(leg.Beacon, s.feed.topic.num, s.last, encodeSkipped(s.session.format, s.feed.topic, n, s.last, until))
	s.session.control(r.bytes(s.session.onLeg))
}

// encodeSkipped is the word for it. ringside.raw has none.
func encodeSkipped(f format, t *topic, n uint64, after, until position.Position) []byte {
	j := fmt.Appendf(nil, `{"type":"skipped","topic":%s,"count":%d,"after":"%s","until":"%s"}`, t.quoted, n, after, until)
	switch f {
	case formatRaw, formatCable, formatCableExt:
		return nil
	case formatSSE:
		return append(appendSSEData([]byte("event: skipped\n"), j), '\n')
	}
	return text(j)
}

// tooSlow closes the session of a topic that wants it, and reports whether it has.
func (s *sub) tooSlow() bool {
	if s.session.format == formatCable { // it has no word for what is missing: its client comes back, and knows that it was away
		s.session.farewell(closeSlow, cableTooSlow, true)
		return true
	}
	if s.feed.topic.rule.Slow != topicrule.SlowClose {
		return false
	}
	s.session.finish(closeSlow, s.session.worker.g.policy().Over(backoff.Widest))
	return true
}
