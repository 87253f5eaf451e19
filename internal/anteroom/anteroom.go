// Package anteroom bounds the connections that are no session yet, and decides who makes room when all places are taken.
//
// Each has a place, from when it is accepted until it is a session or closed. With all places taken the next wait in the system's
// backlog; if the one that has been mute for longest, saying nothing or half of what it wants, has been so for longer than the patience,
// it is turned out in their favour. So those who say nothing can't keep out those who do: a flood of them costs a client the time in
// which its request has to come, and nothing else. An address has a part of the places at most.
//
// Only who is waited for is mute: not who has said something that is not read yet, or is being worked on. When a crowd comes that is
// slow because we are, nobody is turned out.
package anteroom

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
)

// Config is how many there may be.
type Config struct {
	Places   int           // connections at most
	PerAddr  int           // of one address, IPv6 by /64; 0: no bound
	Patience time.Duration // how long a guest that is mute keeps a place which others wait for
}

// Reason says why a guest had to go; it is a metric's label.
type Reason uint8

// Why guests are turned out.
const (
	Crowded Reason = iota // it was mute for too long, and others waited for its place
	PerIP                 // its address has its part of the places already
	reasons
)

// Reasons are all there are.
const Reasons = reasons

// String is the label.
func (r Reason) String() string { return [reasons]string{"crowded", "per_ip"}[r] }

// Room are the places. Its methods, and those of its guests, are safe for concurrent use.
type Room struct {
	cfg    Config
	places chan struct{}
	out    [reasons]atomic.Uint64

	mu    sync.Mutex
	mute  list.List          // of *Guest, the one that has been so for longest first; guarded by mu
	addrs map[netip.Addr]int // guests by address; never more than places; guarded by mu
	going int                // turned out and not gone yet; guarded by mu
	n     int                // guarded by mu
}

// New makes a room in which nobody is.
func New(cfg Config) *Room {
	return &Room{cfg: cfg, places: make(chan struct{}, cfg.Places), addrs: make(map[netip.Addr]int)}
}

// Visitor is a guest's connection, as a room sees it.
type Visitor interface {
	HasInput() bool // something of it waits to be read; asked only while the guest is mute
	Close() error   // has it go; called by whatever goroutine, and must not wait for anything
}

// Of is a [Visitor] over a connection.
func Of(c net.Conn) Visitor { return visitor{c} }

type visitor struct{ net.Conn }

func (v visitor) HasInput() bool { return eventloop.HasInput(v.Conn) }

// Guest is a connection that is no session yet. The zero Guest is in no room.
type Guest struct {
	room  *Room
	conn  Visitor     // guarded by room.mu
	waits atomic.Bool // we wait for it to say something

	// Guarded by room.mu.
	at    *list.Element // in room.mute; nil when it is not mute
	since time.Time     // mute
	steps int           // how often it has got on
	addr  netip.Addr    // counted; invalid when it is not
	out   bool
	gone  bool
}

// Reserve takes a place, and waits for it. While none is free, it turns out those whose time is over. It returns false when done is
// closed first.
func (r *Room) Reserve(done <-chan struct{}) bool {
	for {
		select {
		case r.places <- struct{}{}:
			return true
		case <-done:
			return false
		default:
		}
		t := time.NewTimer(r.makeRoom(time.Now()))
		select {
		case r.places <- struct{}{}:
			t.Stop()
			return true
		case <-done:
			t.Stop()
			return false
		case <-t.C:
		}
	}
}

// Release gives back a place that was reserved and nobody has entered.
func (r *Room) Release() { <-r.places }

const (
	// soonest is how soon it is looked again who may be turned out, and retry when nobody can be although it is somebody's time.
	soonest, retry = time.Millisecond, 20 * time.Millisecond
	// atOnce is at how many guests is looked at once. If it is our turn with so many, we are what is slow.
	atOnce = 64
	// mostSteps is how often a guest's time begins anew because it has got on: a PROXY header, a ClientHello, a handshake.
	mostSteps = 3
)

