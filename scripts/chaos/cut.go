package main

import (
	"fmt"

	"github.com/ringside-edge/ringside/internal/netlab"
)

// stage is the network of a run. Clients, publishers and redis-server are in its middle; without one all nodes are on loopback, and
// nothing can be cut.
type stage struct {
	lab   *netlab.Lab
	why   string // why nothing can be cut; empty when it can
	hosts map[string]*host
}

// host is where a node lives.
type host struct {
	ip  string // empty on loopback
	net *netlab.Host
}

func newStage() *stage {
	s := &stage{lab: netlab.New(), hosts: map[string]*host{}}
	s.why = s.lab.Why()
	return s
}

// host is the place of the node with that name, made at the first call.
func (s *stage) host(name string) (*host, error) {
	if h := s.hosts[name]; h != nil {
		return h, nil
	}
	h := &host{}
	if s.why == "" {
		var err error
		if h.net, err = s.lab.Host(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		h.ip = h.net.IP
	}
	s.hosts[name] = h
	return h, nil
}

// start starts a process on the host.
func (s *stage) start(h *host, name, log, path string, args ...string) (p *process, err error) {
	if h.net == nil {
		return startProcess(name, log, path, args...)
	}
	err = s.lab.In(h.net, func() (err error) {
		p, err = startProcess(name, log, path, args...)
		return err
	})
	return p, err
}

// cut makes all packets between two hosts vanish, or with gossip those of gossip only.
func (s *stage) cut(a, b *host, gossip bool) error { return s.lab.Cut(a.net, b.net, cutPort(gossip)) }

// heal takes a cut away.
func (s *stage) heal(a, b *host, gossip bool) error { return s.lab.Heal(a.net, b.net, cutPort(gossip)) }

func cutPort(gossip bool) int {
	if gossip {
		return gossipPort
	}
	return 0
}
