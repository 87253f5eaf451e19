package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// How long a node may take to do what it is told, before it is taken to hang: it is no measurement, and a busy machine takes its time.
const (
	drainLimit    = drainWindow + time.Minute
	takeoverLimit = time.Minute
)

// faults makes the faults of the schedule at their times and waits until all are over and repaired.
func (r *run) faults(ctx context.Context) {
	var wg sync.WaitGroup
	began := time.Now()
	r.mu.Lock()
	r.began = began.Sub(r.start)
	r.mu.Unlock()
	for _, s := range r.steps {
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(began.Add(s.At))):
			wg.Go(func() { r.fault(ctx, s) })
		}
	}
	wg.Wait()
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(began.Add(r.o.duration))):
	}
	if late := time.Since(began) - r.o.duration; late > time.Second {
		say("the faults took %.1f s longer than planned", late.Seconds())
	}
}

// fault makes one fault and repairs it.
func (r *run) fault(ctx context.Context, s step) {
	var p *place
	if s.Target != "" && s.Fault != faultJoin {
		p = r.cluster.place(s.Target)
		if s.Fault != faultCut {
			p.fault.Lock() // an earlier fault of it may not be repaired yet
			defer p.fault.Unlock()
		}
	}
	if why := r.impossible(s); why != "" {
		say("skipped: %s: %s", s.Fault, why)
		r.mu.Lock()
		r.skipped[s.Fault] = why
		r.mu.Unlock()
		return
	}
	say("%v", s)
	if err := r.make(ctx, s, p); err != nil && ctx.Err() == nil {
		r.violate(badExit, "%s %s: %v", s.Fault, s.Target, err)
	}
	r.mu.Lock()
	r.done[s.Fault]++
	show.faults.Add(1)
	r.mu.Unlock()
}

// impossible says why a fault can't be made on this machine; empty when it can.
func (r *run) impossible(s step) string {
	if s.Fault == faultCut || s.Fault == faultSplit || s.Fault == faultTakeover {
		return r.cluster.stage.why
	}
	return ""
}

