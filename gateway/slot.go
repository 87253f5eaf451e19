package gateway

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/fault"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topicrule"
	"github.com/ringside-edge/ringside/stream"
)

// slot is what a gateway knows of one slot: where its tail stands, and the topics that have, or lately had,
// a session here. One goroutine of the tailer feeds it; the loops read it. mu is never held over I/O, over
// an encoding, or together with another slot's.
type slot struct {
	n int
	g *Gateway

	mu     sync.Mutex
	warm   bool              // the tail stands at `at`
	at     position.Position // everything up to here has been appended to the logs
	begin  position.ID       // the mark of the epoch; zero when it is not known
	placed time.Time         // when the tail last started
	seen   time.Time         // when it last brought something, beacons included
	topics map[string]*topic

	stale atomic.Bool // set by watchFreshness
	keys  []foundKey  // scratch of the tailer's
}

// topic is one topic of a slot, with its log and the feeds of the loops that have subscribers.
type topic struct {
	name   string
	quoted []byte // name as a JSON string
	num    uint32 // stands for the topic in leg records; unique in this process
	slot   *slot
	rule   topicrule.Rule

	subscribed atomic.Int64 // sessions, all loops' together

	// How many follow it in the cluster.
	wanted  atomic.Int64 // sessions that asked for it
	others  atomic.Int64 // sessions at other gateways; unknown where nobody asked
	viewers atomic.Int32 // what those were told last who asked; unknown before
	awaited atomic.Bool  // some of them have been told nothing yet
	noted   atomic.Bool  // counts is to look at it with the next round
	hurried atomic.Bool  // counts is to look at it soon
	counted              // owned by counts.run

	// Guarded by slot.mu.
	taken  uint64 // messages appended to the log
	asked  asked
	log    topicLog
	feeds  []*feed
	idle   time.Time // since when there is no feed
	replay replay
}

// charge tells the topic's log that e has grown by n bytes.
func (t *topic) charge(e *entry, n int) {
	t.slot.mu.Lock()
	defer t.slot.mu.Unlock()
	if e.logged {
		e.cost += n
		if e.kept {
			t.log.latest.bytes += n
		} else {
			t.log.Grown(n)
		}
		t.slot.g.logBytes.Add(int64(n))
	}
}

// attach makes f a feed of the topic called name and returns the topic. A topic that is new here begins its
// log where the tail stands.
func (s *slot) attach(name string, f *feed) *topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[name]
	if t == nil {
		t = &topic{name: name, quoted: appendQuoted(nil, name), num: s.g.topicNum.Add(1), slot: s, rule: s.g.cfg.Rules.For(name)}
		if t.rule.Slow == topicrule.SlowLatest {
			t.log.latest = &latest{}
		}
		t.log.restart(s.at.ID)
		t.others.Store(unknown)
		t.viewers.Store(unknown)
		s.topics[name] = t
		s.g.topicCount.Add(1)
	}
	t.feeds = append(t.feeds, f)
	return t
}

// admits reports whether a topic may get a session: it is here, or there is room for one more. Several that ask at the same time may get the
// last place.
func (s *slot) admits(name string) bool {
	if s.g.topicCount.Load() < int64(s.g.cfg.MaxNodeTopics) {
		return true
	}
	s.mu.Lock()
	_, here := s.topics[name]
	s.mu.Unlock()
	if !here {
		s.g.tails.makeRoom()
	}
	return here
}

// detach ends f. The topic's log lingers for those who come back.
func (s *slot) detach(f *feed, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := f.topic
	t.feeds = slices.DeleteFunc(t.feeds, func(o *feed) bool { return o == f })
	switch {
	case len(t.feeds) > 0:
	case t.log.Len() == 0: // nothing worth keeping, and whoever names a thousand topics shall not fill the map
		s.forget(t)
	default:
		t.idle = now
		s.g.logBytes.Add(-t.replay.forget(0))
	}
}

// sweep forgets the topics that have been without a session since before cutoff.
func (s *slot) sweep(cutoff time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.topics {
		if len(t.feeds) == 0 && t.idle.Before(cutoff) {
			s.forget(t)
		} else {
			s.g.logBytes.Add(-t.replay.forgetUnused()) // whoever still needs one asks again
		}
	}
}

// coolIfUnused reports whether s has no topic any more, neither with a subscriber nor with a log that lingers; it is then
// taken for cold until its tail starts anew, because what comes meanwhile is not seen.
func (s *slot) coolIfUnused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.topics) > 0 {
		return false
	}
	s.warm = false
	return true
}

func (s *slot) forget(t *topic) {
	s.g.logBytes.Add(-int64(t.log.restart(position.ID{})) - t.replay.forget(0))
	s.g.topicCount.Add(-1)
	delete(s.topics, t.name)
}

