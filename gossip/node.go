// Package gossip keeps the membership: who is in the cluster, in which state and how loaded, over
// hashicorp/memberlist, and the ring that follows from it.
//
// A [Node] is this process's own member. It tells the others of itself, learns of them, and publishes a new
// [ring.Ring] whenever the membership changes. Nothing else in the project knows memberlist.
//
// memberlist names are per boot and shard IDs live in the metadata, so that a gateway that comes back under its old ID,
// on whatever address, is a new node that replaces the old one. A split that memberlist would not heal by itself is
// healed by joining the seeds, resolved anew, and the nodes that were lost, again and again.
//
// It does not decide what to do about a membership that shrinks suddenly: that belongs to those who use the ring.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/ring"
)

// Node is a member of the cluster. Its methods are safe for concurrent use.
type Node struct {
	// Fixed after New.
	cfg      Config
	log      *zap.Logger
	list     *memberlist.Memberlist
	queue    *memberlist.TransmitLimitedQueue // loads on their way
	news     *memberlist.TransmitLimitedQueue // settings on their way
	view     *view
	settings *Settings
	detach   func() // from settings
	metrics  *metrics
	name     string // per boot
	boot     uint64 // when this node was started, ns
	addr     string

	ring  atomic.Pointer[ring.Ring]
	dirty chan struct{} // the membership has changed
	tell  chan struct{} // this node's metadata has changed
	loads atomic.Bool   // a load has changed since the last ring

	telling chan struct{} // holds a token while memberlist reads and tells the metadata, so that newer never precedes older
	strange atomic.Bool   // seeds have hung up, or could not understand this node
	leaving atomic.Bool   // Leave has been called
	left    chan struct{} // closed when it is done
	leftErr error         // to be read once left is closed

	mu          sync.Mutex
	self        ring.Member            // guarded by mu; Load is not kept here
	load        ownLoad                // guarded by mu
	subscribers map[chan struct{}]bool // guarded by mu

	building sync.Mutex
	clashes  map[string]*clash // guarded by building: by the name of the node that was replaced
}

// New binds the listeners; it makes the node known to nobody, that begins with Run. It may ask DNS when cfg.Bind or
// cfg.Advertise is a name. A node that is never run must be closed with [Node.Close].
func New(cfg Config, log *zap.Logger) (*Node, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: log, view: newView(), metrics: newMetrics(), self: cfg.Self, boot: uint64(time.Now().UnixNano()),
		name:  nodeName(cfg.Self, rand.Uint64()),
		dirty: make(chan struct{}, 1), tell: make(chan struct{}, 1),
		telling: make(chan struct{}, 1), left: make(chan struct{}),
		subscribers: map[chan struct{}]bool{}, clashes: map[string]*clash{},
	}
	n.load.node = n.name
	if _, err := encodeMeta(n.self, n.boot); err != nil {
		return nil, fmt.Errorf("cannot describe this node to others: %w", err)
	}
	nodes := func() int { return 1 + n.view.size() }
	n.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: loadRetransmit, NumNodes: nodes}
	n.news = &memberlist.TransmitLimitedQueue{RetransmitMult: settingRetransmit, NumNodes: nodes}
	n.ring.Store(ring.New(nil)) // memberlist calls back before Create returns
	if n.settings = cfg.Settings; n.settings == nil {
		n.settings = NewSettings(cfg.Self.ID, log)
	}
	mc, err := n.memberlistConfig()
	if err != nil {
		return nil, err
	}
	n.detach = n.settings.attach(n)
	if err := n.listen(mc); err != nil {
		n.detach()
		return nil, fmt.Errorf("cannot start gossip on %s: %w", cfg.Bind, err)
	}
	n.addr = n.list.LocalNode().Address() // copied: memberlist writes to what it returns
	n.mu.Lock()
	n.self.Gossip = n.addr
	n.mu.Unlock()
	n.rebuild()
	return n, nil
}

