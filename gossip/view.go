package gossip

import (
	"cmp"
	"maps"
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
	lost  map[string]lost      // by node name: nodes that went without a word
}

// peer is one boot of a node.
type peer struct {
	name   string
	member ring.Member
	boot   uint64 // when it was started, ns
}

// claims reports whether both are the same member of the cluster.
func (p peer) claims(o peer) bool {
	return p.member.Role == o.member.Role && p.member.ID == o.member.ID
}

// lost is a node that may be on the other side of a split.
type lost struct {
	peer
	addr  string
	since time.Time
}

const (
	keepLeft = time.Hour      // longer than any state of a departed node survives in others
	keepLost = 24 * time.Hour // how long the address of a lost node is tried
	maxLost  = 256
)

func newView() *view {
	return &view{nodes: map[string]peer{}, loads: map[string]load{}, left: map[string]time.Time{}, lost: map[string]lost{}}
}

// set takes in what a node says of itself. Whoever was lost at its address, or under its ID, needs no more looking for.
func (v *view) set(p peer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.nodes[p.name] = p
	maps.DeleteFunc(v.lost, func(_ string, l lost) bool { return l.addr == p.member.Gossip || l.claims(p) && l.boot <= p.boot })
}

// remove forgets a node. One that has not left by itself is looked for later, unless it is replaced.
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
	for _, o := range v.nodes {
		if o.member.Gossip == addr || known && o.claims(p) && o.boot > p.boot {
			return
		}
	}
	if len(v.lost) < maxLost {
		v.lost[name] = lost{p, addr, now}
	}
}

// departed reports whether the node of this name has left for good.
func (v *view) departed(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.left[name]
	return ok
}

// size is the number of other nodes.
func (v *view) size() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.nodes)
}

// lostSize is the number of nodes that are looked for.
func (v *view) lostSize() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.lost)
}

// addrs are the gossip addresses of the other nodes; the map is the caller's.
func (v *view) addrs() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	as := make(map[string]bool, len(v.nodes)+1)
	for _, p := range v.nodes {
		as[p.member.Gossip] = true
	}
	return as
}

// lostAddrs are the addresses of lost nodes. Old entries are forgotten.
func (v *view) lostAddrs(now time.Time) (addrs []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.lost, func(_ string, l lost) bool { return now.Sub(l.since) > keepLost })
	maps.DeleteFunc(v.left, func(_ string, since time.Time) bool { return now.Sub(since) > keepLeft })
	for _, l := range v.lost {
		addrs = append(addrs, l.addr)
	}
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// merge takes in loads and returns those that are news. Loads of nodes that are not known are not kept.
func (v *view) merge(loads []load) (news []load) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range loads {
		if _, ok := v.nodes[l.node]; ok && l.seq > v.loads[l.node].seq {
			v.loads[l.node] = l
			news = append(news, l)
		}
	}
	return news
}

// allLoads are the known loads, that of this node excepted.
func (v *view) allLoads() []load {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(maps.Values(v.loads))
}

// members are the nodes as the ring takes them: self, those that are static, and of all boots that claim one ID one, the
// same on every node: one that has not left, and of those the latest. replaced are the others.
func (v *view) members(self peer, static []ring.Member) (ms []ring.Member, replaced []clash) {
	all := append(v.peers(), self)
	has := func(left bool) int {
		if left {
			return 1
		}
		return 0
	}
	slices.SortFunc(all, func(a, b peer) int {
		return cmp.Or(cmp.Compare(a.member.Role, b.member.Role), cmp.Compare(a.member.ID, b.member.ID),
			cmp.Compare(has(a.member.State == ring.StateLeft), has(b.member.State == ring.StateLeft)),
			cmp.Compare(b.boot, a.boot), cmp.Compare(a.name, b.name))
	})
	var winner peer
	for i, p := range all {
		if i > 0 && winner.claims(p) {
			if p.member.State != ring.StateLeft {
				replaced = append(replaced, clash{loser: p, winner: winner})
			}
			continue
		}
		winner = p
		ms = append(ms, p.member)
	}
	for _, s := range static {
		if !slices.ContainsFunc(ms, func(m ring.Member) bool { return m.Role == s.Role && m.ID == s.ID }) {
			ms = append(ms, s)
		}
	}
	return ms, replaced
}

// peers are the other nodes with their loads.
func (v *view) peers() []peer {
	v.mu.Lock()
	defer v.mu.Unlock()
	ps := make([]peer, 0, len(v.nodes)+1)
	for _, p := range v.nodes {
		p.member.Load = v.loads[p.name].sessions
		ps = append(ps, p)
	}
	return ps
}

// change is what has become of a member.
type change struct {
	what   string // "added", "changed" or "removed"
	member ring.Member
}

// compare lists what differs between two memberships, both by role and ID, loads excepted.
func compare(was, now []ring.Member) (changes []change) {
	for len(was) > 0 || len(now) > 0 {
		var order int
		switch {
		case len(was) == 0:
			order = 1
		case len(now) == 0:
			order = -1
		default:
			order = cmp.Or(cmp.Compare(was[0].Role, now[0].Role), cmp.Compare(was[0].ID, now[0].ID))
		}
		switch {
		case order < 0:
			changes, was = append(changes, change{"removed", was[0]}), was[1:]
		case order > 0:
			changes, now = append(changes, change{"added", now[0]}), now[1:]
		default:
			a, b := was[0], now[0]
			a.Load, b.Load = 0, 0
			if a != b {
				changes = append(changes, change{"changed", now[0]})
			}
			was, now = was[1:], now[1:]
		}
	}
	return changes
}
