// Package tally counts the sessions of topics over all gateways.
//
// Each slot has one gateway that adds up, its *counter*: the first gateway of ours in the slot's order of preference, the slot's owner as a rule,
// which has most of the sessions anyway. The others tell it the counts of their own that have changed, in batches, over one connection to each
// gateway ([Open]), and it tells those of them that want to know what the rest of the cluster has. A connection that ends takes its counts with
// it, so that those of a gateway that dies are gone as soon as its sockets are. Who wants to know once asks the counter ([Ask]).
//
//	gateway ──── entries: topic, count, wants to know ────► counter: Table
//	   ▲                                                       │
//	   └──────────── totals: topic, what others have ──────────┘
//
// The package knows no sessions: gateways hand it numbers.
package tally

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

// Counter is the gateway that adds up the sessions of a slot's topics; nil while there is none.
func Counter(r *ring.Ring, slot int) *ring.Member {
	for _, m := range r.Preference(slot) {
		if !m.Static {
			return m
		}
	}
	return nil
}

// Reporters are the gateways that may have sessions, by ID: those that a counter has to hear before its counts are complete.
func Reporters(r *ring.Ring) (list []ring.Member) {
	for _, m := range r.Members() {
		if m.Role == ring.RoleGateway && !m.Static && (m.State == ring.StateActive || m.State == ring.StateDraining) {
			list = append(list, m)
		}
	}
	return list
}

// Count is how many sessions follow a topic, and where that is known from.
type Count struct {
	Topic    string   `json:"topic"`
	Sessions int64    `json:"count"`
	Age      int64    `json:"age"`      // of the oldest word that it is made of, ms
	Complete bool     `json:"complete"` // all gateways have been heard, and agree on who adds up
	By       string   `json:"by"`       // the shard that has added up
	Shards   []Part   `json:"shards"`   // those with sessions, by ID
	Missing  []string `json:"missing"`  // gateways that have not been heard, by ID
}

// Part is what one gateway has of a count.
type Part struct {
	Shard    string `json:"shard"`
	Sessions int64  `json:"count"`
	Age      int64  `json:"age"` // since its last word, ms
}

// Entry is what a gateway says of a topic.
type Entry struct {
	Topic string
	Count int64
	Wants bool // to be told what others have
	Anew  bool // whatever it was told before
}

// Total is what a gateway is told of a topic.
type Total struct {
	Topic  string
	Others int64 // sessions at all other gateways
}

// Table adds up what gateways report. Safe for concurrent use.
type Table struct {
	limit int
	mine  func(topic string) int64 // sessions here

	mu        sync.Mutex
	topics    map[string]*sum
	reporters map[string]*Reporter // by shard ID
	shares    int
	dropped   uint64          // entries for which there was no place
	changed   map[string]bool // topics whose sum has changed since Changed was last called
	owed      map[string]bool // topics of which somebody who wants to know may have to be told
}

// sum is a topic with the shares of the gateways that have sessions of it, or want to know.
type sum struct {
	total  int64
	shares []share
}

type share struct {
	by    *Reporter
	count int64
	wants bool
	told  int64 // what it knows of the others; -1 for nothing
}

// Reporter is a gateway on its connection. It belongs to the table.
type Reporter struct {
	Shard string
	ring  string // version, as it last said
	heard time.Time
	lost  bool // something that it said had no place
	gone  bool
	out   map[string]int64 // what it is still to be told
}

// NewTable makes a table of at most limit entries; mine says how many sessions of a topic are here, and must not call the table.
func NewTable(limit int, mine func(topic string) int64) *Table {
	return &Table{limit: limit, mine: mine, topics: map[string]*sum{}, reporters: map[string]*Reporter{}, changed: map[string]bool{}, owed: map[string]bool{}}
}

// Join begins what a gateway says, in place of what it has said on an earlier connection.
func (t *Table) Join(shard string) *Reporter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.reporters[shard]; old != nil {
		t.forget(old)
	}
	r := &Reporter{Shard: shard, heard: time.Now(), out: map[string]int64{}}
	t.reporters[shard] = r
	return r
}

// Leave forgets all that r has said.
func (t *Table) Leave(r *Reporter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(r)
}

func (t *Table) forget(r *Reporter) {
	if r.gone {
		return
	}
	r.gone = true
	delete(t.reporters, r.Shard)
	for name, s := range t.topics {
		if i := s.find(r); i >= 0 {
			t.set(name, s, i, Entry{})
		}
	}
}

func (s *sum) find(r *Reporter) int {
	return slices.IndexFunc(s.shares, func(h share) bool { return h.by == r })
}

