package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/netlab"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// Addresses of nodes that have a network of their own; on loopback they take free ports.
const (
	redisIP     = netlab.Middle
	clientPort  = 8080
	adminPort   = 8081
	gossipPort  = 7946
	startLimit  = 2 * time.Minute // long enough that only a real failure reaches it on a busy machine
	secret      = "no secret at all, for the chaos run"
	drainWindow = 4 * time.Second
	heartbeat   = time.Second
	staleAfter  = 3 * time.Second
)

// instance is one life of a node.
type instance struct {
	*testcluster.Node
	*process
	place   *place
	killed  atomic.Bool              // by us: from before the signal on
	ready   atomic.Bool              // it has said so
	leaving atomic.Bool              // it was told to drain
	paused  atomic.Bool              // by SIGSTOP
	next    atomic.Pointer[instance] // who took over from it
}

// gone reports whether we have killed the process, or the one that took over from it.
func (i *instance) gone() bool {
	for ; i != nil; i = i.next.Load() {
		if i.killed.Load() {
			return true
		}
	}
	return false
}

// place is a node as the schedule knows it: a name and addresses that stay, over instances that come and go.
type place struct {
	name, role string
	host       *host
	addrs      [3]string // for clients, admin, gossip

	fault sync.Mutex // held by the fault that works on it
	now   atomic.Pointer[instance]
}

// live is the running instance, or nil.
func (p *place) live() *instance {
	if i := p.now.Load(); i != nil && !i.killed.Load() && !i.Exited() {
		return i
	}
	return nil
}

// cluster is the nodes of a run and their Redis.
type cluster struct {
	o     options
	stage *stage
	redis *store
	dir   string // for logs

	mu      sync.Mutex
	places  []*place    // guarded by mu
	all     []*instance // guarded by mu: every life
	changed time.Time   // guarded by mu: when the membership, or a cut, changed last
	changes int         // guarded by mu
}

// add makes a place for a node; start gives it life.
func (c *cluster) add(role, name string) (*place, error) {
	h, err := c.stage.host(name)
	if err != nil {
		return nil, err
	}
	p := &place{name: name, role: role, host: h}
	for i, port := range []int{clientPort, adminPort, gossipPort} {
		if h.ip != "" {
			p.addrs[i] = net.JoinHostPort(h.ip, strconv.Itoa(port))
		} else if p.addrs[i], err = testcluster.FreeAddr(); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.places = append(c.places, p)
	return p, nil
}

// start starts a node at its place and waits until it is ready.
func (c *cluster) start(ctx context.Context, p *place) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	args := []string{
		p.role, "--listen", p.addrs[0], "--admin", p.addrs[1], "--gossip", p.addrs[2], "--redis", c.redis.URL(),
		"--id", p.name, "--secret", secret, "--admin-open", "--retention", c.o.retention().String(), "--stream-max-len", "10000000",
		"--drain-window", drainWindow.String(),
	}
	if p.role == testcluster.Gateway {
		args = append(args, "--heartbeat", heartbeat.String(), "--stale-after", staleAfter.String())
	}
	if p.role == testcluster.Router {
		args = append(args, "--per-ip-rate", "0") // all clients come from one address
	}
	if join := c.others(p); len(join) > 0 {
		args = append(args, "--join", strings.Join(join, ","))
	}
	log := filepath.Join(c.dir, fmt.Sprintf("%s-%d.log", p.name, len(c.instances())))
	proc, err := c.stage.start(p.host, p.name, log, c.o.bin, args...)
	if err != nil {
		return err
	}
	i := &instance{Node: node(p.name, p.role, p.addrs), process: proc, place: p}
	c.born(i)
	err = testcluster.Poll(ctx, func() error {
		if i.Exited() {
			return nil
		}
		return i.Ready(ctx)
	})
	i.ready.Store(true)
	c.touched()
	if err == nil && i.Exited() {
		err = errors.New("it ended")
	}
	if err != nil {
		return fmt.Errorf("cannot start %s: %w\n%s", p.name, err, i.LogTail(20))
	}
	return nil
}

// born puts an instance in its place.
func (c *cluster) born(i *instance) {
	c.mu.Lock()
	c.all = append(c.all, i)
	c.mu.Unlock()
	i.place.now.Store(i)
}

// others are the gossip addresses of the other nodes that run.
func (c *cluster) others(p *place) []string {
	var list []string
	for _, o := range c.list("") {
		if o != p && o.live() != nil {
			list = append(list, o.addrs[2])
		}
	}
	return list
}

// list are the places of a role, or all.
func (c *cluster) list(role string) []*place {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*place
	for _, p := range c.places {
		if role == "" || p.role == role {
			list = append(list, p)
		}
	}
	return list
}

// place finds a node by name; nil when there is none.
func (c *cluster) place(name string) *place {
	for _, p := range c.list("") {
		if p.name == name {
			return p
		}
	}
	return nil
}

// instances are all lives of all nodes.
func (c *cluster) instances() []*instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*instance(nil), c.all...)
}

// touched notes that the membership has changed, or may have.
func (c *cluster) touched() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = time.Now()
	c.changes++
}

// lastChange is when touched was called last, and how often it was.
func (c *cluster) lastChange() (time.Time, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed, c.changes
}

// kill ends a node without a word.
func (c *cluster) kill(p *place) {
	i := p.now.Load()
	i.killed.Store(true) // before the signal: a client that sees its connection break looks here
	i.Kill()
	c.touched()
}

// end kills whatever runs.
func (c *cluster) end() {
	for _, i := range c.instances() {
		i.killed.Store(true)
		i.Kill()
	}
	c.redis.Kill()
}

// agree is nil when every running node has the same ring and exactly the running gateways are active in it.
func (c *cluster) agree(ctx context.Context) error {
	version, of := "", ""
	for _, p := range c.list("") {
		i := p.live()
		if i == nil || i.paused.Load() {
			continue
		}
		ring, err := i.Ring(ctx)
		if err != nil {
			return err
		}
		if version == "" {
			version, of = ring.Version, p.name
		}
		if ring.Version != version {
			return fmt.Errorf("%s has the ring %s, %s has %s", of, version, p.name, ring.Version)
		}
		for _, g := range c.list(testcluster.Gateway) {
			m, _ := ring.Member(g.name)
			l := g.live()
			if l != nil && !l.ready.Load() {
				continue // on its way
			}
			want := l != nil && !l.leaving.Load()
			if active := m.State == "active"; active != want {
				return fmt.Errorf("%s has %s as %q; it should be active: %v", p.name, g.name, m.State, want)
			}
		}
	}
	return nil
}

// memory is what a process holds in bytes: its proportional set.
func memory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "Pss:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("cannot find Pss")
}

// signal sends a signal to the running instance.
func (p *place) signal(sig syscall.Signal) error {
	i := p.live()
	if i == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	return i.Signal(sig)
}