// makeRoom turns out the guest that has been mute for longest, if for too long, and says when to look again. One goes at a time:
// places that are about to be free are enough.
func (r *Room) makeRoom(now time.Time) time.Duration {
	r.mu.Lock()
	if r.going > 0 {
		r.mu.Unlock()
		return r.cfg.Patience
	}
	at := r.mute.Front()
	for range atOnce {
		if at == nil {
			break
		}
		g := at.Value.(*Guest) //nolint:forcetypeassert // nothing else is put there
		if left := r.cfg.Patience - now.Sub(g.since); left > 0 {
			r.mu.Unlock()
			return max(left, soonest)
		}
		if g.waits.Load() && !g.conn.HasInput() {
			r.heard(g)
			g.out = true
			r.going++
			r.mu.Unlock()
			r.out[Crowded].Add(1)
			g.conn.Close()
			return r.cfg.Patience
		}
		at = at.Next() // it is our turn, not its
	}
	r.mu.Unlock()
	return retry
}

// Enter puts the connection c as g, which has said nothing yet, into a place that was reserved. When it has to go, c is closed, by
// whatever goroutine.
func (r *Room) Enter(g *Guest, c Visitor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g.room, g.conn, g.since = r, c, time.Now()
	g.at = r.mute.PushBack(g)
	r.n++
}

// Over has another connection stand for g from now on. It reports whether g is still welcome, as [Guest.Heard] does.
func (g *Guest) Over(c Visitor) bool {
	g.room.mu.Lock()
	defer g.room.mu.Unlock()
	g.conn = c
	return !g.out
}

// Waits notes whether we wait for g to say something: around each read.
func (g *Guest) Waits(waits bool) { g.waits.Store(waits) }

// GotOn notes that g has come a step further towards saying what it wants. Its time begins anew, a few times.
func (g *Guest) GotOn() {
	r := g.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.at != nil && g.steps < mostSteps {
		g.steps++
		g.since = time.Now()
		r.mute.MoveToBack(g.at)
	}
}

// heard takes g off the list of those who are mute.
func (r *Room) heard(g *Guest) {
	if g.at != nil {
		r.mute.Remove(g.at)
		g.at = nil
	}
}

// CountAs counts g as one of an address's. It reports whether g may stay; if not, its owner closes it.
func (g *Guest) CountAs(addr netip.Addr) bool {
	r := g.room
	if r.cfg.PerAddr <= 0 {
		return true
	}
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.addrs[addr] >= r.cfg.PerAddr {
		r.out[PerIP].Add(1)
		return false
	}
	r.uncount(g)
	r.addrs[addr]++
	g.addr = addr
	return true
}

func (r *Room) uncount(g *Guest) {
	if !g.addr.IsValid() {
		return
	}
	if r.addrs[g.addr]--; r.addrs[g.addr] <= 0 {
		delete(r.addrs, g.addr)
	}
	g.addr = netip.Addr{}
}

// Heard notes that g has said what it wants. It reports whether g is still welcome: false when it has been turned out meanwhile. The
// guest that is heard is turned out by nobody.
func (g *Guest) Heard() bool {
	g.room.mu.Lock()
	defer g.room.mu.Unlock()
	g.room.heard(g)
	return !g.out
}

// Again notes that g has got its answer and may say something else. It gets no time anew for that: it has been here for as long as it
// has, and with all places taken makes room before those who came later.
func (g *Guest) Again() {
	r := g.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.at != nil || g.out || g.gone {
		return
	}
	for at := r.mute.Front(); at != nil; at = at.Next() {
		if other := at.Value.(*Guest); other.since.After(g.since) { //nolint:forcetypeassert // nothing else is put there
			g.at = r.mute.InsertBefore(g, at)
			return
		}
	}
	g.at = r.mute.PushBack(g)
}

// TurnedOut reports whether g had to make room for others.
func (g *Guest) TurnedOut() bool {
	g.room.mu.Lock()
	defer g.room.mu.Unlock()
	return g.out
}

// Leave gives g's place back. Only the first call counts.
func (g *Guest) Leave() {
	r := g.room
	r.mu.Lock()
	if g.gone {
		r.mu.Unlock()
		return
	}
	g.gone = true
	r.heard(g)
	r.uncount(g)
	if g.out {
		r.going--
	}
	r.n--
	r.mu.Unlock()
	<-r.places
}

// Len is how many guests there are.
func (r *Room) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// Places is how many there may be.
func (r *Room) Places() int { return r.cfg.Places }

// Out is how many have been turned out for a reason.
func (r *Room) Out(reason Reason) uint64 { return r.out[reason].Load() }
