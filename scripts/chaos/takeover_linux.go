package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attr makes the kernel end the child when we die.
func attr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// succeed asks a router to start its successor and give everything to it, waits until it has ended, and puts the
// successor in its place.
func (r *run) succeed(ctx context.Context, i *instance) error {
	i.leaving.Store(true)
	if err := i.Signal(syscall.SIGUSR2); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, takeoverLimit)
	defer cancel()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	successor := 0
	for !i.Exited() {
		select {
		case <-ctx.Done():
			i.leaving.Store(false)
			return fmt.Errorf("it has not given way after %v (successor: process %d): %s", takeoverLimit, successor, i.LogTail(5))
		case <-tick.C:
		}
		if pid := childOf(i.pid); pid != 0 {
			successor = pid
		}
	}
	r.cluster.touched()
	if i.code != 0 || successor == 0 {
		return fmt.Errorf("it ended with %d, and its successor is process %d: %s", i.code, successor, i.LogTail(5))
	}
	next := &instance{Node: i.Node, process: adopt(i.process, successor), place: i.place}
	next.ready.Store(true)
	i.next.Store(next)
	r.cluster.born(next)
	say("%s has given way in %.2f s", i.place.name, time.Since(began).Seconds())
	return nil
}

// adopt takes a process that the ended one has started as our own: we are the first process of our namespace, to which
// the kernel gives orphans.
func adopt(old *process, pid int) *process {
	p := &process{name: old.name, log: old.log, pid: pid, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.code = -1
		var status unix.WaitStatus
		for {
			_, err := unix.Wait4(pid, &status, 0, nil)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil && status.Exited() {
				p.code = status.ExitStatus()
			}
			return
		}
	}()
	return p
}

// childOf is a child of a process; 0 when it has none.
func childOf(parent int) int {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		_, rest, _ := strings.Cut(string(b), ") ") // the name in parentheses may have spaces
		f := strings.Fields(rest)
		if len(f) < 2 || f[1] != strconv.Itoa(parent) || f[0] == "Z" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			return pid
		}
	}
	return 0
}