func (r *run) make(ctx context.Context, s step, p *place) error {
	switch s.Fault {
	case faultKill, faultRouter:
		r.cluster.kill(p)
		wait(ctx, s.For)
		return r.cluster.start(ctx, p)
	case faultTerm:
		return r.drain(ctx, s, p, func() error { return p.signal(syscall.SIGTERM) })
	case faultDrain:
		return r.drain(ctx, s, p, func() error { return r.askDrain(ctx, p) })
	case faultStop:
		return r.stop(ctx, s, p)
	case faultJoin:
		return r.join(ctx, s)
	case faultTakeover:
		return r.takeover(ctx, p)
	case faultCut:
		return r.cut(ctx, s, p)
	case faultSplit:
		return r.split(ctx, s)
	case faultSlow:
		r.slow(ctx, s)
		return nil
	}
	if ofRedis(s.Fault) {
		return r.failRedis(ctx, s)
	}
	return fmt.Errorf("BUG: nobody makes %q", s.Fault)
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drain tells a gateway to go, waits until it has exited with 0, and starts it again.
func (r *run) drain(ctx context.Context, s step, p *place, tell func() error) error {
	if err := r.leave(p, tell); err != nil {
		return err
	}
	wait(ctx, s.For)
	return r.cluster.start(ctx, p)
}

// leave tells a gateway to go and waits until it has exited with 0.
func (r *run) leave(p *place, tell func() error) error {
	i := p.live()
	if i == nil {
		return errors.New("it does not run")
	}
	i.leaving.Store(true)
	r.cluster.touched()
	defer r.cluster.touched()
	began := time.Now()
	err := tell()
	code, late := i.Wait(drainLimit)
	if late != nil {
		r.cluster.kill(p)
		return errors.Join(err, late)
	}
	if code != 0 {
		return fmt.Errorf("it exited with %d after a drain: %s", code, i.LogTail(5))
	}
	say("%s has drained in %.1f s", p.name, time.Since(began).Seconds())
	return err
}

// askDrain runs `ringside drain` against a router that runs. A router may die while it is asked: then the next is.
func (r *run) askDrain(ctx context.Context, p *place) error {
	var errs []error
	for try := 0; try < 5 && ctx.Err() == nil; try++ {
		for _, q := range r.cluster.list(testcluster.Router) {
			i := q.live()
			if i == nil {
				continue
			}
			cmd, err := testcluster.StartProcess("drain", r.o.bin, "drain", "--no-wait", "--of", "http://"+i.Admin, p.name)
			if err != nil {
				return err
			}
			code, err := cmd.Wait(startLimit)
			if err == nil && code == 0 {
				return nil
			}
			cmd.Kill()
			errs = append(errs, fmt.Errorf("drain by way of %s: exit code %d, %w: %s", q.name, code, err, cmd.LogTail(3)))
		}
		wait(ctx, retryWait)
	}
	return errors.Join(errs...)
}

func (r *run) stop(ctx context.Context, s step, p *place) error {
	i := p.live()
	if i == nil {
		return errors.New("it does not run")
	}
	i.paused.Store(true)
	if err := i.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	r.cluster.touched()
	wait(ctx, s.For)
	err := i.Signal(syscall.SIGCONT)
	i.paused.Store(false)
	r.cluster.touched()
	return err
}

// join adds a gateway and takes it away again later.
func (r *run) join(ctx context.Context, s step) error {
	p, err := r.cluster.add(testcluster.Gateway, s.Target)
	if err != nil {
		return err
	}
	p.fault.Lock()
	defer p.fault.Unlock()
	if err := r.cluster.start(ctx, p); err != nil {
		return err
	}
	wait(ctx, s.For)
	return r.leave(p, func() error { return p.signal(syscall.SIGTERM) })
}

// cut lets nothing pass between a router and a gateway for a while.
func (r *run) cut(ctx context.Context, s step, p *place) error {
	q := r.cluster.place(s.Other)
	if err := r.cluster.stage.cut(p.host, q.host, false); err != nil {
		return err
	}
	r.cluster.touched()
	wait(ctx, s.For)
	defer r.cluster.touched()
	return r.cluster.stage.heal(p.host, q.host, false)
}

// split lets no gossip pass between two halves of the cluster: every other node is in one. A node that joins meanwhile is
// in neither.
func (r *run) split(ctx context.Context, s step) error {
	var halves [2][]*place
	for _, role := range []string{testcluster.Router, testcluster.Gateway} {
		for i, p := range r.cluster.list(role) {
			halves[i%2] = append(halves[i%2], p)
		}
	}
	r.watch.split(true)
	defer r.watch.split(false)
	defer r.cluster.touched()
	each := func(do func(a, b *host, gossip bool) error) error {
		var errs []error
		for _, a := range halves[0] {
			for _, b := range halves[1] {
				errs = append(errs, do(a.host, b.host, true))
			}
		}
		return errors.Join(errs...)
	}
	err := each(r.cluster.stage.cut)
	wait(ctx, s.For)
	return errors.Join(err, each(r.cluster.stage.heal))
}

// slow has clients stop reading while two topics get more than a log holds.
func (r *run) slow(ctx context.Context, s step) {
	r.crowd.stall(s.For)
	var wg sync.WaitGroup
	for _, topic := range r.topics[:floodTopics] {
		wg.Go(func() { r.press.flood(ctx, topic, s.For*3/4) })
	}
	wg.Wait()
}

// takeover asks a router to hand its clients over to a process that it starts itself, and waits until that is so. The
// successor is no child of ours: from then on it is known by its number alone.
func (r *run) takeover(ctx context.Context, p *place) error {
	i := p.live()
	if i == nil {
		return errors.New("it does not run")
	}
	return r.succeed(ctx, i)
}
