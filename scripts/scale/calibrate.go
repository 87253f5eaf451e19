package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

const (
	calibrateClients = 3000 // below the backlog, so that none of them has to ask for a connection again
	calibrateRounds  = 3    // of which the median counts
	socketsOf        = 4    // of a session on one machine: the client's, two of the router's, the gateway's
	backlog          = 4096 // connections that wait to be accepted
)

// calibrate measures by a real cluster on this machine what a session costs to be opened and to be refused: how long it takes until
// all of a crowd that comes in one moment have their answer. The clients' own work is in it: it lives of the same processors, also in
// the storms that are simulated with it.
//
// socket is what an idle TCP socket costs in the kernel, bytes.
func calibrate(ctx context.Context) (h host, socket float64, err error) {
	h.Backlog, h.Cores = backlog, runtime.NumCPU()
	if h.Handshake, socket, err = calibrateOn(ctx, false); err != nil {
		return h, 0, err
	}
	h.Refusal, _, err = calibrateOn(ctx, true)
	return h, socket, err
}

// calibrateOn has crowds come to a cluster that lets everybody in, or nobody.
func calibrateOn(ctx context.Context, refuses bool) (took time.Duration, socket float64, err error) {
	flags := []string{"--per-ip-rate", "0", "--handshakes", "0", "--accept-lag", "0"}
	if refuses {
		flags = append(flags, "--max-sessions", "1")
	}
	var each []time.Duration
	var sockets []float64
	err = onStage(ctx, flags, func(router string) error {
		if refuses { // the one that is let in
			spec, err := crowdSpec(router)
			if err != nil {
				return err
			}
			first, err := load.NewFleet(1, load.Inside)
			if err != nil {
				return err
			}
			defer first.Stop() //nolint:errcheck // it is in this process
			if err := first.Open(ctx, spec, 1); err != nil {
				return err
			}
		}
		for range calibrateRounds {
			took, slab, err := allAtOnce(ctx, router, calibrateClients, !refuses)
			if err != nil {
				return err
			}
			each, sockets = append(each, took/calibrateClients), append(sockets, slab/(calibrateClients*socketsOf))
			if err := pause(ctx, 3*time.Second); err != nil { // until they are gone
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	slices.Sort(each)
	slices.Sort(sockets)
	return each[len(each)/2], sockets[len(sockets)/2], nil
}

// allAtOnce has n clients ask once, and returns how long it took until the last one had its answer, and by how many bytes the kernel's
// slab has grown. It fails when an answer is another than was expected.
func allAtOnce(ctx context.Context, router string, n int, want bool) (took time.Duration, grown float64, err error) {
	spec, err := crowdSpec(router)
	if err != nil {
		return 0, 0, err
	}
	spec.Patience = time.Minute
	err = withFleet(n, func(f *load.Fleet) error {
		before, err := slab()
		if err != nil {
			return err
		}
		if err := f.Begin(spec, n); err != nil {
			return err
		}
		t, err := f.Settle(ctx, nil)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		took = t.Last
		if open := map[bool]int{true: n}[want]; t.Open != open || t.Attempts().Refused != n-open {
			return fmt.Errorf("let in: got %d, want %d; %s", t.Open, open, load.Reasons(t.Reasons))
		}
		after, err := slab()
		grown = after - before
		return err
	})
	return took, grown, err
}

// slab is what the kernel has in its slabs, bytes.
func slab() (float64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "\nSlab:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("/proc/meminfo says nothing of slabs: %w", err)
	}
	return kib * 1024, nil
}

// onStage runs f beside a cluster of a router with these flags and two gateways.
func onStage(ctx context.Context, flags []string, f func(router string) error) error {
	dir, err := os.MkdirTemp("", "ringside-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := testcluster.Build(dir, false)
	if err != nil {
		return err
	}
	s, router, err := newStage(ctx, binary, dir, flags)
	if err != nil {
		return err
	}
	err = f(router.Addr)
	s.End(err)
	return err
}
