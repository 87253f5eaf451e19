// Package gossip keeps the membership: who is in the cluster, in which state and how loaded, over
// hashicorp/memberlist, and the ring that follows from it.
//
// A [Node] is this process's own member. It tells the others of itself, learns of them, and publishes a new
// [ring.Ring] whenever the membership changes. Nothing else in the project knows memberlist.
//
// memberlist names are per boot and shard IDs live in the metadata, so that a gateway that comes back under its old ID,
// on whatever address, is a new node that replaces the old one. A split that memberlist would not heal by itself is
// healed by joining the seeds, resolved anew, and the nodes that were lost, again and again.
package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/ring"
)

// Config is how a node takes part.
type Config struct {
	Bind      string        // host:port to listen on, UDP and TCP; port 0 lets the system choose
	Advertise string        // host:port that others reach this node by; derived from Bind when empty
	Join      []string      // host:port of seeds; names are resolved at every try
	Cluster   string        // nodes of differently named clusters don't mix; "ringside"
	Secret    string        // encrypts gossip; empty: it is in the clear
	Self      ring.Member   // this node; Gossip is filled in
	Static    []ring.Member // shards outside of gossip
	transport memberlist.Transport
}

// Node is a member of the cluster. Its methods are safe for concurrent use.
type Node struct {
	// Fixed after New.
	cfg     Config
	log     *zap.Logger
	list    *memberlist.Memberlist
	queue   *memberlist.TransmitLimitedQueue
	view    *view
	metrics *metrics
	name    string
	boot    uint64

	ring  atomic.Pointer[ring.Ring]
	dirty chan struct{} // the membership has changed
	tell  chan struct{} // this node's metadata has changed
	loads atomic.Bool   // a load has changed

	mu          sync.Mutex
	self        ring.Member            // guarded by mu
	load        load                   // guarded by mu
	subscribers map[chan struct{}]bool // guarded by mu
	replaced    map[string]bool        // guarded by mu: names that were reported
	gone        bool                   // guarded by mu: Leave was called
}

// New binds the listeners and makes the node known to nobody yet; that begins with Run. A node that is never run must be
// closed with [Node.Close].
func New(cfg Config, log *zap.Logger) (*Node, error) {
	if cfg.Cluster == "" {
		cfg.Cluster = "ringside"
	}
	if cfg.Self.ID == "" {
		return nil, errors.New("a node needs an ID")
	}
	n := &Node{
		cfg: cfg, log: log, view: newView(), metrics: newMetrics(), self: cfg.Self,
		boot: uint64(time.Now().UnixNano()), dirty: make(chan struct{}, 1), tell: make(chan struct{}, 1),
		subscribers: map[chan struct{}]bool{}, replaced: map[string]bool{},
	}
	n.name = fmt.Sprintf("%s-%.64s-%08x", cfg.Self.Role, cfg.Self.ID, rand.Uint32())
	n.load.node = n.name
	if _, err := encodeMeta(n.self, n.boot); err != nil {
		return nil, fmt.Errorf("cannot describe this node to others: %w", err)
	}
	n.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: 3, NumNodes: func() int { return 1 + n.peers() }}
	n.ring.Store(ring.New(nil)) // memberlist calls back before Create returns
	mc, err := n.memberlistConfig()
	if err != nil {
		return nil, err
	}
	if n.list, err = memberlist.Create(mc); err != nil {
		return nil, fmt.Errorf("cannot start gossip on %s: %w", cfg.Bind, err)
	}
	n.mu.Lock()
	n.self.Gossip = n.list.LocalNode().Address()
	n.mu.Unlock()
	n.rebuild()
	return n, nil
}

