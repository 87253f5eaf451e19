package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/leg"
)

// policy is a backoff policy, encoded once for all sessions of a loop.
type policy struct {
	backoff.Policy
	version uint32
	json    []byte
	v1      []byte                // a leg record; what stands behind its header is for clients without a leg
	sse     [policyRetries][]byte // the same, with different delays: an EventSource has no dice of its own
	none    []byte                // a leg record without a word for the client
	next    int                   // of sse
}

// policyRetries is over how many delays the sessions that come by SSE are spread.
const policyRetries = 32

// policy is by which clients come back.
func (g *Gateway) policy() backoff.Policy {
	if g.deps.Policy == nil {
		return backoff.Default()
	}
	return g.deps.Policy()
}

func newPolicy(b backoff.Policy) *policy {
	j, err := json.Marshal(b)
	if err != nil {
		panic("BUG: gateway: a backoff policy has no JSON: " + err.Error())
	}
	p := &policy{Policy: b, version: b.Version(), json: j}
	record := func(body []byte) []byte { return newRecord(leg.Beacon, 0, leg.Told(p.version), body).b }
	p.v1 = record(text(fmt.Appendf(nil, `{"type":"policy","backoff":%s}`, j)))
	for i := range p.sse {
		p.sse[i] = record(fmt.Appendf(nil, "retry: %d\n\n", b.Steady().Milliseconds()))
	}
	p.none = record(nil)
	return p
}

// message is what a session is told of the policy, as a leg record. ringside.raw has no way to say it.
func (p *policy) message(f format) []byte {
	switch f {
	case formatV1:
		return p.v1
	case formatSSE:
		p.next++
		return p.sse[p.next%len(p.sse)]
	default:
		return p.none
	}
}

const (
	policyTick = 20 * time.Millisecond
	// policyTicks is in how many ticks all sessions are told of a change, whatever their number: 2 s. It costs a session one
	// system call, and each turn of a loop a hundredth of that.
	policyTicks = 100
	policyLeast = 16 // sessions of a loop in a tick, at least
)

// watchPolicy tells the sessions when the policy changes, until ctx ends.
func (g *Gateway) watchPolicy(ctx context.Context) {
	if g.deps.PolicyChanged == nil {
		return
	}
	changed, cancel := g.deps.PolicyChanged()
	defer cancel()
	told := backoff.Policy{}
	for {
		if p := g.policy(); p != told {
			told = p
			g.tellPolicy(ctx, p, changed)
			continue // it may have changed again
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// tellPolicy has all sessions told, at an even pace, unless it changes again: who has not been told hears of the next one only. Those who come are told
// the newest at once.
func (g *Gateway) tellPolicy(ctx context.Context, p backoff.Policy, changed <-chan struct{}) {
	for _, w := range g.workers {
		w.loop.Post(eventloop.NoteFunc(func() {
			w.policy = newPolicy(p)
			w.telling = len(w.sessions)
		}))
	}
	tick := time.NewTicker(policyTick)
	defer tick.Stop()
	for ticks := 0; ticks <= policyTicks; {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			if g.policy() != p {
				return
			}
			continue
		case <-tick.C:
		}
		ticks++
		for _, w := range g.workers {
			w.loop.Post(eventloop.NoteFunc(w.tellPolicy))
		}
	}
	for _, w := range g.workers { // sweeps tell the others: those that could not be told yet
		w.loop.Post(eventloop.NoteFunc(func() { w.telling = 0 }))
	}
}

// tellPolicy tells one tick's share of the sessions, from the last to the first: whoever takes the place of one that ends
// stood behind it.
func (w *worker) tellPolicy() {
	for n := max(policyLeast, len(w.sessions)/policyTicks+1); n > 0 && w.telling > 0; n-- {
		w.telling = min(w.telling, len(w.sessions)) - 1
		if w.telling < 0 {
			w.telling = 0
			return
		}
		w.sessions[w.telling].tellPolicy()
	}
}

// tellPolicy tells the client of the policy, unless it knows it. One that does not read is told once it does, of the
// policy that there is then; one that has not been welcomed yet by its welcome.
func (s *session) tellPolicy() {
	p := s.worker.policy
	if s.policy == p.version || s.blocked() || s.resume != nil || s.topic.first && !s.topic.greeted {
		return
	}
	s.policy = p.version
	b := p.message(s.format)
	if !s.onLeg {
		b = b[leg.HeaderSize:]
	}
	s.worker.counts.policies.Add(1)
	s.control(b)
}

// policyHeader is the policy as routers are told of it.
func (g *Gateway) policyHeader() string { return strconv.FormatUint(uint64(g.policy().Version()), 16) }

// knownPolicy is the version of the policy that a client knows whose session goes on here. Where its router says nothing,
// nobody has told the client of another than the default.
func knownPolicy(header []byte) uint32 {
	known, err := strconv.ParseUint(string(header), 16, 32)
	if err != nil {
		return backoff.Default().Version()
	}
	return uint32(known)
}
