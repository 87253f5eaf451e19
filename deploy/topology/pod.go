//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ringside-edge/ringside/deploy/manifests"
	"github.com/ringside-edge/ringside/internal/netlab"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// home is the namespace that the base is in.
const home = "ringside"

// pod is a pod with its one container, and its kubelet, which starts, asks, and stops it as the manifest says.
type pod struct {
	w         *world
	name      string
	namespace string
	labels    map[string]string
	spec      corev1.PodSpec
	host      *netlab.Host
	start     func() (*container, error)

	mu       sync.Mutex
	now      *container // guarded by mu, and so are all below
	ready    bool
	since    time.Time // when it became ready
	stopping bool
	restarts int      // of its container
	faults   []string // what a kubelet would have to report
	cancel   context.CancelFunc
	done     chan struct{}
}

// run starts the container, asks its probes, and starts it again when it ends, until stop.
func (p *pod) run() error {
	c, err := p.start()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.now, p.cancel, p.done = c, cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		var wg sync.WaitGroup
		defer wg.Wait()
		for _, ct := range p.spec.Containers {
			wg.Go(func() { p.probe(ctx, ct.ReadinessProbe, p.setReady) })
			wg.Go(func() { p.probe(ctx, ct.LivenessProbe, p.alive) })
		}
		p.keep(ctx)
	}()
	return nil
}

// keep starts the container again whenever it ends.
func (p *pod) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.container().Done():
		}
		p.setReady(false)
		p.mu.Lock()
		if !p.stopping && ctx.Err() == nil {
			p.restarts++
			if p.restarts > 3 {
				p.faults = append(p.faults, "its container ends again and again")
				p.mu.Unlock()
				return
			}
			c, err := p.start()
			if err != nil {
				p.faults = append(p.faults, err.Error())
				p.mu.Unlock()
				return
			}
			p.now = c
		}
		stopping := p.stopping
		p.mu.Unlock()
		if stopping {
			return
		}
	}
}

// probe asks as the manifest says, and tells every change for which there have been enough answers.
func (p *pod) probe(ctx context.Context, probe *corev1.Probe, tell func(ok bool)) {
	if probe == nil || probe.HTTPGet == nil {
		return
	}
	port := int(probe.HTTPGet.Port.IntVal)
	if port == 0 {
		port = manifests.Port(p.spec, probe.HTTPGet.Port.StrVal)
	}
	target := "http://" + net.JoinHostPort(p.host.IP, strconv.Itoa(port)) + probe.HTTPGet.Path
	every := time.Duration(max(1, probe.PeriodSeconds)) * time.Second // 10 by default, and nobody has left it at that
	tick := time.NewTicker(every)
	defer tick.Stop()
	for failures := 0; ; {
		actx, cancel := context.WithTimeout(ctx, time.Duration(max(1, probe.TimeoutSeconds))*time.Second)
		r, err := testcluster.Do(actx, http.MethodGet, target, "", nil)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && r.Status >= 200 && r.Status < 400:
			failures = 0
			tell(true)
		default:
			failures++
			if most := int(probe.FailureThreshold); failures >= max(1, most) && (most > 0 || failures >= 3) {
				failures = 0
				tell(false)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *pod) setReady(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok && (p.stopping || p.now.Exited()) {
		return
	}
	if ok && !p.ready {
		p.since = time.Now()
	}
	p.ready = ok
}

// alive ends a container that the liveness probe has given up; it is started again then.
func (p *pod) alive(ok bool) {
	if ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopping {
		p.faults = append(p.faults, "the liveness probe has given it up")
		_ = p.now.Signal(syscall.SIGKILL) // it may just have ended
	}
}

func (p *pod) container() *container {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *pod) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready && !p.stopping
}

// available reports whether it has been ready for so long.
func (p *pod) available(d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready && !p.stopping && time.Since(p.since) >= d
}

// node is what can be asked of the pod's admin port.
func (p *pod) node() *testcluster.Node {
	at := func(port string) string {
		return net.JoinHostPort(p.host.IP, strconv.Itoa(manifests.Port(p.spec, port)))
	}
	return &testcluster.Node{Process: p.container().Process, ID: p.name, Addr: at("http"), Admin: at("admin"), Gossip: at("gossip-tcp")}
}

// stop ends it as a kubelet does: it is no endpoint any more, preStop runs, then comes SIGTERM, and SIGKILL when the time is over. It
// returns what went wrong.
func (p *pod) stop() (problems []string) {
	p.mu.Lock()
	p.stopping, p.ready = true, false
	c := p.now
	p.mu.Unlock()
	grace := 30 * time.Second
	if g := p.spec.TerminationGracePeriodSeconds; g != nil {
		grace = time.Duration(*g) * time.Second
	}
	over := time.Now().Add(grace)
	for _, ct := range p.spec.Containers {
		if problem := p.preStop(c, ct.Lifecycle, grace); problem != "" {
			problems = append(problems, problem)
		}
	}
	_ = c.Signal(syscall.SIGTERM) // it may have ended
	code, err := c.Wait(time.Until(over))
	switch {
	case err != nil:
		problems = append(problems, fmt.Sprintf("it was killed after %v", grace))
		c.Kill()
	case code != 0:
		problems = append(problems, fmt.Sprintf("it ended with %d", code))
	}
	p.cancel()
	<-p.done
	return problems
}

// preStop runs the hook. The node may end with it, and it with the node.
func (p *pod) preStop(c *container, hooks *corev1.Lifecycle, grace time.Duration) string {
	if hooks == nil || hooks.PreStop == nil {
		return ""
	}
	hook := hooks.PreStop
	switch {
	case hook.Sleep != nil:
		select {
		case <-time.After(time.Duration(hook.Sleep.Seconds) * time.Second):
		case <-c.Done():
			return "it ended in its preStop"
		}
	case hook.Exec != nil:
		started := time.Now()
		run, err := c.exec(p.w.lab, p.name+": preStop", hook.Exec.Command...)
		if err != nil {
			return err.Error()
		}
		code, err := run.Wait(grace)
		if code < 0 { // it was killed with the container's processes: those are about to be gone
			_, _ = c.Wait(5 * time.Second)
		}
		said := strings.TrimSpace(run.Log())
		p.w.say("%s: preStop ended after %.1f s with %d: %s", p.name, time.Since(started).Seconds(), code, strings.ReplaceAll(said, "\n", "; "))
		if err != nil || (code != 0 && !c.Exited()) {
			return fmt.Sprintf("preStop ended with %d while the node runs on: %v %s", code, err, said)
		}
		if !strings.Contains(said, "drains") {
			return "preStop did not drain: " + said
		}
	}
	return ""
}
