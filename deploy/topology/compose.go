//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/ringside-edge/ringside/deploy/manifests"
	"github.com/ringside-edge/ringside/internal/netlab"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// service is a service of Compose with its one container.
type service struct {
	w    *world
	cfg  types.ServiceConfig
	host *netlab.Host // guarded by mu of its project; of the present container
	h    manifests.Health

	mu       sync.Mutex
	now      *container // guarded by mu, and so are all below
	stopping bool
	restarts int
	keeping  chan struct{} // closed once nobody starts it again
}

// project is what Compose has up.
type project struct {
	w *world
	p *types.Project

	mu       sync.Mutex
	services map[string]*service // guarded by mu
}

// notHere are the images for which no registry of programs that is within reach has a stand-in.
var notHere = []string{"grafana/grafana"} //nolint:gochecknoglobals // a constant

// up starts what the project has, in the order of what depends on what.
func (p *project) up(ctx context.Context) error {
	left := p.p.ServiceNames()
	for len(left) > 0 {
		name := left[0]
		left = left[1:]
		s := p.p.Services[name]
		if slices.Contains(notHere, s.Image) {
			p.w.say("%s is left out: %s can't be installed here", name, s.Image)
			continue
		}
		missing := slices.DeleteFunc(s.GetDependencies(), func(d string) bool { return p.get(d) != nil })
		if len(missing) > 0 {
			left = append(left, name)
			continue
		}
		for d, how := range s.DependsOn {
			if how.Condition == types.ServiceConditionHealthy {
				if err := p.healthy(ctx, d); err != nil {
					return err
				}
			}
		}
		if err := p.create(name); err != nil {
			return err
		}
	}
	return nil
}

func (p *project) get(name string) *service {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.services[name]
}

// create makes a service's container, on an address of its own.
func (p *project) create(name string) error {
	s, err := newService(p.w, p.p.Services[name])
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.services[name] = s
	p.mu.Unlock()
	return s.run()
}

// recreate is `docker compose up --no-deps --force-recreate`.
func (p *project) recreate(name string) error {
	old := p.get(name)
	if err := old.stop(); err != nil {
		return err
	}
	return errors.Join(p.w.removeHost(old.host), p.create(name))
}

// find is the DNS of Compose's network.
func (p *project) find(name string) (addrs []string, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for service, s := range p.services {
		if (service == name || s.cfg.Hostname == name) && s.runs() {
			addrs = append(addrs, s.host.IP)
		}
	}
	return addrs, len(addrs) > 0
}

// published are the addresses to which the ports lead that the project publishes to everybody.
func (p *project) published() (addrs []string) {
	for _, name := range p.p.ServiceNames() {
		s := p.get(name)
		for _, port := range p.p.Services[name].Ports {
			if s != nil && s.runs() && port.HostIP == "" {
				addrs = append(addrs, net.JoinHostPort(s.host.IP, fmt.Sprint(port.Target)))
			}
		}
	}
	return addrs
}

// healthy waits until a service's health check says so.
func (p *project) healthy(ctx context.Context, name string) error {
	s := p.get(name)
	return p.w.await(ctx, name+" is healthy", func() error {
		c := s.container()
		if c.Exited() {
			return fmt.Errorf("it has ended: %s", c.LogTail(5))
		}
		run, err := c.exec(p.w.lab, name+": health", s.h.Test...)
		if err != nil {
			return err
		}
		code, err := run.Wait(s.h.Timeout)
		if err != nil || code != 0 {
			run.Kill()
			return fmt.Errorf("%v: %d %v %s", s.h.Test, code, err, run.Log())
		}
		return nil
	})
}

// newService reads what Compose would make of a service.
func newService(w *world, cfg types.ServiceConfig) (*service, error) {
	s := &service{w: w, cfg: cfg}
	if cfg.Image == "ringside" {
		s.h = w.image.Health
	}
	if c := cfg.HealthCheck; c != nil && len(c.Test) > 0 && c.Test[0] == "CMD" {
		s.h = manifests.Health{Test: slices.Clone(c.Test[1:]), Timeout: time.Duration(*c.Timeout)}
	}
	if len(s.h.Test) > 0 && !strings.HasPrefix(s.h.Test[0], "/") {
		s.h.Test[0] = "/usr/bin/" + s.h.Test[0]
	}
	host, err := w.newHost()
	s.host = host
	return s, err
}

