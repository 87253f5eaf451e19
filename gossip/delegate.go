package gossip

import (
	"errors"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// delegate is what memberlist calls, mostly with its locks held. Nothing in it may block or call memberlist back.
type delegate struct{ n *Node }

var errDeparted = errors.New("this node has left")

// NodeMeta implements memberlist.Delegate.
func (d delegate) NodeMeta(int) []byte {
	p := d.n.me()
	b, err := encodeMeta(p.member, p.boot)
	if err != nil {
		panic("BUG: gossip: metadata that was checked at the start: " + err.Error())
	}
	return b
}

// NotifyMsg implements memberlist.Delegate: a load, or a setting. News goes on to others, because whom it concerns tells
// only a few.
func (d delegate) NotifyMsg(b []byte) {
	if len(b) > 0 && b[0] == registerTag {
		if r, err := decodeRegisterMessage(b); err == nil {
			d.n.settings.received([]Register{r}, 0)
		} else {
			d.n.settings.received(nil, 1)
		}
		return
	}
	l, ok := decodeLoad(b)
	if !ok {
		d.n.metrics.badMessages.Add(1)
		return
	}
	for _, l := range d.n.view.merge([]load{l}) {
		d.n.loads.Store(true)
		d.n.queue.QueueBroadcast(loadBroadcast{l})
	}
}

// GetBroadcasts implements memberlist.Delegate.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	msgs := d.n.news.GetBroadcasts(overhead, limit)
	for _, m := range msgs {
		limit -= overhead + len(m)
	}
	return append(msgs, d.n.queue.GetBroadcasts(overhead, limit)...)
}

// LocalState implements memberlist.Delegate: all loads and settings, so that a node that has just come knows them.
func (d delegate) LocalState(bool) []byte {
	loads := d.n.view.allLoads()
	d.n.mu.Lock()
	own := d.n.load.load
	d.n.mu.Unlock()
	if own.seq > 0 {
		loads = append(loads, own)
	}
	return appendRegisters(appendLoads(loads), d.n.settings.every())
}

// MergeRemoteState implements memberlist.Delegate.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	if len(d.n.view.merge(decodeLoads(b))) > 0 {
		d.n.loads.Store(true)
	}
	d.n.settings.received(decodeRegisters(b))
}

// NotifyAlive implements memberlist.AliveDelegate: the state of a node that has left, kept by somebody who missed it,
// does not bring the node back.
func (d delegate) NotifyAlive(node *memberlist.Node) error {
	if d.n.view.departed(node.Name) {
		d.n.metrics.ghosts.Add(1)
		return errDeparted
	}
	return nil
}

// NotifyJoin implements memberlist.EventDelegate.
func (d delegate) NotifyJoin(node *memberlist.Node) { d.NotifyUpdate(node) }

// NotifyUpdate implements memberlist.EventDelegate.
func (d delegate) NotifyUpdate(node *memberlist.Node) {
	if node.Name == d.n.name {
		return
	}
	m, boot, err := decodeMeta(node.Meta)
	if err != nil {
		d.n.metrics.badMeta.Add(1)
		if d.n.metrics.mayWarn("meta", time.Now()) {
			d.n.log.Warn("a node is left out: its version of the program differs too much", zap.String("gossip", node.Address()), zap.Error(err))
		}
		return
	}
	m.Gossip = node.Address()
	d.n.view.set(peer{node.Name, m, boot})
	signal(d.n.dirty)
}

// NotifyLeave implements memberlist.EventDelegate: the node has left, or is taken for dead.
func (d delegate) NotifyLeave(node *memberlist.Node) {
	if node.Name == d.n.name {
		return
	}
	d.n.view.remove(node.Name, node.Address(), node.State == memberlist.StateLeft, time.Now())
	signal(d.n.dirty)
}