// listen binds the port, where no transport is given, and starts memberlist on it.
func (n *Node) listen(mc *memberlist.Config) error {
	if mc.Transport == nil {
		addr, err := netip.ParseAddr(mc.BindAddr)
		if err != nil {
			return err
		}
		t, err := newTransport(netip.AddrPortFrom(addr, uint16(mc.BindPort)), n.log)
		if err != nil {
			return err
		}
		mc.Transport, mc.BindPort = t, t.port
		if mc.AdvertisePort == 0 {
			mc.AdvertisePort = t.port
		}
	}
	var err error
	if n.list, err = memberlist.Create(mc); err != nil {
		return errors.Join(err, mc.Transport.Shutdown())
	}
	return nil
}

// Addr is the address that others reach this node's gossip by.
func (n *Node) Addr() string { return n.addr }

// Ring is the present placement; never nil. It does not block.
func (n *Node) Ring() *ring.Ring { return n.ring.Load() }

// Changed subscribes to changes of the membership, those of loads excepted: the channel gets a signal after each,
// several of them together when nobody has looked. cancel ends the subscription; the channel is never closed.
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

// SetState changes this node's state: at once in its own ring, and within a few hundred milliseconds in the others'. It
// does not wait for them. A node that leaves stays left.
func (n *Node) SetState(s ring.State) {
	if !known(s) {
		panic(fmt.Sprintf("BUG: gossip: a member can't be in state %d", s))
	}
	if n.setState(s) {
		n.rebuild()
		signal(n.tell)
	}
}

func (n *Node) setState(s ring.State) (changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.self.State == s || n.self.State == ring.StateLeft {
		return false
	}
	n.self.State = s
	return true
}

// Leave tells the others that this node goes, and waits until they can have heard it, or until ctx ends, but no longer
// than a few seconds. The node goes on to answer until Run ends. Called again, it waits for the first call.
func (n *Node) Leave(ctx context.Context) error {
	if n.leaving.Swap(true) {
		<-n.left // whatever ctx says: memberlist must not be shut down in the middle
		return n.leftErr
	}
	n.leftErr = n.leave(ctx)
	close(n.left)
	return n.leftErr
}

// Vanish makes a later Leave do nothing, that of Run's end too: for the others the node will have died without a word. It does not
// block.
func (n *Node) Vanish() {
	if !n.leaving.Swap(true) {
		close(n.left)
	}
}

const (
	leaveTimeout = 2 * time.Second        // for each of the two ways of telling
	leaveLinger  = 300 * time.Millisecond // those that were told tell the others while this node still answers
)

func (n *Node) leave(ctx context.Context) error {
	n.setState(ring.StateLeft)
	n.rebuild()
	timeout := leaveTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(d)/2), time.Millisecond) // memberlist takes 0 for no limit
	}
	alone := n.view.size() == 0
	if err := errors.Join(n.update(timeout), n.list.Leave(timeout)); err != nil {
		return fmt.Errorf("cannot tell the others that this node leaves: %w", err)
	}
	if alone {
		return nil
	}
	select {
	case <-time.After(leaveLinger):
	case <-ctx.Done():
	}
	return nil
}

// update makes memberlist read this node's metadata and tell it.
func (n *Node) update(timeout time.Duration) error {
	n.telling <- struct{}{}
	defer func() { <-n.telling }()
	return n.list.UpdateNode(timeout)
}

// Close frees what New has taken, for a node that is never run. The others are told nothing.
func (n *Node) Close() error {
	n.detach()
	n.Vanish()
	return n.list.Shutdown()
}

// settingsChanged makes a ring, whose input they may be.
func (n *Node) settingsChanged() { signal(n.dirty) }

// me is this node as the others shall see it.
func (n *Node) me() peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := peer{n.name, n.self, n.boot}
	p.member.Load = n.load.sessions
	return p
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