// spec is the service's container.
func (s *service) spec() (spec, error) {
	c := s.w.imageSpec(s.cfg.Image, or(s.cfg.Hostname, s.cfg.Name))
	c.Files["etc/resolv.conf"] = "nameserver " + nameserver + "\noptions ndots:0\n"
	c.Args = append(c.Args, s.cfg.Command...)
	if !strings.HasPrefix(c.Args[0], "/") {
		c.Args[0] = "/usr/bin/" + c.Args[0]
	}
	if strings.HasPrefix(s.cfg.Image, "redis:") {
		c.Args = append(c.Args, "--protected-mode", "no") // as that of the image is built
	}
	for name, value := range s.cfg.Environment {
		c.Env = append(c.Env, name+"="+*value)
	}
	c.ReadOnly, c.Sysctls = s.cfg.ReadOnly, s.cfg.Sysctls
	c.DropAll = slices.Contains(s.cfg.CapDrop, "ALL")
	c.NoNewPrivileges = slices.Contains(s.cfg.SecurityOpt, "no-new-privileges:true")
	if limit := s.cfg.Ulimits["nofile"]; limit != nil {
		c.Descriptors = uint64(max(limit.Single, limit.Soft))
	}
	for _, v := range s.cfg.Volumes {
		from := v.Source
		if v.Type == "volume" {
			from = filepath.Join(s.w.dir, "volume-"+v.Source)
			if err := errors.Join(os.MkdirAll(from, 0o700), os.Chown(from, c.User, c.Group)); err != nil {
				return c, err
			}
		}
		c.Mounts = append(c.Mounts, mount{From: from, To: v.Target, ReadOnly: v.ReadOnly})
	}
	return c, nil
}

// run starts the container, and starts it again when it ends, if the service says so.
func (s *service) run() error {
	sp, err := s.spec()
	if err != nil {
		return err
	}
	if s.now, err = s.w.start(s.host, s.cfg.Name, sp); err != nil {
		return err
	}
	s.keeping = make(chan struct{})
	go func() {
		defer close(s.keeping)
		for {
			<-s.container().Done()
			s.pause()
			s.mu.Lock()
			again := !s.stopping && s.cfg.Restart == types.RestartPolicyUnlessStopped
			if again {
				s.restarts++
				next, err := s.w.start(s.host, s.cfg.Name, sp)
				if err == nil {
					s.now = next
				}
				again = err == nil
			}
			s.mu.Unlock()
			if !again {
				return
			}
		}
	}()
	return nil
}

// pause waits before a container is started again, longer each time, unless it is not to be.
func (s *service) pause() {
	s.mu.Lock()
	n, stopping := s.restarts, s.stopping
	s.mu.Unlock()
	if !stopping {
		<-time.After(100 * time.Millisecond << min(n, 9))
	}
}

func (s *service) container() *container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *service) runs() bool {
	c := s.container()
	return c != nil && !c.Exited()
}

// stop is `docker stop`: SIGTERM, and SIGKILL when the time is over.
func (s *service) stop() error {
	s.mu.Lock()
	s.stopping = true
	c := s.now
	s.mu.Unlock()
	grace := 10 * time.Second
	if g := s.cfg.StopGracePeriod; g != nil {
		grace = time.Duration(*g)
	}
	_ = c.Signal(syscall.SIGTERM) // it may have ended
	code, err := c.Wait(grace)
	if err != nil {
		err = fmt.Errorf("it was killed after %v", grace)
		c.Kill()
	} else if code != 0 {
		err = fmt.Errorf("it ended with %d", code)
	}
	<-s.keeping
	if err != nil {
		return fmt.Errorf("%s: %w", s.cfg.Name, err)
	}
	return nil
}

// restart is `docker compose restart`.
func (s *service) restart() error {
	if err := s.stop(); err != nil {
		return err
	}
	s.stopping = false
	return s.run()
}

// node is what can be asked of a node's admin port.
func (s *service) node() *testcluster.Node {
	return &testcluster.Node{Process: s.container().Process, ID: s.cfg.Hostname, Addr: s.host.IP + ":8080", Admin: s.host.IP + ":8081"}
}

// nodes are the services that run the program.
func (p *project) nodes() (list []*service) {
	for _, name := range p.p.ServiceNames() {
		if s := p.get(name); s != nil && s.cfg.Image == "ringside" {
			list = append(list, s)
		}
	}
	return list
}

// ready waits until every node says that it is ready.
func (p *project) ready(ctx context.Context) error {
	return p.w.await(ctx, "all nodes are ready", func() error {
		for _, s := range p.nodes() {
			if err := s.node().Ready(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.cfg.Name, err)
			}
		}
		return nil
	})
}
