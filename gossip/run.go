package gossip

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/ring"
)

const (
	loadEvery   = time.Second            // how often loads make a ring, and how often one's own is told
	ringEvery   = 100 * time.Millisecond // how often a membership that goes on changing makes one, or less often where it costs much
	tellTimeout = 500 * time.Millisecond // for a change of one's own metadata
	clashAfter  = 10 * time.Second       // a crash is known long before: two nodes with one ID both live
)

// Run joins the cluster and takes part until ctx ends; then it leaves, unless [Node.Leave] was called, and stops. It must
// be called once. It returns nil unless the listeners can't be closed. A probe of memberlist's that is under way outlives
// it by the probe's time-out: memberlist waits for none.
//
// What it runs:
//
//	memberlist ──callbacks──► view ──dirty──► follow ──► ring, subscribers
//	SetState ──tell──► announce ──► memberlist
//	SetLoad ──────────► (queue) ◄── follow, once a second
//	                               keepJoined ──► memberlist
func (n *Node) Run(ctx context.Context) error {
	if n.cfg.Secret == "" {
		n.log.Warn("gossip is not encrypted: no secret is set")
	}
	var wg sync.WaitGroup
	wg.Go(func() { n.follow(ctx) })
	wg.Go(func() { n.announce(ctx) })
	wg.Go(func() { n.keepJoined(ctx) })
	<-ctx.Done()
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	if err := n.Leave(leave); err != nil { // the others notice anyway
		n.log.Info("the others may take this node for dead", zap.Error(err))
	}
	n.detach()
	err := n.list.Shutdown()
	wg.Wait() // a join that has begun ends by its own time-out
	return err
}

// follow publishes a ring for every change, at once unless there was one just now, tells this node's load, and looks after
// clashes.
func (n *Node) follow(ctx context.Context) {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	var last time.Time
	var took time.Duration   // what a ring costs: it shall not take more than a twentieth of the time
	var due <-chan time.Time // nil while no change waits
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.dirty:
			if due == nil {
				due = time.After(min(max(ringEvery, 20*took), loadEvery) - time.Since(last))
			}
		case <-due:
			due, last = nil, time.Now()
			n.rebuild()
			took = time.Since(last)
		case <-tick.C:
			n.tellLoad(time.Now())
			n.checkClashes(time.Now())
			if n.loads.Swap(false) {
				n.rebuild()
			}
		}
	}
}

// rebuild computes the ring of what is known now, and tells the subscribers when anything but a load has changed.
func (n *Node) rebuild() {
	n.building.Lock()
	defer n.building.Unlock() // so that an older ring never replaces a newer one
	members, replaced := n.view.members(n.me(), n.cfg.Static)
	var wishes ring.Wishes
	if n.cfg.Wishes != nil {
		wishes = n.cfg.Wishes()
	}
	was := n.ring.Load()
	next := was.Next(members, wishes)
	n.ring.Store(next)
	n.noteClashes(replaced, time.Now())
	changes := compare(was.Members(), next.Members())
	if len(changes) == 0 && was.Version() == next.Version() {
		return
	}
	n.metrics.changes.Add(1)
	for _, c := range changes {
		n.log.Info("membership", zap.String("what", c.what), zap.Stringer("role", c.member.Role), zap.String("id", c.member.ID),
			zap.Stringer("state", c.member.State), zap.String("address", c.member.Addr), zap.String("gossip", c.member.Gossip))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for ch := range n.subscribers {
		signal(ch)
	}
}

// clash is a node whose ID another one claims that counts more.
type clash struct {
	loser, winner peer
	since         time.Time
	told          bool
}

// noteClashes takes in who is replaced by whom. A node that has restarted is replaced for the seconds until its earlier
// boot is found dead; that is not worth more than a note. It must be called with building held.
func (n *Node) noteClashes(replaced []clash, now time.Time) {
	n.metrics.replaced.Store(int64(len(replaced)))
	still := make(map[string]*clash, len(replaced))
	for _, c := range replaced {
		c.since = now
		if known := n.clashes[c.loser.name]; known != nil {
			c.since, c.told = known.since, known.told
		}
		if c.loser.name == n.name && !c.told {
			c.told = true
			n.log.Error("another node that was started later has this node's ID and replaces it", clashFields(&c)...)
		}
		still[c.loser.name] = &c
	}
	n.clashes = still
}

// checkClashes says once of every two nodes that both live and claim one ID.
func (n *Node) checkClashes(now time.Time) {
	n.building.Lock()
	defer n.building.Unlock()
	for _, c := range n.clashes {
		if !c.told && now.Sub(c.since) >= clashAfter {
			c.told = true
			n.log.Error("two live nodes have the same ID; the one that was started later counts", clashFields(c)...)
		}
	}
}

func clashFields(c *clash) []zap.Field {
	return []zap.Field{
		zap.Stringer("role", c.loser.member.Role), zap.String("id", c.loser.member.ID),
		zap.String("replaced", c.loser.member.Gossip), zap.String("by", c.winner.member.Gossip),
	}
}

// announce tells the others when this node has changed.
func (n *Node) announce(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.tell:
		}
		if err := n.update(tellTimeout); err != nil && ctx.Err() == nil {
			n.metrics.tellErrors.Add(1) // it goes on with the next exchange of the full state
		}
	}
}
