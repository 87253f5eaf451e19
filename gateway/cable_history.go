package gateway

import (
	"encoding/json"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// cableHistory is from where a client wants to go on.
type cableHistory struct {
	Since   float64                `json:"since"` // seconds since 1970
	Streams map[string]cableCursor `json:"streams"`
}

// cableCursor is where it stands in a stream.
type cableCursor struct {
	Epoch  string      `json:"epoch"`
	Offset json.Number `json:"offset"`
}

// history is a subscription's way back to where its client was. It is there until the client has been told how it ended.
type history struct {
	// from is a position, or, without an epoch, an instant: everything since then is to come. At an instant no entry stands.
	from position.Position
	bad  bool // the position is none: the client is told
}

// of is what is wanted of a topic; nil when nothing is.
func (h *cableHistory) of(topic string) *history {
	if h == nil {
		return nil
	}
	if c, ok := h.Streams[topic]; ok {
		offset, err := c.Offset.Int64()
		at, ok := cablePosition(c.Epoch, uint64(max(0, offset)))
		return &history{from: at, bad: err != nil || !ok}
	}
	if h.Since <= 0 || h.Since > 1e11 {
		return nil
	}
	return &history{from: position.Position{ID: position.ID{Ms: uint64(h.Since * 1000)}.Prev()}}
}

// isInstant reports whether a position is no position but an instant. Epochs are never 0.
func isInstant(p position.Position) bool { return p.Epoch == 0 && p != zeroPosition }

// timed reports whether the subscription stands at an instant, or at what it was turned into.
func (s *sub) timed() bool { return s.history != nil && isInstant(s.history.from) }

// stand turns an instant into a position once the slot's tail stands at `at`.
func (s *sub) stand(at position.Position) {
	if isInstant(s.last) {
		s.last.Epoch = at.Epoch
		if at.ID.Less(s.last.ID) {
			s.last = at
		}
	}
}

// comesTo reports whether what a page lacks before its first entry is no gap to who comes with an instant, and moves there.
func (s *sub) comesTo(pg *page) bool {
	if !s.timed() {
		return false
	}
	slot := s.feed.topic.slot
	slot.mu.Lock()
	begin := slot.begin
	slot.mu.Unlock()
	to, trimmed := pg.trimmed(s.last.ID)
	if trimmed && pg.first != begin {
		return false
	}
	if !trimmed {
		to, _ = pg.foreign(s.last.ID)
	}
	s.last.ID = to
	return true
}

// historyNote is the note that a subscription's client has yet to be told how its history went.
func historyNote(note int) int { return maxNote - note }

// awaitHistory notes it.
func (s *session) awaitHistory(c *cableSub) {
	c.pending = true
	s.tellNote(historyNote(c.note), "", true)
}

// historyDone tells the clients of a topic, all of which has been handed on, that nothing is missing.
func (s *session) historyDone(sub *sub) {
	if sub.history == nil || sub.state != subLive || s.blocked() || sub.halfWay() || sub.feed == nil { // it was left meanwhile
		return
	}
	sub.history = nil
	topic := sub.feed.topic.name
	for _, c := range s.cable.list {
		if s.closing || !s.conn.Open() { // telling one has ended the session
			return
		}
		if c.pending && c.follows(topic) && !s.awaitsHistory(c) {
			s.tellHistory("confirm_history", c)
		}
	}
}

// awaitsHistory reports whether one of a subscription's topics is not done yet.
func (s *session) awaitsHistory(c *cableSub) bool {
	for _, topic := range c.topics {
		if sub := s.find(topic); sub != nil && sub.history != nil {
			return true
		}
	}
	return false
}

// historyLost tells the clients of a topic that something is missing. Of Action Cable without extensions there is no word for it.
func (s *session) historyLost(topic string) {
	if s.format != formatCableExt {
		return
	}
	for _, c := range s.cable.list {
		if c.follows(topic) {
			s.tellHistory("reject_history", c)
		}
	}
}

// tellHistory says how it went.
func (s *session) tellHistory(kind string, c *cableSub) {
	s.sendControl(cableWord(kind, c.identifier))
	if c.pending && s.conn.Open() {
		c.pending = false
		s.dropNote(historyNote(c.note), 1)
	}
}

// cableHistory brings a subscription back to where its client was. What its topic has brought since comes again.
func (s *session) cableHistory(c *cableCommand) {
	own := s.cable.find(c.Identifier)
	if own == nil || c.History == nil || s.format != formatCableExt {
		s.worker.g.metrics.badMessage("history")
		return
	}
	s.awaitHistory(own)
	if own.held {
		if s.release(own, c.History) && s.conn.Open() && !s.closing {
			s.tellHistory("reject_history", own)
		}
	} else {
		s.rewind(own, c.History)
	}
	if s.conn.Open() && !s.closing && own.pending && !s.awaitsHistory(own) {
		s.tellHistory("confirm_history", own)
	}
}

// rewind brings the cursors of a subscription that is live back.
func (s *session) rewind(own *cableSub, history *cableHistory) {
	for _, topic := range own.topics {
		h, sub := history.of(topic), s.find(topic)
		switch {
		case sub == nil || h == nil:
		case h.bad || sub.class == nil || len(sub.class.prefixes) > 1 || sub.state != subLive:
			s.tellHistory("reject_history", own)
		default:
			sub.history, sub.last, sub.resumed, sub.state, sub.told = h, h.from, true, subWaiting, false
			sub.since = s.worker.loop.Now()
			sub.advance()
		}
		if !s.conn.Open() || s.closing {
			return
		}
	}
}

// historyOf is what is left of a subscription's way back when its session goes on here; nil as a rule.
func (s *session) historyOf(t leg.Standing) *history {
	if isInstant(t.Position) {
		return &history{from: t.Position}
	}
	for _, c := range s.cable.list {
		if c.pending && c.follows(t.Name) {
			return &history{from: t.Position}
		}
	}
	return nil
}