// started is the tail's word that it stands at `at`, in an epoch that began at begin.
func (s *slot) started(at position.Position, begin position.ID) {
	var few [fewFeeds]*feed
	touched := few[:0]
	s.mu.Lock()
	was, warm := s.at, s.warm
	now := time.Now()
	if fault.Enabled && warm && was.Epoch != at.Epoch && fault.Hit(fault.Stale, 4) {
		at = position.Position{Epoch: was.Epoch, ID: at.ID}
		was, begin = at, s.begin
	}
	s.warm, s.at, s.begin, s.placed, s.seen = true, at, begin, now, now
	for _, t := range s.topics {
		if at != was || !warm {
			s.g.logBytes.Add(-int64(t.log.restart(at.ID)))
		}
		touched = t.touch(touched)
	}
	s.mu.Unlock()
	if warm && was.Epoch != at.Epoch {
		s.g.metrics.epochs.Add(1)
		s.g.log.Warn("a stream has begun a new epoch; its sessions are told of a gap",
			zap.Int("slot", s.n), zap.Stringer("was", was), zap.Stringer("at", at))
	}
	notify(touched)
}

// append takes new entries into the logs and tells the feeds.
func (s *slot) append(entries []stream.Entry) {
	var few [fewFeeds]*feed
	touched := few[:0]
	if s.g.skips {
		s.findKeys(entries)
		defer clear(s.keys)
	}
	s.mu.Lock()
	if !s.warm { // no longer wanted: what comes until the tail starts anew has holes
		s.mu.Unlock()
		return
	}
	s.seen = time.Now()
	for i := range entries {
		e := &entries[i]
		if !s.at.ID.Less(e.ID) {
			s.g.metrics.stale.Add(1)
			continue
		}
		s.at.ID = e.ID
		t := s.topics[e.Topic]
		if t == nil {
			continue
		}
		fresh := &entry{at: s.at, topic: t, payload: e.Payload}
		if i < len(s.keys) {
			fresh.key, fresh.keyed = s.keys[i].text, s.keys[i].ok
		}
		t.taken++
		s.g.logBytes.Add(int64(t.log.append(fresh)))
		s.trim(t)
		touched = t.touch(touched)
	}
	s.mu.Unlock()
	notify(touched)
}

// fewFeeds is how many feeds a batch touches as a rule: up to here noting them allocates nothing.
const fewFeeds = 16

// touch appends t's feeds that don't know yet that there is something new, for notify. The caller holds the slot's mu.
func (t *topic) touch(touched []*feed) []*feed {
	for _, f := range t.feeds {
		if f.mark() {
			touched = append(touched, f)
		}
	}
	return touched
}

// trim keeps t's log within its bounds. The newest entry always stays: it is what sessions are about to get.
func (s *slot) trim(t *topic) {
	cfg := &s.g.cfg
	for t.log.Len() > 1 {
		keep := true
		switch {
		case t.log.Len() > cfg.LogEntries, t.log.Bytes > cfg.LogBytes:
		case s.g.logBytes.Load() > int64(cfg.LogTotalBytes):
			s.g.metrics.logSqueezed.Add(1)
			if keep = false; s.evict(t) {
				continue
			}
		default:
			return
		}
		s.g.logBytes.Add(-int64(t.log.dropFirst(keep)))
		for l := t.log.latest; l != nil && (l.len() > cfg.LatestKeys || l.bytes > cfg.LogBytes); {
			s.evict(t)
		}
	}
}

// evict gives up the oldest entry on t's board, if there is one.
func (s *slot) evict(t *topic) bool {
	if t.log.latest == nil {
		return false
	}
	freed, ok := t.log.latest.evict()
	if ok {
		s.g.logBytes.Add(-int64(freed))
		s.g.metrics.evicted.Add(1)
	}
	return ok
}

// foundKey is the key of an entry that is about to be taken in.
type foundKey struct {
	text string
	ok   bool
}

// findKeys finds the keys of entries, without mu: it reads all of their payloads. A topic that comes in between has its first few
// entries without a key, which only means that they are not passed over.
func (s *slot) findKeys(entries []stream.Entry) {
	s.keys = append(s.keys[:0], make([]foundKey, len(entries))...)
	for i := range entries {
		s.mu.Lock()
		t := s.topics[entries[i].Topic]
		s.mu.Unlock()
		if t != nil {
			s.keys[i].text, s.keys[i].ok = t.key(entries[i].Payload)
		}
	}
}

// notify wakes the feeds that were touched; without the slot's mu.
func notify(touched []*feed) {
	for _, f := range touched {
		f.worker.loop.Post(f)
	}
}

// sink hands what the tailer reads to the slots. It implements stream.Sink.
type sink struct{ g *Gateway }

func (k sink) TailStarted(n int, at position.Position, begin position.ID) {
	k.g.slots[n].started(at, begin)
	k.g.tails.started(n)
}

func (k sink) TailEntries(n int, entries []stream.Entry) { k.g.slots[n].append(entries) }

func (k sink) TailLost(n int, err error) { k.g.tails.lost(n, err) }

// counter is a count that many goroutines add to and the metrics read.
type counter = atomic.Uint64
