package gossip

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/ring"
)

const (
	loadEvery   = time.Second
	rejoinMin   = 15 * time.Second // jittered up to twice that
	joinMin     = 200 * time.Millisecond
	joinMax     = 5 * time.Second
	tellTimeout = 500 * time.Millisecond
)

// Run joins the cluster and takes part until ctx ends; then it leaves, if that is still to be done, and stops. It must be
// called once.
func (n *Node) Run(ctx context.Context) error {
	if n.cfg.Secret == "" {
		n.log.Warn("gossip is not encrypted: no secret is set")
	}
	var wg sync.WaitGroup
	wg.Go(func() { n.follow(ctx) })
	wg.Go(func() { n.announce(ctx) })
	wg.Go(func() { n.keepJoined(ctx) })
	<-ctx.Done()
	wg.Wait()
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
	defer cancel()
	_ = n.Leave(leave) // best effort: the others notice anyway
	return n.list.Shutdown()
}

// follow publishes a ring for every change.
func (n *Node) follow(ctx context.Context) {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.dirty:
			n.rebuild()
		case <-tick.C:
			if n.loads.Swap(false) {
				n.rebuild()
			}
		}
	}
}

// rebuild computes the ring of what is known now, and tells the subscribers when anything but a load has changed.
func (n *Node) rebuild() {
	n.mu.Lock()
	defer n.mu.Unlock() // so that an older ring never replaces a newer one
	self := n.self
	self.Load = n.load.load
	ms, replaced := n.view.members(peer{n.name, self, n.boot}, n.cfg.Static)
	n.report(replaced)
	next := ring.New(ms)
	was := n.ring.Swap(next)
	if same(was.Members(), next.Members()) {
		return
	}
	n.metrics.changes.Add(1)
	for ch := range n.subscribers {
		signal(ch)
	}
}

// same reports whether two memberships differ in nothing but loads.
func same(a, b []ring.Member) bool {
	return slices.EqualFunc(a, b, func(x, y ring.Member) bool {
		x.Load, y.Load = 0, 0
		return x == y
	})
}

// report says once of every node whose ID another, later one claims.
func (n *Node) report(replaced []string) {
	n.metrics.duplicates.Store(int64(len(replaced)))
	now := make(map[string]bool, len(replaced))
	for _, name := range replaced {
		now[name] = true
		switch {
		case n.replaced[name]:
		case name == n.name:
			n.log.Error("another node that was started later has this node's ID and replaces it", zap.String("id", n.self.ID))
		default:
			n.log.Warn("a node is replaced by a later one with the same ID; it has restarted, or two have the same ID", zap.String("node", name))
		}
	}
	n.replaced = now
}

// announce tells the others when this node has changed.
func (n *Node) announce(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.tell:
		}
		if err := n.list.UpdateNode(tellTimeout); err != nil && ctx.Err() == nil {
			n.metrics.tellErrors.Add(1) // it goes on with the next exchange of the full state
		}
	}
}

// keepJoined joins the seeds, soon and until one answers; and from then on now and then again, with all nodes that were
// lost, because a split does not heal by itself.
func (n *Node) keepJoined(ctx context.Context) {
	delay, joined := joinMin, len(n.cfg.Join) == 0
	if joined {
		delay = rejoinMin
	}
	for {
		if !joined {
			joined = n.join(n.cfg.Join, "seeds")
		} else if delay >= rejoinMin {
			n.join(n.cfg.Join, "rejoin")
			n.join(n.view.lostAddrs(time.Now()), "lost")
		}
		if joined {
			delay = rejoinMin + rand.N(rejoinMin)
		} else {
			delay = min(2*delay, joinMax)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// join contacts addrs and reports whether anybody else answered.
func (n *Node) join(addrs []string, why string) bool {
	me := n.Addr()
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a string) bool { return a == me })
	if len(addrs) == 0 {
		return why == "seeds" // all seeds are this node
	}
	got, err := n.list.Join(addrs)
	if err != nil {
		n.metrics.joinErrors.WithLabelValues(why).Inc()
		if got == 0 && why == "seeds" {
			n.log.Warn("no seed answers; trying on", zap.Strings("join", addrs), zap.Error(err))
		}
	}
	return got > 0
}
