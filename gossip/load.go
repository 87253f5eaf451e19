package gossip

import (
	"encoding/binary"
	"time"

	"github.com/hashicorp/memberlist"
)

// loadRetransmit bounds how often a node sends one load on: this many times, for each power of ten of nodes.
const loadRetransmit = 3

// ownLoad is this node's load, and how far it was told.
type ownLoad struct {
	load
	told uint64    // the last seq that was told
	at   time.Time // when
}

// SetLoad says how many sessions this node holds. It may be called as often as it changes: the others are told once a
// second at most, and nothing when nothing has changed. It does not block.
func (n *Node) SetLoad(sessions uint64) {
	n.mu.Lock()
	changed := n.load.seq == 0 || n.load.sessions != sessions
	if changed {
		n.load.sessions = sessions
		n.load.seq++
	}
	n.mu.Unlock()
	if changed {
		n.loads.Store(true)
		n.tellLoad(time.Now())
	}
}

// tellLoad queues this node's load for the others when that is due.
func (n *Node) tellLoad(now time.Time) {
	n.mu.Lock()
	l := n.load
	due := l.seq > l.told && now.Sub(l.at) >= loadEvery
	if due {
		n.load.told, n.load.at = l.seq, now
	}
	n.mu.Unlock()
	if due {
		n.queue.QueueBroadcast(loadBroadcast{l.load})
	}
}

// load is how many sessions a node holds, as it travels: | 'L' | sequence u64 | load u64 | node name |.
type load struct {
	node     string
	seq      uint64 // grows with every change, so that old news don't replace new ones
	sessions uint64
}

const (
	loadTag   = 'L'
	loadFixed = 1 + 8 + 8
)

func (l load) append(b []byte) []byte {
	b = append(b, loadTag)
	b = binary.BigEndian.AppendUint64(b, l.seq)
	b = binary.BigEndian.AppendUint64(b, l.sessions)
	return append(b, l.node...)
}

func decodeLoad(b []byte) (load, bool) {
	if len(b) <= loadFixed || len(b) > loadFixed+maxNodeName || b[0] != loadTag {
		return load{}, false
	}
	return load{seq: binary.BigEndian.Uint64(b[1:]), sessions: binary.BigEndian.Uint64(b[9:]), node: string(b[loadFixed:])}, true
}

// appendLoads puts loads behind each other, each with its length as u16: what nodes exchange in full now and then.
func appendLoads(loads []load) (b []byte) {
	for _, l := range loads {
		one := l.append(nil)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(one))), one...)
	}
	return b
}

func decodeLoads(b []byte) (loads []load) {
	for len(b) >= 2 {
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return loads
		}
		if l, ok := decodeLoad(b[2 : 2+n]); ok {
			loads = append(loads, l)
		}
		b = b[2+n:]
	}
	return loads
}

// loadBroadcast is a load on its way to the others; a newer one of the same node takes its place.
type loadBroadcast struct{ l load }

// Invalidates implements memberlist.Broadcast.
func (b loadBroadcast) Invalidates(o memberlist.Broadcast) bool {
	other, ok := o.(loadBroadcast)
	return ok && other.l.node == b.l.node
}

// Name implements memberlist.NamedBroadcast.
func (b loadBroadcast) Name() string { return b.l.node }

// Message implements memberlist.Broadcast.
func (b loadBroadcast) Message() []byte { return b.l.append(nil) }

// Finished implements memberlist.Broadcast.
func (loadBroadcast) Finished() {}
