package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// stage is everything that is measured: a Redis server, gateways, a router, and what else can stand in front of the
// first gateway. All of it runs side by side; only the load moves from one to the other.
type stage struct {
	dir      string
	binary   string
	redis    *testcluster.RedisServer
	gateways []*testcluster.Node
	routers  []*testcluster.Node
	router   *testcluster.Node // the first of them
	arms     []arm
	sends    *testcluster.Node      // a server that does nothing but send; nil for none
	procs    []*testcluster.Process // in the order of their start
}

// arm is one way from the load to the gateway.
type arm struct {
	Name string
	addr string
	pid  int // of the proxy; 0 when there is none
}

// startTimeout is how long a process may take until it can do its work.
const startTimeout = 30 * time.Second

// cast is what a stage has beside Redis.
type cast struct {
	routers, gateways         int
	routerFlags, gatewayFlags []string
}

// newStage starts Redis, routers and gateways, of the program that is named, or else of this tree. The caller
// calls stop, also after an error.
func newStage(ctx context.Context, binary string, c cast) (*stage, error) {
	s, err := newRedisStage(ctx, binary)
	if err != nil {
		return s, err
	}
	return s, s.startRingside(ctx, s.binary, c)
}

// newRedisStage starts Redis alone.
func newRedisStage(ctx context.Context, binary string) (*stage, error) {
	dir, err := os.MkdirTemp("", "ringside-bench-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's workers run as another user
		return s, err
	}
	if binary == "" {
		say("building ringside")
		if binary, err = testcluster.Build(dir, false); err != nil {
			return s, err
		}
	}
	s.binary = binary
	return s, s.startRedis(ctx)
}

// addArms starts the proxies and lays out the ways to the first gateway.
func (s *stage) addArms(ctx context.Context, o options) error {
	s.arms = []arm{{Name: armRouter, addr: s.router.Addr, pid: s.router.PID()}}
	if err := s.startProxies(ctx, s.gateways[0].Addr, o); err != nil {
		return err
	}
	s.arms = append(s.arms, arm{Name: armDirect, addr: s.gateways[0].Addr})
	return nil
}

// stop ends the processes, the last first, and removes the files. A process that does not heed SIGTERM is
// killed.
func (s *stage) stop() {
	for i := len(s.procs) - 1; i >= 0; i-- {
		p := s.procs[i]
		_ = p.Signal(syscall.SIGTERM) // fails only when it has just ended
		if _, err := p.Wait(3 * time.Second); err != nil {
			p.Kill()
		}
	}
	if s.dir == "" {
		return
	}
	_ = os.RemoveAll(s.dir) // a leftover in the temporary directory harms nobody
}

func (s *stage) startRedis(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	redis, err := testcluster.StartRedis(ctx, s.dir, false)
	if err != nil {
		return err
	}
	s.procs = append(s.procs, redis.Process)
	s.redis = redis
	return nil
}

// startRingside starts the gateways and the routers and waits until all are ready and agree on the ring.
func (s *stage) startRingside(ctx context.Context, binary string, c cast) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	spec := testcluster.NodeSpec{Binary: binary, Role: testcluster.Gateway, Redis: s.redis.URL(), Flags: c.gatewayFlags}
	for i := range c.gateways {
		spec.ID = fmt.Sprintf("g%d", i+1)
		n, err := testcluster.StartNode(ctx, spec)
		if err != nil {
			return err
		}
		s.gateways = append(s.gateways, n)
		s.procs = append(s.procs, n.Process)
		spec.Join = s.gateways[0].Gossip
	}
	spec.Role, spec.ID, spec.Flags = testcluster.Router, "", c.routerFlags
	for range c.routers {
		n, err := testcluster.StartNode(ctx, spec)
		if err != nil {
			return err
		}
		s.routers = append(s.routers, n)
		s.procs = append(s.procs, n.Process)
	}
	s.router = s.routers[0]
	for _, n := range s.nodes() {
		if err := testcluster.Poll(ctx, func() error { return s.agrees(ctx, n) }); err != nil {
			return fmt.Errorf("%w\n%s", err, n.LogTail(10))
		}
	}
	return nil
}

// nodes are the routers and the gateways.
func (s *stage) nodes() []*testcluster.Node {
	return append(slices.Clone(s.routers), s.gateways...)
}

// agrees says why n is not ready, or in which of the gateways it does not believe yet.
func (s *stage) agrees(ctx context.Context, n *testcluster.Node) error {
	if err := n.Ready(ctx); err != nil {
		return err
	}
	ring, err := n.Ring(ctx)
	if err != nil {
		return err
	}
	for _, g := range s.gateways {
		if m, ok := ring.Member(g.ID); !ok || m.State != "active" {
			return fmt.Errorf("%s: %s is not active", n.Name, g.ID)
		}
	}
	return nil
}

// listening waits until p accepts connections.
func listening(ctx context.Context, p *testcluster.Process, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := testcluster.Poll(ctx, func() error {
		if p.Exited() {
			return nil
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err == nil && p.Exited() {
		err = errors.New("it ended")
	}
	if err != nil {
		return fmt.Errorf("cannot start %s: %w\n%s", p.Name, err, p.LogTail(10))
	}
	return nil
}

// write writes a file into the stage's directory and returns its path.
func (s *stage) write(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}
