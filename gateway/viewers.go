package gateway

import (
	"fmt"
	"slices"
	"time"

	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// unknown is a count that is not known yet.
const unknown = -1

// telling is what sessions of a topic were told that asked how many follow it. It belongs to the goroutine that runs counts.
type telling struct {
	last int32     // what they were told
	at   time.Time // when
}

// viewersNow is how many sessions follow t in the whole cluster, as far as known; unknown when it is not to be told now. Those here are counted now,
// the others as they were last heard of. Safe for concurrent use.
func (t *topic) viewersNow() int32 {
	others := t.others.Load()
	if others < 0 || !t.slot.g.counts.steady.Load() {
		return unknown
	}
	return clamp(others + t.subscribed.Load())
}

// want begins or ends to ask for what others have of t, and has what waits for it told.
func (c *counts) want(r *ring.Ring, t *topic) {
	switch wanted := t.wanted.Load() > 0; {
	case wanted && c.adds(r, t) && c.sure.Load():
		c.learn(t, c.table.Others(t.name))
	case wanted:
		c.wanted[t] = true
	default:
		delete(c.wanted, t)
		delete(c.waiting, t)
		t.others.Store(unknown)
		t.viewers.Store(unknown)
		t.telling = telling{}
	}
	if c.wanted[t] {
		c.waiting[t] = true
	}
	c.report(r, t)
	if k := t.told; k != nil {
		k.send("")
	}
}

// learn takes in what others have of t, if somebody here wants to know. Want may be yet to come.
func (c *counts) learn(t *topic, others int64) {
	if t == nil || t.wanted.Load() == 0 {
		return
	}
	c.wanted[t] = true
	t.others.Store(others)
	c.waiting[t] = true
}

// tell has the sessions that wait for it told how many follow their topics: of a topic, those that have been told something before, every
// viewers-every at most.
func (c *counts) tell(now time.Time) {
	for t := range c.waiting {
		n := t.viewersNow()
		if n == unknown {
			continue
		}
		due := n == t.last || t.at.IsZero() || now.Sub(t.at) >= c.g.cfg.ViewersEvery
		if due {
			delete(c.waiting, t)
		}
		if due && (n != t.last || t.at.IsZero()) {
			t.last, t.at = n, now
			t.viewers.Store(n)
		} else if !t.awaited.Load() {
			continue
		}
		t.awaited.Store(false)
		t.slot.mu.Lock()
		feeds := slices.Clone(t.feeds)
		t.slot.mu.Unlock()
		for _, f := range feeds {
			f.postViewers()
		}
	}
}

// viewersNote is a feed whose sessions have to be told how many follow its topic.
type viewersNote feed

// postViewers leaves the note for the loop; by anybody.
func (f *feed) postViewers() {
	if f.counting.CompareAndSwap(false, true) {
		f.worker.loop.Post((*viewersNote)(f))
	}
}

// Run tells a slice of them, and leaves a note for the next; on the loop. The cost is that of a message for those who asked, and nothing for the
// others.
func (n *viewersNote) Run() {
	f := (*feed)(n)
	f.counting.Store(false)
	if v := f.topic.viewers.Load(); v != f.told || f.untold == 0 { // else the rest of those who are being told
		f.told, f.untold = v, len(f.viewers)
	}
	f.untold = min(f.untold, len(f.viewers))
	for end := max(0, f.untold-fanOutSlice); f.untold > end; {
		f.untold--
		if f.untold < len(f.viewers) { // the last ones may have ended meanwhile
			f.viewers[f.untold].catchViewers()
		}
	}
	if f.untold > 0 {
		f.postViewers()
	}
}

// askViewers notes that sub's client wants to know how many follow the topic.
func (f *feed) askViewers(sub *sub) {
	f.viewers = append(f.viewers, sub)
	sub.viewer, sub.viewers = int32(len(f.viewers)), unknown
	if f.topic.wanted.Add(1) == 1 {
		f.topic.slot.g.counts.hurry(f.topic)
	}
}

// unaskViewers ends that.
func (f *feed) unaskViewers(sub *sub) {
	at, last := sub.viewer-1, len(f.viewers)-1
	f.viewers[at] = f.viewers[last]
	f.viewers[at].viewer = at + 1
	f.viewers[last] = nil
	f.viewers = f.viewers[:last]
	sub.viewer = 0
	if f.topic.wanted.Add(-1) == 0 {
		f.topic.slot.g.counts.hurry(f.topic)
	}
}

// beginViewers tells a client that has just been greeted, or gone on here, how many follow the topic; or has it told as soon as that is known.
func (s *sub) beginViewers() {
	if s.viewer == 0 || s.feed == nil || s.viewers != unknown {
		return
	}
	if n := s.feed.topic.viewersNow(); n != unknown {
		s.tellViewers(n)
	}
	if s.viewer > 0 && s.viewers == unknown {
		s.feed.topic.awaited.Store(true)
		s.feed.topic.slot.g.counts.hurry(s.feed.topic)
	}
}

// catchViewers tells the client what those of the topic were told last; who was told nothing yet, what is known now.
func (s *sub) catchViewers() {
	switch {
	case s.viewer == 0:
	case s.viewers == unknown:
		s.tellViewers(s.feed.topic.viewersNow())
	default:
		s.tellViewers(s.feed.topic.viewers.Load())
	}
}

// tellViewers tells the client n, unless it was told that last. One that can't be told now is told the newest once it can.
func (s *sub) tellViewers(n int32) {
	ses := s.session
	if s.viewer == 0 || s.viewers == n || n == unknown || !s.greeted || ses.blocked() || ses.resume != nil {
		return
	}
	s.viewers = n
	ses.worker.counts.viewers.Add(1)
	ses.control(s.feed.viewersRecord(ses.format, n).bytes(ses.onLeg))
}

// viewersRecord is what all sessions of a format are told.
func (f *feed) viewersRecord(fm format, n int32) *record {
	c := &f.counted[fm]
	if c.record == nil || c.n != n {
		*c = viewersMade{n, newRecord(leg.Beacon, 0, zeroPosition, encodeViewers(fm, f.topic, n))}
	}
	return c.record
}

// viewersMade is the latest record of a feed in one format.
type viewersMade struct {
	n      int32
	record *record
}

// encodeViewers says how many follow the topic. It has no position. Of ringside.raw it is a ping, whose payload says it.
func encodeViewers(f format, t *topic, n int32) []byte {
	switch f {
	case formatRaw:
		return wsframe.AppendFrame(nil, wsframe.Ping, fmt.Appendf(nil, `{"viewers":%d}`, n))
	case formatCable, formatCableExt:
		return nil
	}
	j := fmt.Appendf(nil, `{"type":"viewers","topic":%s,"count":%d}`, t.quoted, n)
	if f == formatSSE {
		return append(append([]byte("event: viewers\ndata: "), j...), "\n\n"...)
	}
	return text(j)
}
