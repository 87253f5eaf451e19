package gateway

import (
	"context"
	"errors"
	"slices"
	"sort"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topicrule"
	"github.com/ringside-edge/ringside/stream"
)

// replay is the reading of one topic's past from its stream, for the sessions whose position the log does not
// reach. One read at a time serves all that wait: it begins at the lowest position asked for, and those whose
// position lies beyond its page ask again. Guarded by the slot's mu.
type replay struct {
	running bool
	asked   bool
	from    position.ID // the lowest position asked for
	pages   []*page     // the latest; sessions hold no reference, so that a slow one costs nothing
}

// page is a stretch of a topic's past: all its entries in (from, to]. It is immutable, but for used.
type page struct {
	epoch   uint32
	from    position.ID
	to      position.ID
	first   position.ID   // the first entry that the stream still had; zero when it had none
	ids     []position.ID // of all entries of the slot in it, and from, if that is one
	entries []*entry
	bytes   int64

	used bool // since the last sweep; guarded by the slot's mu
}

const (
	replayEntries = 512     // entries of a slot that one read asks for at most
	replayBytes   = 4 << 20 // about how many bytes a page shall have
	replayPages   = 4       // pages of a topic that are kept, as long as somebody uses them
)

// covers reports whether what follows p is in the page.
func (g *page) covers(p position.Position) bool {
	return g.epoch == p.Epoch && !p.ID.Less(g.from) && p.ID.Less(g.to)
}

// find is the page that has what follows p; nil when there is none.
func (r *replay) find(p position.Position) *page {
	for _, g := range r.pages {
		if g.covers(p) {
			g.used = true
			return g
		}
	}
	return nil
}

// keep takes a page in, in place of the oldest where there are too many, and returns by how many bytes all have grown.
func (r *replay) keep(g *page) int64 {
	r.pages = append(r.pages, g)
	return g.bytes - r.forget(replayPages)
}

// forget lets go of the oldest pages but for n, and returns how many bytes they had.
func (r *replay) forget(n int) (freed int64) {
	for len(r.pages) > n {
		freed += r.pages[0].bytes
		r.pages[0] = nil
		r.pages = r.pages[1:]
	}
	if n == 0 {
		r.pages = nil
	}
	return freed
}

// forgetUnused lets go of the pages that nobody has used since the last call, and returns how many bytes they had.
func (r *replay) forgetUnused() (freed int64) {
	r.pages = slices.DeleteFunc(r.pages, func(g *page) bool {
		if !g.used {
			freed += g.bytes
		}
		unused := !g.used
		g.used = false
		return unused
	})
	return freed
}

// trimmed reports whether the stream may once have had entries behind id that it has no more; then everything
// behind to is still there.
func (g *page) trimmed(id position.ID) (to position.ID, ok bool) {
	switch {
	case g.first.IsZero():
		return g.to, true
	case id.Less(g.first.Prev()):
		return g.first.Prev(), true
	}
	return id, false
}

// foreign reports whether id is no position of this stream, although it lies within the page: positions are those of entries, or
// stand just before one. What follows to is of this stream.
func (g *page) foreign(id position.ID) (to position.ID, ok bool) {
	i := sort.Search(len(g.ids), func(i int) bool { return !g.ids[i].Less(id) }) // the first not before id
	switch {
	case i < len(g.ids) && (g.ids[i] == id || g.ids[i].Prev() == id):
		return id, false
	case i < len(g.ids):
		return g.ids[i].Prev(), true
	}
	return g.to, true
}

// after are the entries behind id.
func (g *page) after(id position.ID) []*entry {
	return g.entries[sort.Search(len(g.entries), func(i int) bool { return id.Less(g.entries[i].at.ID) }):]
}

// replayPage hands the subscription what a page has for it, and moves it into the log when that
// connects; else it asks for the next page.
func (s *sub) replayPage() {
	t, ses := s.feed.topic, s.session
	for {
		t.slot.mu.Lock()
		pg, epoch := t.replay.find(s.last), t.slot.at.Epoch
		t.slot.mu.Unlock()
		if epoch != s.last.Epoch {
			s.state = subWaiting // placed anew, and told of the gap
			s.start()
			return
		}
		if pg == nil {
			break
		}
		s.check(pg)
		rest := pg.after(s.last.ID)
		if len(rest) > 1 && s.halfWay() {
			rest = rest[:1] // the others may be passed over
		}
		more := len(pg.after(s.last.ID)) > len(rest)
		if !s.replayed(pg, rest) {
			return
		}
		if more {
			continue
		}
		if s.last.ID.Less(pg.to) { // what is trimmed may reach further than the page
			s.last.ID = pg.to
		}
		s.since = ses.worker.loop.Now()
	}
	t.slot.mu.Lock()
	if t.slot.at.ID.Less(s.last.ID) { // the page has more than the tail has brought: that would come twice
		t.slot.mu.Unlock()
		s.state = subWaiting
		return
	}
	if next, ok := t.log.Seek(s.last.ID); ok {
		t.slot.mu.Unlock()
		s.live(next)
		return
	}
	start := t.replay.ask(s.last.ID)
	t.slot.mu.Unlock()
	if start {
		ses.worker.g.readPast(t)
	}
}

