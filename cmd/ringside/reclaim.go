package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	reclaimEvery = time.Second
	// A storm is when so many bytes are allocated between two looks: a session takes about 5 KB until it stands. It is over when it was
	// no more than half as much for so many looks in a row.
	reclaimStorm = 4 << 20
	reclaimQuiet = 15
)

// How much garbage Go's collector lets come up, in percent of what is in use: where sessions only listen next to none does, so that half as
// much costs nothing, and makes a session a quarter smaller; in a storm the processors are for the handshakes.
const (
	garbageQuiet = 50
	garbageStorm = 100
)

// collect sets that, unless GOGC in the environment does.
func collect(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// reclaim gives memory back to the system when much has been allocated and it is quiet again, as behind many handshakes: what they needed is
// garbage then, of which Go's collector would keep as much as there are sessions, for the next storm.
func (c *core) reclaim(ctx context.Context) error {
	tick := time.NewTicker(reclaimEvery)
	defer tick.Stop()
	s := storm{allocated: allocated()}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			switch s.look(allocated()) {
			case stormBegins:
				collect(garbageStorm)
			case stormEnds:
				collect(garbageQuiet)
				debug.FreeOSMemory()
			}
		}
	}
}

// allocated is how many bytes have been allocated since the program began.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// storm notices storms. It begins as one: a program that begins allocates.
type storm struct {
	allocated uint64 // at the last look
	quiet     int    // looks in a row
}

// change is what a look has found.
type change uint8

const (
	stormGoesOn change = iota // or the quiet
	stormBegins
	stormEnds
)

// look takes what has been allocated so far.
func (s *storm) look(allocated uint64) change {
	n := allocated - s.allocated
	s.allocated = allocated
	was := s.quiet
	switch {
	case n >= reclaimStorm:
		s.quiet = 0
		if was >= reclaimQuiet {
			return stormBegins
		}
	case was >= reclaimQuiet:
	case n > reclaimStorm/2:
		s.quiet = 0
	default:
		if s.quiet++; s.quiet == reclaimQuiet {
			return stormEnds
		}
	}
	return stormGoesOn
}
