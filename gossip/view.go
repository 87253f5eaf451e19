package gossip

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/ring"
)

// view is what this node knows of the others. It is safe for concurrent use; memberlist's callbacks write to it.
type view struct {
	mu    sync.Mutex
	nodes map[string]peer      // by node name; without this node
	loads map[string]load      // by node name
	left  map[string]time.Time // names that have left for good: a name belongs to one boot, so it never comes back
	lost  map[string]time.Time // gossip addresses of nodes that went without a word
}

// peer is one boot of a node.
type peer struct {
	name   string
	member ring.Member
	boot   uint64
}

const (
	keepLeft = time.Hour      // longer than any state of a departed node survives in others
	keepLost = 24 * time.Hour // how long the address of a lost node is tried
	maxLost  = 256
)

func newView() *view {
	return &view{nodes: map[string]peer{}, loads: map[string]load{}, left: map[string]time.Time{}, lost: map[string]time.Time{}}
}

// set takes in what a node says of itself.
func (v *view) set(p peer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.nodes[p.name] = p
	delete(v.lost, p.member.Gossip)
}

// remove forgets a node. One that has not left by itself is looked for later.
func (v *view) remove(name string, addr string, left bool, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p, known := v.nodes[name]
	delete(v.nodes, name)
	delete(v.loads, name)
	if left || known && p.member.State == ring.StateLeft {
		v.left[name] = now
		return
	}
	if len(v.lost) < maxLost {
		v.lost[addr] = now
	}
}

// departed reports whether the node of this name has left for good.
func (v *view) departed(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.left[name]
	return ok
}

// merge takes in loads and reports whether any was news. Loads of nodes that are not known are not kept.
func (v *view) merge(loads []load) (news bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range loads {
		if _, ok := v.nodes[l.node]; !ok || l.seq <= v.loads[l.node].seq {
			continue
		}
		v.loads[l.node] = l
		news = true
	}
	return news
}

// allLoads are the known loads, that of this node excepted.
func (v *view) allLoads() []load {
	v.mu.Lock()
	defer v.mu.Unlock()
	ls := make([]load, 0, len(v.loads)+1)
	for _, l := range v.loads {
		ls = append(ls, l)
	}
	return ls
}

// lostAddrs are the addresses of lost nodes. Old entries are forgotten.
func (v *view) lostAddrs(now time.Time) (addrs []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for a, since := range v.lost {
		if now.Sub(since) > keepLost {
			delete(v.lost, a)
			continue
		}
		addrs = append(addrs, a)
	}
	for name, since := range v.left {
		if now.Sub(since) > keepLeft {
			delete(v.left, name)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// members are the nodes as the ring takes them: self, those that are static, and of all boots that claim one shard
// the latest. replaced are the names of the others.
func (v *view) members(self peer, static []ring.Member) (ms []ring.Member, replaced []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]peer, 0, len(v.nodes)+1)
	all = append(all, self)
	for _, p := range v.nodes {
		p.member.Load = v.loads[p.name].load
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b peer) int {
		return cmp.Or(cmp.Compare(a.member.Role, b.member.Role), cmp.Compare(a.member.ID, b.member.ID),
			cmp.Compare(b.boot, a.boot), cmp.Compare(a.name, b.name))
	})
	for i, p := range all {
		if i > 0 && all[i-1].member.Role == p.member.Role && all[i-1].member.ID == p.member.ID {
			replaced = append(replaced, p.name)
			continue
		}
		ms = append(ms, p.member)
	}
	for _, s := range static {
		if !slices.ContainsFunc(ms, func(m ring.Member) bool { return m.Role == s.Role && m.ID == s.ID }) {
			ms = append(ms, s)
		}
	}
	return ms, replaced
}
