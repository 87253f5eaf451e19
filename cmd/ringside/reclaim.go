package main

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	reclaimEvery = 5 * time.Second
	// A storm is when this many sessions more come or go between two looks; it is over when there are no more than a tenth.
	reclaimStorm = 500
)

// reclaim gives memory back to the system when many sessions have come or gone and it is quiet again: what their handshakes
// needed is garbage then, of which Go's collector would keep as much as there are sessions, for the next storm.
func (c *core) reclaim(ctx context.Context) error {
	tick := time.NewTicker(reclaimEvery)
	defer tick.Stop()
	var s storm
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if s.over(c.server.Sessions()) {
				debug.FreeOSMemory()
			}
		}
	}
}

// storm notices the ends of storms.
type storm struct {
	sessions uint64 // at the last look
	raging   bool
}

// over takes the number of sessions at a look and reports whether a storm has just ended.
func (s *storm) over(sessions uint64) bool {
	moved := max(sessions, s.sessions) - min(sessions, s.sessions)
	s.sessions = sessions
	switch {
	case moved >= reclaimStorm:
		s.raging = true
	case s.raging && moved <= reclaimStorm/10:
		s.raging = false
		return true
	}
	return false
}
