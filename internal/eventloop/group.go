package eventloop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Group is a fixed set of loops that share the connections of one role.
type Group struct {
	loops []*Loop
	next  atomic.Uint32
}

// NewGroup makes n loops.
func NewGroup(n int, cfg Config) (*Group, error) {
	if n < 1 {
		return nil, fmt.Errorf("cannot make %d event loops: at least one is needed", n)
	}
	g := &Group{}
	for range n {
		l, err := New(cfg)
		if err != nil {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			return nil, errors.Join(err, g.Run(ended))
		}
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// Run runs all loops until ctx ends and waits for them.
func (g *Group) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(g.loops))
	for i, l := range g.loops {
		wg.Go(func() { errs[i] = l.Run(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Next is the loop whose turn it is to take a connection. Safe for concurrent use.
func (g *Group) Next() *Loop { return g.loops[int(g.next.Add(1)-1)%len(g.loops)] }

// Batching reports whether all loops write to many with one system call; else err says why not.
func (g *Group) Batching() (is bool, err error) {
	for _, l := range g.loops {
		if is, err = l.Batching(); !is {
			break
		}
	}
	return is, err
}

// Loops are all loops, in a fixed order; the slice is shared and must not be changed.
func (g *Group) Loops() []*Loop { return g.loops }