// Report takes a batch in, by a gateway that goes by a version of the ring. It reports whether somebody waits for a first answer, and false for
// ok when the reporter has been replaced.
func (t *Table) Report(r *Reporter, version string, entries []Entry) (asked, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.gone {
		return false, false
	}
	r.heard = time.Now()
	if version != "" {
		r.ring = version
	}
	for _, e := range entries {
		s := t.topics[e.Topic]
		if s == nil {
			s = &sum{}
		}
		i := s.find(r)
		switch {
		case i >= 0:
		case e.Count == 0 && !e.Wants:
			continue
		case t.shares >= t.limit:
			t.dropped++
			r.lost = true
			continue
		default:
			s.shares = append(s.shares, share{by: r, told: -1})
			t.topics[e.Topic] = s
			t.shares++
			i = len(s.shares) - 1
		}
		asked = asked || e.Wants && (e.Anew || !s.shares[i].wants)
		t.set(e.Topic, s, i, e)
	}
	return asked, true
}

// set changes a share, and forgets it when it says nothing any more.
func (t *Table) set(name string, s *sum, i int, e Entry) {
	h := &s.shares[i]
	if h.count != e.Count {
		s.total += e.Count - h.count
		h.count = e.Count
		t.changed[name], t.owed[name] = true, true
	}
	if h.wants != e.Wants || e.Anew {
		h.wants, h.told = e.Wants, -1
		t.owed[name] = true
	}
	if h.count != 0 || h.wants {
		return
	}
	s.shares = slices.Delete(s.shares, i, i+1)
	t.shares--
	if len(s.shares) == 0 {
		delete(t.topics, name)
		delete(t.owed, name)
	}
}

// Touch notes that the sessions here of a topic have changed, of which other gateways may have to be told.
func (t *Table) Touch(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.topics[topic] != nil {
		t.owed[topic] = true
	}
}

// Others is how many sessions of a topic all other gateways have.
func (t *Table) Others(topic string) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.topics[topic]; s != nil {
		return s.total
	}
	return 0
}

// Changed are the topics of which other gateways have more or fewer sessions than when it was last called.
func (t *Table) Changed() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := make([]string, 0, len(t.changed))
	for name := range t.changed {
		names = append(names, name)
	}
	clear(t.changed)
	return names
}

// Tell works out what has to be told to those who want to know; [Table.Take] has it then.
func (t *Table) Tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.owed {
		s := t.topics[name]
		mine := int64(-1)
		for i := range s.shares {
			h := &s.shares[i]
			if !h.wants {
				continue
			}
			if mine < 0 {
				mine = t.mine(name)
			}
			if others := mine + s.total - h.count; others != h.told {
				h.told, h.by.out[name] = others, others
			}
		}
	}
	clear(t.owed)
}

// Take is what r is to be told, as of now.
func (t *Table) Take(r *Reporter) []Total {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Total, 0, len(r.out))
	for name, others := range r.out {
		list = append(list, Total{name, others})
	}
	clear(r.out)
	return list
}

// Missing are the gateways of r beside self that have not been heard, do not go by the same ring, or have said more than there is room for.
func (t *Table) Missing(r *ring.Ring, self string) []string {
	missing := []string{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range Reporters(r) {
		if m.ID == self {
			continue
		}
		if h := t.reporters[m.ID]; h == nil || h.ring != r.Version() || h.lost {
			missing = append(missing, m.ID)
		}
	}
	return missing
}

// Count is that of a topic, by the gateway called self.
func (t *Table) Count(topic string, r *ring.Ring, self string) Count {
	c := Count{Topic: topic, By: self, Shards: []Part{}, Missing: t.Missing(r, self)}
	c.Complete = len(c.Missing) == 0
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.reporters {
		c.Age = max(c.Age, now.Sub(h.heard).Milliseconds())
	}
	if n := t.mine(topic); n > 0 {
		c.add(Part{self, n, 0})
	}
	if s := t.topics[topic]; s != nil {
		for _, h := range s.shares {
			if h.count > 0 {
				c.add(Part{h.by.Shard, h.count, now.Sub(h.by.heard).Milliseconds()})
			}
		}
	}
	slices.SortFunc(c.Shards, func(a, b Part) int { return strings.Compare(a.Shard, b.Shard) })
	return c
}

func (c *Count) add(p Part) {
	c.Sessions += p.Sessions
	c.Shards = append(c.Shards, p)
}

// Stats are what a table holds.
type Stats struct {
	Entries, Limit int
	Reporters      int
	Dropped        uint64
}

// Stats are those of now.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{t.shares, t.limit, len(t.reporters), t.dropped}
}