// check tells the client of a gap when the page does not go on where the subscription stands.
func (s *sub) check(pg *page) {
	if s.comesTo(pg) {
		return
	}
	if to, ok := pg.trimmed(s.last.ID); ok {
		s.gap(gapTrimmed, s.last, position.Position{Epoch: pg.epoch, ID: to})
		return
	}
	if to, ok := pg.foreign(s.last.ID); ok {
		s.gap(gapEpoch, s.last, position.Position{Epoch: pg.epoch, ID: to})
	}
}

// ask notes that somebody needs what follows id, and reports whether a reader has to be started.
func (r *replay) ask(id position.ID) (start bool) {
	if !r.asked || id.Less(r.from) {
		r.from = id
	}
	r.asked = true
	start = !r.running
	r.running = true
	return start
}

// readPast reads pages of t until nobody asks any more. It returns at once.
func (g *Gateway) readPast(t *topic) {
	g.readers.start(func() {
		for {
			t.slot.mu.Lock()
			from, at := t.replay.from, t.slot.at
			again := t.replay.asked && len(t.feeds) > 0
			t.replay.asked, t.replay.running = false, again
			t.slot.mu.Unlock()
			if !again {
				return
			}
			pg, err := g.readPage(t, from, at)
			if err != nil {
				t.slot.mu.Lock()
				t.replay.running = false // sweeps ask again, until the sessions' time is up
				t.slot.mu.Unlock()
				if !errors.Is(err, context.Canceled) {
					g.metrics.replayErrors.Add(1)
					g.log.Warn("cannot read a stream's past", zap.Int("slot", t.slot.n), zap.Error(err))
				}
				return
			}
			g.publishPage(t, pg)
		}
	})
}

func (g *Gateway) publishPage(t *topic, pg *page) {
	t.slot.mu.Lock()
	if len(t.feeds) > 0 { // else nobody needs it any more, and perhaps the topic is forgotten already
		g.logBytes.Add(t.replay.keep(pg))
	}
	touched := t.touch(nil)
	t.slot.mu.Unlock()
	notify(touched)
}

// readPage reads the page that begins behind from. at is where the tail stood before.
func (g *Gateway) readPage(t *topic, from position.ID, at position.Position) (*page, error) {
	select {
	case g.replaySlots <- struct{}{}:
		defer func() { <-g.replaySlots }()
	case <-g.ctx.Done():
		return nil, g.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(g.ctx, g.cfg.ReplayTimeout)
	defer cancel()
	// The page first: what is trimmed between the two calls then shows in the edges, never the other way
	// round.
	got, err := g.stream.Range(ctx, t.slot.n, from, g.replayLimit())
	if err != nil {
		return nil, err
	}
	edges, err := g.stream.Edges(ctx, t.slot.n)
	if err != nil {
		return nil, err
	}
	if edges.Epoch != at.Epoch {
		return nil, errors.New("the stream has a new epoch, of which its tail has not heard yet")
	}
	g.metrics.replayReads.Add(1)
	g.sawEntries(got.Entries)
	pg := &page{epoch: edges.Epoch, from: from, to: got.Last, first: edges.First, used: true}
	if !got.More && pg.to.Less(at.ID) {
		pg.to = at.ID
	}
	pg.take(t, got)
	return pg, nil
}

// take takes the topic's entries, and the IDs of all.
func (g *page) take(t *topic, got stream.Page) {
	if got.Stands {
		g.ids = append(g.ids, g.from)
	}
	for i := range got.Entries {
		e := &got.Entries[i]
		g.ids = append(g.ids, e.ID)
		if e.Topic == t.name {
			past := &entry{at: position.Position{Epoch: g.epoch, ID: e.ID}, topic: t, payload: e.Payload}
			past.key, past.keyed = t.key(e.Payload)
			g.entries = append(g.entries, past)
			g.bytes += int64(entryOverhead + len(e.Payload) + len(past.key))
		}
	}
	if t.rule.Slow == topicrule.SlowLatest {
		g.replace()
	}
	g.bytes += int64(len(g.ids)) * 16
}

// replayLimit is how many entries to ask for, by the size of those seen lately.
func (g *Gateway) replayLimit() int {
	avg := max(1, int(g.entrySize.Load()))
	return max(1, min(replayEntries, replayBytes/avg))
}

// sawEntries keeps a running mean of the size of entries.
func (g *Gateway) sawEntries(es []stream.Entry) {
	if len(es) == 0 {
		return
	}
	total := 0
	for i := range es {
		total += len(es[i].Payload)
	}
	g.entrySize.Store((g.entrySize.Load() + int64(total/len(es))) / 2)
}
