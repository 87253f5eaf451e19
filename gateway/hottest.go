package gateway

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// hottestKept is how many topics are named of each order: by sessions, and by messages.
	hottestKept = 10
	// hottestFor is how long an answer stands: however many ask, all topics are looked at once in this time.
	hottestFor = 500 * time.Millisecond
	// hottestStale is after how long without a look a rate would say nothing of now.
	hottestStale = 10 * time.Second
	// hottestSmooth is over how long a rate is a mean, about: a message a second shall not flicker.
	hottestSmooth = 2 * time.Second
)

// asked is what is remembered of a topic from the last look on; guarded by its slot's mu.
type asked struct {
	taken uint64
	rate  float64
	known bool // there was a look before, lately
}

// look is the topic's rate after a look that comes since after the last one; -1 when it is not known. The caller holds the slot's mu.
func (t *topic) look(since time.Duration) float64 {
	a := &t.asked
	now := float64(t.taken-a.taken) / since.Seconds()
	switch {
	case since >= hottestStale:
		a.known = false
		a.rate = -1
	case !a.known:
		a.known = true
		a.rate = now
	default:
		a.rate += (now - a.rate) * (1 - math.Exp(-since.Seconds()/hottestSmooth.Seconds()))
	}
	a.taken = t.taken
	return a.rate
}

// HotTopic is one of the topics that a gateway is busiest with.
type HotTopic struct {
	Topic    string
	Sessions int     // subscribed here
	Rate     float64 // messages per second; -1 when it is not known yet
}

// hottest remembers the last look at all topics. It is idle as long as nobody asks.
type hottest struct {
	mu     sync.Mutex
	looked time.Time  // guarded by mu
	list   []HotTopic // guarded by mu: shared, not to be changed
}

// Hottest are the topics with the most sessions and those with the most messages, at most 20 in all, those with the most
// deliveries first. They are looked for when somebody asks, twice a second at most. The slice is shared and must not be changed.
// Safe for concurrent use.
func (g *Gateway) Hottest() []HotTopic {
	h := &g.hottest
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	since := now.Sub(h.looked)
	if since < hottestFor {
		return h.list
	}
	h.looked = now
	var bySessions, byRate top
	for _, s := range g.slots {
		s.mu.Lock()
		for _, t := range s.topics {
			hot := HotTopic{Topic: t.name, Sessions: int(t.subscribed.Load()), Rate: t.look(since)}
			bySessions.offer(hot, float64(hot.Sessions))
			byRate.offer(hot, hot.Rate)
		}
		s.mu.Unlock()
	}
	h.list = append(bySessions.kept(), byRate.kept()...)
	slices.SortFunc(h.list, func(a, b HotTopic) int {
		return cmp.Or(cmp.Compare(b.heat(), a.heat()), cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.Topic, b.Topic))
	})
	h.list = slices.CompactFunc(h.list, func(a, b HotTopic) bool { return a.Topic == b.Topic })
	return h.list
}

// heat is how many messages are handed out per second.
func (t HotTopic) heat() float64 { return max(0, t.Rate) * float64(t.Sessions) }

// top are the topics with the highest scores above zero.
type top struct {
	n      int
	topics [hottestKept]HotTopic
	scores [hottestKept]float64 // descending
}

func (p *top) offer(t HotTopic, score float64) {
	if score <= 0 || p.n == hottestKept && score <= p.scores[p.n-1] {
		return
	}
	i := min(p.n, hottestKept-1)
	for ; i > 0 && p.scores[i-1] < score; i-- {
		p.topics[i], p.scores[i] = p.topics[i-1], p.scores[i-1]
	}
	p.topics[i], p.scores[i] = t, score
	p.n = min(p.n+1, hottestKept)
}

func (p *top) kept() []HotTopic { return slices.Clone(p.topics[:p.n]) }
