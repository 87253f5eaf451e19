package gossip

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

const (
	// maxRegisters bounds the settings of a cluster, deleted ones included.
	maxRegisters = 1024
	// maxSkew is how far ahead of this node's clock a register may have been written. One from further ahead is refused
	// until its time has come: a clock that is years ahead must not decide for years.
	maxSkew = time.Minute
	// keepGone is how long a deletion is remembered: longer than a node, or a split, that knows nothing of it lives.
	keepGone = 30 * 24 * time.Hour
)

// Settings are what the operators of a cluster have set at run time: named registers. They spread with the gossip of the
// nodes that they are given to; they outlive a node's place in gossip, and may outlive the cluster when somebody remembers
// them. Safe for concurrent use. It is a collector of its metrics.
//
//	Set, Delete ──┐                      ┌──► Changed
//	gossip ──────► merge ──► registers ──┼──► nodes' broadcasts and full exchanges
//	memory ──────┘   (later wins)        └──► Unremembered ──► memory
type Settings struct {
	// Fixed after NewSettings.
	writer string
	log    *zap.Logger
	now    func() time.Time

	refused *prometheus.CounterVec
	warn    *metrics // of which only the pace of complaints is used

	mu          sync.Mutex
	registers   map[string]Register    // guarded by mu
	remembered  map[string][]byte      // guarded by mu: by name, what the memory is known to have
	asked       bool                   // guarded by mu: the memory has answered once
	changes     uint64                 // guarded by mu
	nodes       map[*Node]bool         // guarded by mu
	subscribers map[chan struct{}]bool // guarded by mu
}

// Why a register is not taken.
const (
	refusedFuture = "future" // written too far ahead of this node's clock
	refusedFull   = "full"   // there are too many
	refusedBad    = "bad"    // not understood
	refusedMemory = "memory" // by what remembers it: it was written ahead of its clock too, or it is full
)

// NewSettings makes settings without a register. writer is this node's ID.
func NewSettings(writer string, log *zap.Logger) *Settings {
	s := &Settings{
		writer: writer, log: log, now: time.Now, warn: newMetrics(),
		registers: map[string]Register{}, remembered: map[string][]byte{}, nodes: map[*Node]bool{}, subscribers: map[chan struct{}]bool{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringside_gossip_settings_refused_total",
			Help: "Settings not taken, by why: from the future (some clock is wrong), too many, not understood, or refused by what remembers them.",
		}, []string{"reason"}),
	}
	for _, r := range []string{refusedFuture, refusedFull, refusedBad, refusedMemory} {
		s.refused.WithLabelValues(r)
	}
	return s
}

// ErrFull means that there are as many settings as there can be.
var ErrFull = errors.New("there are too many settings: 1024, with those that were deleted within 30 days")

// Set writes a register. All nodes have it within a second, as far as they can be reached. It does not block.
func (s *Settings) Set(name string, value []byte) error {
	return s.write(name, bytes.Clone(value), false)
}

// Delete deletes a register: a write that says so, so that no older one brings it back. One that is not there is left so.
func (s *Settings) Delete(name string) error { return s.write(name, nil, true) }

func (s *Settings) write(name string, value []byte, gone bool) error {
	if len(s.writer) > maxWriter {
		return errors.New("BUG: gossip: the writer's name is too long")
	}
	s.mu.Lock()
	was, known := s.registers[name]
	if gone && (!known || was.Gone) {
		s.mu.Unlock()
		return nil
	}
	// A clock that is behind what it knows already must not lose against it.
	r := encodeRegister(Register{
		Name: name, Value: value, Gone: gone, Stamp: max(stampOf(s.now()), was.Stamp+1), Writer: s.writer,
	})
	err := checkRegister(r)
	if err == nil && !known && s.fullNow() {
		err = ErrFull
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.keep(r)
	s.mu.Unlock()
	s.news([]Register{r})
	return nil
}

// keep takes r in; with mu held.
func (s *Settings) keep(r Register) {
	s.registers[r.Name] = r
	s.changes++
}

// fullNow reports whether there is no room for another register; with mu held. Deletions that are old enough go first.
func (s *Settings) fullNow() bool {
	if len(s.registers) < maxRegisters {
		return false
	}
	now := s.now()
	maps.DeleteFunc(s.registers, func(_ string, r Register) bool { return r.stale(now) })
	return len(s.registers) >= maxRegisters
}

// stale reports whether r is a deletion that need not be remembered any more.
func (r Register) stale(now time.Time) bool { return r.Gone && now.Sub(r.Stamp.Time()) > keepGone }

// merge takes in what is later than what is known, and returns that.
func (s *Settings) merge(rs []Register) (news []Register) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, r := range rs {
		was, known := s.registers[r.Name]
		switch {
		case known && !r.after(was), r.stale(now) && !known:
		case r.Stamp > stampOf(now.Add(maxSkew)):
			s.refuse(refusedFuture, "refused a setting that was written in the future: is a clock wrong?", r)
		case !known && s.fullNow():
			s.refuse(refusedFull, "refused a setting: there are too many", r)
		default:
			s.keep(r)
			news = append(news, r)
		}
	}
	return news
}

func (s *Settings) refuse(reason, message string, r Register) {
	s.refused.WithLabelValues(reason).Inc()
	if s.warn.mayWarn(reason, s.now()) {
		s.log.Warn(message, zap.String("setting", r.Name), zap.String("writer", r.Writer), zap.Time("written", r.Stamp.Time()))
	}
}

// received takes in what gossip brings, and passes on what is news.
func (s *Settings) received(rs []Register, bad int) {
	if bad > 0 {
		s.refused.WithLabelValues(refusedBad).Add(float64(bad))
	}
	s.news(s.merge(rs))
}

// news tells everybody of what has changed.
func (s *Settings) news(rs []Register) {
	if len(rs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.nodes {
		for _, r := range rs {
			n.news.QueueBroadcast(registerBroadcast{r})
		}
		n.settingsChanged()
	}
	for ch := range s.subscribers {
		signal(ch)
	}
}

// attach lets a node spread the settings, until the end is called.
func (s *Settings) attach(n *Node) (detach func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[n] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.nodes, n)
	}
}

// Get is the value of a register; ok is false when there is none. The value must not be changed.
func (s *Settings) Get(name string) (value []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.registers[name]
	return r.Value, ok && !r.Gone
}

// All are the registers whose names begin with prefix, by name, without those that are deleted. The slice is the caller's.
func (s *Settings) All(prefix string) (rs []Register) {
	for _, r := range s.every() {
		if strings.HasPrefix(r.Name, prefix) && !r.Gone {
			rs = append(rs, r)
		}
	}
	return rs
}

// Changes is how many changes there have been. It is the same for as long as the registers are.
func (s *Settings) Changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// every is all registers by name, deletions included.
func (s *Settings) every() []Register {
	s.mu.Lock()
	rs := slices.Collect(maps.Values(s.registers))
	s.mu.Unlock()
	slices.SortFunc(rs, func(a, b Register) int { return strings.Compare(a.Name, b.Name) })
	return rs
}

// Changed subscribes to changes: the channel gets a signal after each, several of them together when nobody has looked.
// cancel ends the subscription; the channel is never closed.
func (s *Settings) Changed() (changed <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers[ch] = true
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, ch)
	}
}

// settingRetransmit bounds how often a node sends a change on, to one other each time: with as few as for loads, one node in a hundred
// changes would hear only from the next exchange of the whole state.
const settingRetransmit = 12

// registerBroadcast is a register on its way to the others; a later one of the same name takes its place.
type registerBroadcast struct{ r Register }
