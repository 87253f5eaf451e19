//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/deploy/manifests"
	"github.com/ringside-edge/ringside/internal/netlab"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// tryKubernetes brings the base up and does to it what happens to a cluster.
func tryKubernetes(ctx context.Context, w *world, short bool) error {
	k, err := newKube(w)
	if err != nil {
		return err
	}
	dns, err := serveNames(k.find)
	if err != nil {
		return err
	}
	defer dns.close()
	t := &kubeTrial{kube: k, ctx: ctx, routers: k.workload("router"), gateways: k.workload("gateway")}
	if err := w.steps(
		"the base comes up: pods find each other by the headless Service, and are of one mind", t.up,
		"containers are what their manifests say: user, capabilities, root, limits", t.confined,
		"network policies: what is allowed works, and nothing else does", t.policies,
		"clients come in through the Service", t.come,
	); err != nil {
		return err
	}
	defer t.audience.leave()
	for _, s := range []struct {
		name string
		long bool
		do   func() error
	}{
		{"a gateway is added, and taken away again by preStop and SIGTERM: no client notices", false, t.scale},
		{"a gateway is killed: its container starts again, and no client notices", false, t.kill},
		{"a gateway is cut off from everybody, and comes back: no client notices", false, t.cut},
		{"Redis restarts with its data: no client notices", false, t.restartRedis},
		{"the gateways are rolled, within their budget: no client notices", false, t.rollGateways},
		{"a router goes away, and its clients go to the other", true, t.evictRouter},
		{"the routers are rolled", true, t.rollRouters},
	} {
		if s.long && short {
			continue
		}
		if err := w.step(s.name, s.do); err != nil {
			return err
		}
	}
	return w.step("everybody has had every message once and in order, and no kubelet has to complain", t.finish)
}

type kubeTrial struct {
	*kube
	ctx               context.Context //nolint:containedctx // of one run
	routers, gateways manifests.Workload
	audience          *audience
	killed            *pod
}

