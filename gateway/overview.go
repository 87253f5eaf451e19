package gateway

import (
	export "github.com/ringside-edge/ringside/internal/metrics"
	topics "github.com/ringside-edge/ringside/internal/topic"
)

// Overview is what there is to know of a gateway at a glance. Counts are since its start.
type Overview struct {
	Sessions, Limit  uint64 // sessions, those that routers serve from feeds of this gateway included, and not the feeds; places
	Blocked, Leaving uint64 // sessions whose socket takes nothing; those that were told to go and have not
	Topics           int64  // with a session, or lately
	StaleSlots       int64
	MissingTails     int
	LogBytes         int64
	LogLimit         int64

	Opened, Resumed, Closed uint64 // sessions; closed are not those that went on at another gateway
	Delivered, Sent         uint64 // messages and bytes handed to sockets
	Gaps                    uint64
	Refused                 map[string]uint64 // handshakes by reason, those that there were
	Delivery                export.Histogram  // from the entry in the stream to the socket
}

// Overview is that of now. Safe for concurrent use.
func (g *Gateway) Overview() Overview {
	m, sum := g.metrics, g.sum()
	o := Overview{
		Sessions: g.Sessions() + sum.shared.Load() - min(g.Sessions(), sum.feeds.Load()), Limit: uint64(g.cfg.MaxSessions), Blocked: sum.full.Load(), Leaving: sum.leaving.Load(),
		Topics: g.topicCount.Load(), StaleSlots: g.staleSlots.Load(), MissingTails: g.tails.missingNow(),
		LogBytes: g.logBytes.Load(), LogLimit: int64(g.cfg.LogTotalBytes),
		Delivered: sum.messages.Load(), Sent: sum.bytesOut.Load(),
		Refused: export.ByLabel(m.refused), Delivery: export.ReadHistogram(m.latency),
	}
	for i := range m.opened {
		o.Opened += m.opened[i].Load()
		o.Resumed += m.goneOn[i].Load()
	}
	for r := range closeReasons {
		if r != closeMoved && r != closeParked { // it goes on
			o.Closed += m.closed[r].Load()
		}
	}
	for i := range m.gaps {
		o.Gaps += m.gaps[i].Load()
	}
	return o
}

// SlotTail is a tailed slot.
type SlotTail struct {
	Slot int
	Tail
}

// Tails are the slots that are worth a look: those that are read for the shard, and those that are stale, by slot. Safe for
// concurrent use.
func (g *Gateway) Tails() (list []SlotTail) {
	for n := range topics.Slots {
		if t, ok := g.Tail(n); ok && (t.Owned || t.Stale) {
			list = append(list, SlotTail{n, t})
		}
	}
	return list
}
