package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/ringside-edge/ringside/ring"
)

// simNet is a network in memory for testing/synctest: packets wait in buffered channels and are dropped when those are
// full, connections are pipes. memberlist's own mock blocks where this one drops, and deadlocks there.
type simNet struct {
	mu    sync.Mutex
	hosts map[string]*simHost        // guarded by mu: by address
	cut   func(from, to string) bool // guarded by mu: whether nothing gets through
	loss  float64                    // guarded by mu: share of packets that are lost
	names map[string][]netip.Addr    // guarded by mu: DNS
	dials map[string]int             // guarded by mu: connections asked for, by address
}

func newSimNet() *simNet {
	return &simNet{hosts: map[string]*simHost{}, names: map[string][]netip.Addr{}, dials: map[string]int{}}
}

// simHost is one node's place in it; it implements memberlist.NodeAwareTransport.
type simHost struct {
	net     *simNet
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
}

var (
	_              memberlist.NodeAwareTransport = (*simHost)(nil)
	errSimRefused                                = errors.New("connection refused")
	errSimTimeout                                = errors.New("i/o timeout")
	errSimNotFound                               = errors.New("no such host")
)

func (s *simNet) host(addr string) *simHost {
	h := &simHost{net: s, addr: netip.MustParseAddrPort(addr),
		packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 64)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[addr] = h
	return h
}

// split cuts the network between the nodes given and all others; with none it is whole again.
func (s *simNet) split(apart ...*runner) {
	in := map[string]bool{}
	for _, r := range apart {
		in[r.Addr()] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = func(from, to string) bool { return in[from] != in[to] }
}

func (s *simNet) lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ips := s.names[host]; len(ips) > 0 {
		return ips, nil
	}
	return nil, errSimNotFound
}

// reach is the host at addr; ok is false when what is sent from there is lost, and both are zero when nobody is there.
func (s *simNet) reach(from *simHost, addr string, packet bool) (to *simHost, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !packet {
		s.dials[addr]++
	}
	to = s.hosts[addr]
	if s.cut != nil && s.cut(from.addr.String(), addr) || packet && rand.Float64() < s.loss {
		return nil, false
	}
	return to, true
}

func (h *simHost) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return h.addr.Addr().AsSlice(), int(h.addr.Port()), nil
}

func (h *simHost) WriteTo(b []byte, addr string) (time.Time, error) {
	if to, _ := h.net.reach(h, addr, true); to != nil {
		select {
		case to.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(h.addr), Timestamp: time.Now()}:
		default:
		}
	}
	return time.Now(), nil
}

func (h *simHost) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, ok := h.net.reach(h, addr, false)
	switch {
	case !ok:
		<-time.After(timeout)
		return nil, errSimTimeout
	case to == nil:
		return nil, errSimRefused
	}
	near, far := net.Pipe()
	_ = near.SetDeadline(time.Now().Add(timeout)) // memberlist writes the label before it sets one
	select {
	case to.streams <- far:
		return near, nil
	default:
		return nil, errSimRefused
	}
}

func (h *simHost) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return h.WriteTo(b, a.Addr)
}

func (h *simHost) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return h.DialTimeout(a.Addr, timeout)
}

func (h *simHost) PacketCh() <-chan *memberlist.Packet { return h.packets }
func (h *simHost) StreamCh() <-chan net.Conn           { return h.streams }

func (h *simHost) Shutdown() error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.net.hosts[h.addr.String()] == h {
		delete(h.net.hosts, h.addr.String())
	}
	return nil
}

// start runs a node at addr in the network.
func (s *simNet) start(t *testing.T, addr string, self ring.Member, join ...string) *runner {
	t.Helper()
	return start(t, self, join, func(c *Config) {
		c.Bind, c.Secret, c.transport, c.resolve = addr, "", s.host(addr), s.lookup
	})
}

// cluster starts routers and gateways, all of them with the first router as their seed.
func (s *simNet) cluster(t *testing.T, routers, gateways int) (rs []*runner) {
	t.Helper()
	const seed = "10.0.1.1:7946"
	for i := range routers {
		m := ring.Member{ID: fmt.Sprintf("r%d", i+1), Role: ring.RoleRouter, State: ring.StateActive, Addr: "10.0.1.1:80"}
		rs = append(rs, s.start(t, fmt.Sprintf("10.0.1.%d:7946", i+1), m, seed))
	}
	for i := range gateways {
		rs = append(rs, s.start(t, fmt.Sprintf("10.0.2.%d:7946", i+1), gatewayMember(fmt.Sprintf("g%d", i+1)), seed))
	}
	simAgree(t, routers+gateways, gateways, rs...)
	return rs
}

// simEventually waits for simulated minutes.
func simEventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); <-time.After(50 * time.Millisecond) {
		if time.Since(begin) > 10*time.Minute {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// simAgree waits until each of the nodes knows of that many members and shards, and all have the same ring.
func simAgree(t *testing.T, members, shards int, nodes ...*runner) {
	t.Helper()
	simEventually(t, fmt.Sprintf("%d nodes agree on %d members, %d shards", len(nodes), members, shards), func() bool {
		for _, r := range nodes {
			now := r.Ring()
			if len(now.Members()) != members || len(now.Shards()) != shards || now.Version() != nodes[0].Ring().Version() {
				return false
			}
		}
		return true
	})
}

// still fails when the membership of any node changes within d.
func still(t *testing.T, d time.Duration, nodes ...*runner) {
	t.Helper()
	var before []uint64
	for _, r := range nodes {
		before = append(before, r.metrics.changes.Load())
	}
	<-time.After(d)
	for i, r := range nodes {
		if n := r.metrics.changes.Load() - before[i]; n > 0 {
			t.Errorf("%s: its membership changed %d times within %v of rest", r.cfg.Self.ID, n, d)
		}
	}
}