func (t *kubeTrial) up() error {
	project, err := manifests.Compose(t.w.deploy, "of no use here: for Redis alone")
	if err != nil {
		return err
	}
	// The base wants a Redis at redis:6379; the one of Compose is it.
	if t.redis, err = newService(t.w, project.Services["redis"]); err != nil {
		return err
	}
	if err := t.redis.run(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, wl := range []manifests.Workload{t.routers, t.gateways} {
		wg.Go(func() { errs[i] = t.kube.scale(t.ctx, wl, wl.Replicas) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return t.agree()
}

func (t *kubeTrial) all() []*pod { return append(t.of(t.routers), t.of(t.gateways)...) }

// token is the one that the Secret has for the admin ports.
func (t *kubeTrial) token() http.Header {
	b, _ := os.ReadFile(t.secrets + "/admin.tokens") // without one the node says so
	return http.Header{"Authorization": {"Bearer " + strings.TrimSpace(string(b))}}
}

// agree waits until every node has the same ring, with exactly the gateways that there are.
func (t *kubeTrial) agree() error {
	return t.w.await(t.ctx, "all nodes agree", func() error {
		version := ""
		for _, p := range t.all() {
			ring, err := ringOf(t.ctx, p.node(), t.token())
			if err != nil {
				return err
			}
			for _, g := range t.of(t.gateways) {
				if m, _ := ring.Member(g.name); m.State != "active" || !strings.HasPrefix(m.Addr, g.host.IP+":") {
					return fmt.Errorf("%s has %s as %q at %q", p.name, g.name, m.State, m.Addr)
				}
			}
			if version == "" {
				version = ring.Version
			}
			if ring.Version != version {
				return fmt.Errorf("%s has the ring %s, others have %s", p.name, ring.Version, version)
			}
		}
		return nil
	})
}

// confined reads in /proc what the kernel holds the containers to.
func (t *kubeTrial) confined() error {
	for _, p := range t.all() {
		if err := confined(p.container()); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func confined(c *container) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID()))
	if err != nil {
		return err
	}
	has := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		has[name] = strings.Fields(value + " -")[0]
	}
	for name, want := range map[string]string{
		"Uid": strconv.Itoa(c.spec.User), "CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1",
	} {
		if has[name] != want {
			return fmt.Errorf("%s is %s, want %s", name, has[name], want)
		}
	}
	if c.spec.User == 0 || !c.spec.ReadOnly {
		return errors.New("it is root, or can write to its root")
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/written", c.PID()), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("its root can be written to: %v", err)
	}
	return nil
}

func (t *kubeTrial) come() (err error) {
	t.audience, err = gather(t.ctx, t.w, net.JoinHostPort(t.redis.host.IP, "6379"), func() []string { return t.endpoints("ringside") })
	return err
}

// policies tries every way from each kind of place to each port: what docs/DEPLOY.md says is open, and nothing else.
func (t *kubeTrial) policies() error {
	prometheus, err1 := t.stranger("prometheus", "monitoring")
	other, err2 := t.stranger("somebody", "elsewhere")
	outside, err3 := t.w.newHost()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	router, gateway := t.of(t.routers)[0], t.of(t.gateways)[0]
	to := map[string]*pod{"router": t.of(t.routers)[1], "gateway": t.of(t.gateways)[1]}
	from := []struct {
		who  string
		host *netlab.Host
		open string
	}{
		{"outside", outside, "router:http"},
		{"a pod of another namespace", other.host, "router:http"},
		{"monitoring", prometheus.host, "router:http router:admin gateway:admin"},
		{"a router", router.host, "router:http router:admin router:gossip-tcp gateway:http gateway:admin gateway:gossip-tcp"},
		{"a gateway", gateway.host, "router:http router:admin router:gossip-tcp gateway:admin gateway:gossip-tcp"},
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var err error
	for _, f := range from {
		for kind, p := range to {
			for _, port := range []string{"http", "admin", "gossip-tcp"} {
				wg.Go(func() {
					want := strings.Contains(" "+f.open+" ", " "+kind+":"+port+" ")
					if got := t.reaches(f.host, p, port, want); got != want {
						mu.Lock()
						defer mu.Unlock()
						err = errors.Join(err, fmt.Errorf("%s reaches %s of a %s: %v, want %v", f.who, port, kind, got, want))
					}
				})
			}
		}
	}
	wg.Wait()
	admin := "http://" + to["gateway"].node().Admin
	for path, want := range map[string]int{"/metrics": http.StatusOK, "/ring": http.StatusUnauthorized} {
		if got, aerr := ask(t.ctx, t.w, prometheus.host, admin+path, nil); got != want {
			err = errors.Join(err, fmt.Errorf("monitoring gets %d for %s, want %d (%w)", got, path, want, aerr))
		}
	}
	return err
}

// reaches tries to connect: for long, when that should work.
func (t *kubeTrial) reaches(from *netlab.Host, to *pod, port string, want bool) bool {
	d := time.Second // a packet that is thrown away is not answered, however long one waits
	if want {
		d = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.ctx, d)
	defer cancel()
	c, err := dialFrom(ctx, t.w, from, "tcp", net.JoinHostPort(to.host.IP, strconv.Itoa(manifests.Port(to.spec, port))))
	if err == nil {
		c.Close()
	}
	return err == nil
}

func (t *kubeTrial) scale() error {
	return t.audience.unnoticed(t.ctx, func() error {
		for _, n := range []int{t.gateways.Replicas + 1, t.gateways.Replicas} {
			if err := t.kube.scale(t.ctx, t.gateways, n); err != nil {
				return err
			}
			if err := t.audience.more(t.ctx); err != nil {
				return err
			}
		}
		return t.agree()
	})
}

// busy is the gateway of a topic that clients follow.
func (t *kubeTrial) busy() (*pod, error) {
	r, err := testcluster.Do(t.ctx, http.MethodGet, "http://"+t.of(t.routers)[0].node().Admin+"/ring?topic="+topic(0), "", t.token())
	if err != nil {
		return nil, err
	}
	for _, p := range t.of(t.gateways) {
		if strings.Contains(r.Body, `"owner":"`+p.name+`"`) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no gateway owns %s: %s", topic(0), r.Body)
}

func (t *kubeTrial) kill() error {
	return t.audience.unnoticed(t.ctx, func() (err error) {
		if t.killed, err = t.busy(); err != nil {
			return err
		}
		t.killed.container().Kill()
		if err := t.audience.more(t.ctx); err != nil {
			return err
		}
		return t.back()
	})
}

// back waits until all gateways are ready and in every ring.
func (t *kubeTrial) back() error {
	if err := t.w.await(t.ctx, "all gateways are ready", func() error { return t.notReady(t.gateways) }); err != nil {
		return err
	}
	return t.agree()
}

func (t *kubeTrial) cut() error {
	return t.audience.unnoticed(t.ctx, func() error {
		p, err := t.busy()
		if err != nil {
			return err
		}
		if err := t.w.line(p.host, false); err != nil {
			return err
		}
		err = t.audience.more(t.ctx)
		if err == nil {
			err = t.w.await(t.ctx, p.name+" is seen not to be ready", func() error {
				if p.isReady() {
					return errors.New("it still is")
				}
				return nil
			})
		}
		if err := errors.Join(err, t.w.line(p.host, true)); err != nil {
			return err
		}
		return t.back()
	})
}

func (t *kubeTrial) restartRedis() error {
	return t.audience.unnoticed(t.ctx, func() error {
		if err := t.redis.restart(); err != nil {
			return err
		}
		return t.back()
	})
}

func (t *kubeTrial) rollGateways() error {
	return t.audience.unnoticed(t.ctx, func() error {
		if n := t.disruptions(t.gateways); n != 1 {
			return fmt.Errorf("%d gateways may be taken away while all are well, want 1", n)
		}
		if err := t.roll(t.ctx, t.gateways); err != nil {
			return err
		}
		return t.agree()
	})
}

func (t *kubeTrial) evictRouter() error {
	if n := t.disruptions(t.routers); n != 1 {
		return fmt.Errorf("%d routers may be taken away while all are well, want 1", n)
	}
	if err := t.remove(t.of(t.routers)[0]); err != nil {
		return err
	}
	if err := t.audience.more(t.ctx); err != nil {
		return err
	}
	return t.kube.scale(t.ctx, t.routers, t.routers.Replicas)
}

func (t *kubeTrial) rollRouters() error {
	if err := t.roll(t.ctx, t.routers); err != nil {
		return err
	}
	return t.audience.more(t.ctx)
}

func (t *kubeTrial) finish() error {
	err := t.audience.finish(t.ctx)
	for _, p := range t.all() {
		p.mu.Lock()
		if len(p.faults) > 0 || p.restarts > 0 && p != t.killed {
			err = errors.Join(err, fmt.Errorf("%s: %d restarts, %v", p.name, p.restarts, p.faults))
		}
		p.mu.Unlock()
	}
	return err
}