// memberlistConfig is tuned for a local network: a drain flag is everywhere within 0.2 s, and a crash is known within
// 2–3 s.
func (n *Node) memberlistConfig() (*memberlist.Config, error) {
	mc := memberlist.DefaultLANConfig()
	mc.Name, mc.Label = n.name, n.cfg.Cluster
	mc.GossipInterval, mc.GossipNodes = 100*time.Millisecond, 4
	mc.ProbeInterval, mc.ProbeTimeout = 500*time.Millisecond, 200*time.Millisecond
	mc.SuspicionMult = 3
	mc.PushPullInterval = 10 * time.Second
	mc.TCPTimeout = 2 * time.Second
	mc.Delegate, mc.Events, mc.Alive = delegate{n}, delegate{n}, delegate{n}
	mc.LogOutput = &logWriter{n}
	mc.Transport = n.cfg.transport
	if n.cfg.Secret != "" {
		key := sha256.Sum256([]byte("ringside gossip v1\x00" + n.cfg.Secret))
		mc.SecretKey = key[:]
	}
	var err error
	if mc.BindAddr, mc.BindPort, err = split(n.cfg.Bind); err != nil {
		return nil, err
	}
	mc.AdvertiseAddr, mc.AdvertisePort = "", mc.BindPort
	if n.cfg.Advertise != "" {
		if mc.AdvertiseAddr, mc.AdvertisePort, err = split(n.cfg.Advertise); err != nil {
			return nil, err
		}
	}
	return mc, nil
}

func split(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("gossip address %q: want host:port", addr)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("gossip address %q: the port is not a number up to 65535", addr)
	}
	return host, int(n), nil
}

// Addr is the address that others reach this node's gossip by.
func (n *Node) Addr() string { return n.list.LocalNode().Address() }

// Ring is the present placement; never nil.
func (n *Node) Ring() *ring.Ring { return n.ring.Load() }

// Changed subscribes to changes of the membership: the channel gets a signal after each, several of them together when
// nobody has looked. cancel ends the subscription.
func (n *Node) Changed() (changed <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	n.mu.Lock()
	n.subscribers[ch] = true
	n.mu.Unlock()
	return ch, func() {
		n.mu.Lock()
		delete(n.subscribers, ch)
		n.mu.Unlock()
	}
}

// SetState changes this node's state. The others hear of it within a few hundred milliseconds; it returns at once.
func (n *Node) SetState(s ring.State) {
	n.mu.Lock()
	n.self.State = s
	n.mu.Unlock()
	n.rebuild()
	signal(n.tell)
}

// SetLoad tells how many sessions this node holds. Call it about once a second; nothing is sent when nothing has changed.
func (n *Node) SetLoad(sessions uint64) {
	n.mu.Lock()
	if n.load.load == sessions && n.load.seq > 0 {
		n.mu.Unlock()
		return
	}
	n.load.load = sessions
	n.load.seq++
	l := n.load
	n.mu.Unlock()
	n.loads.Store(true)
	n.queue.QueueBroadcast(loadBroadcast{l})
}

// Leave tells the others that this node goes, and waits until they can have heard it, or ctx ends.
func (n *Node) Leave(ctx context.Context) error {
	n.mu.Lock()
	gone := n.gone
	n.gone = true
	n.self.State = ring.StateLeft
	n.mu.Unlock()
	if gone {
		return nil
	}
	n.rebuild()
	timeout := leaveTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(d)/2)
	}
	err := errors.Join(n.list.UpdateNode(timeout), n.list.Leave(timeout))
	if err != nil {
		return fmt.Errorf("cannot tell the others: %w", err)
	}
	// Those that were told tell the others while this node still answers.
	select {
	case <-time.After(leaveLinger):
	case <-ctx.Done():
	}
	return nil
}

const (
	leaveTimeout = 2 * time.Second
	leaveLinger  = 300 * time.Millisecond
)

// Close frees what New has taken, for a node that is never run.
func (n *Node) Close() error { return n.list.Shutdown() }

// peers is the number of other nodes.
func (n *Node) peers() int {
	n.view.mu.Lock()
	defer n.view.mu.Unlock()
	return len(n.view.nodes)
}

func (n *Node) me() peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return peer{n.name, n.self, n.boot}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
