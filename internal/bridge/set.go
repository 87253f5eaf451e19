package bridge

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/internal/eventloop"
)

// Side says whose connections are carried.
type Side uint8

// Connections of clients, and legs between routers and gateways.
const (
	Client Side = iota
	Leg
	sides
)

func (s Side) String() string { return [sides]string{"client", "leg"}[s] }

// endReason says why a bridge ended.
type endReason uint8

const (
	endPeer     endReason = iota // the peer closed, or reset
	endSession                   // the session that it was carried for closed
	endStalled                   // the peer took nothing for too long
	endGone                      // the peer acknowledged nothing any more
	endBroken                    // what came was no TLS of the peer's
	endShutdown                  // the process ends
	endReasons
)

func (r endReason) String() string {
	return [endReasons]string{"peer", "session", "stalled", "gone", "broken", "shutdown"}[r]
}

// Descriptors are what a bridged connection has more than one that is not: the other end of the local stream, and its own.
const Descriptors = 2

// Config is how connections are looked after. Zero: never.
type Config struct {
	WriteTimeout time.Duration // how long a peer may take nothing
	AckTimeout   time.Duration // how long it may acknowledge nothing of what it was sent
	KeepAlive    time.Duration // TCP keep-alive
}

// Set are the bridges of a process. Its methods are safe for concurrent use.
type Set struct {
	cfg Config

	mu     sync.Mutex
	open   map[*bridge]struct{} // guarded by mu
	seq    int                  // of the last bridge; guarded by mu
	closed bool                 // guarded by mu
	wg     sync.WaitGroup       // added to under mu, and not once closed

	count [sides]atomic.Int64
	ended [sides][endReasons]atomic.Uint64
	hands [sides][outcomes]atomic.Uint64
}

// NewSet makes a set without bridges. Run looks after them.
func NewSet(cfg Config) *Set { return &Set{cfg: cfg, open: make(map[*bridge]struct{})} }

// Add bridges c, whose handshake over w is done, and returns the descriptor that is it from now on, non-blocking and
// close-on-exec; it is the caller's. c and w are the set's. On an error they are closed.
func (s *Set) Add(side Side, c *tls.Conn, w *Wire) (fd int, err error) {
	defer func() {
		if err != nil {
			w.Conn.Close()
		}
	}()
	fd, near, err := eventloop.Pair(streamBuffer)
	if err != nil {
		return -1, err
	}
	raw, err := near.SyscallConn()
	if err == nil {
		err = w.SetDeadline(time.Time{})
	}
	if err != nil {
		eventloop.CloseFD(fd)
		near.Close()
		return -1, fmt.Errorf("cannot bridge a TLS connection: %w", err)
	}
	if sc, ok := w.Conn.(syscall.Conn); ok {
		_ = eventloop.SetConnOptions(sc, eventloop.SocketOptions{KeepAlive: s.cfg.KeepAlive}) // or its peer is gone already
	}
	w.stall, w.watch = s.cfg.WriteTimeout, nil
	b := &bridge{set: s, side: side, wire: w, tls: c, near: near, raw: raw, upDone: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		eventloop.CloseFD(fd)
		near.Close()
		return -1, fmt.Errorf("cannot bridge a TLS connection: %w", context.Canceled)
	}
	s.seq++
	b.seq = s.seq
	s.open[b] = struct{}{}
	s.count[side].Add(1)
	s.wg.Add(2)
	go func() { defer s.wg.Done(); b.up() }()
	go func() { defer s.wg.Done(); b.down() }()
	return fd, nil
}

func (s *Set) remove(b *bridge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, b)
	s.count[b.side].Add(-1)
}

// Len is how many connections of a side are carried.
func (s *Set) Len(side Side) int { return int(s.count[side].Load()) }

// A sweep looks at every connection once in sweepTurns times sweepEvery.
const (
	sweepEvery = time.Second
	sweepTurns = 4
)

// Run looks after the connections until ctx ends, and then closes those that are left. It returns nil when none is.
func (s *Set) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			s.closed = true
			s.mu.Unlock()
			s.flush()
			for _, b := range s.list() {
				b.end(endShutdown)
			}
			s.wg.Wait()
			return nil
		case now := <-tick.C:
			for _, b := range s.list() {
				if (b.seq+turn)%sweepTurns == 0 {
					s.sweep(b, now)
				}
			}
		}
	}
}

// flushTime is what bridges get at the end to say what their sessions, which are closed, have said last.
const flushTime = time.Second

// flush waits a moment for the bridges that are about to end by themselves.
func (s *Set) flush() {
	over := time.After(flushTime)
	tick := time.NewTicker(goneEvery / 10)
	defer tick.Stop()
	for {
		ending := false
		for _, b := range s.list() {
			ending = ending || eventloop.PeerGone(b.near)
		}
		if !ending {
			return
		}
		select {
		case <-over:
			return
		case <-tick.C:
		}
	}
}

func (s *Set) list() []*bridge {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*bridge, 0, len(s.open))
	for b := range s.open {
		list = append(list, b)
	}
	return list
}

// sweep ends a bridge whose peer is gone without a word, or that nobody is at the other end of while its peer takes the rest
// in driblets.
func (s *Set) sweep(b *bridge, now time.Time) {
	if sc, ok := b.wire.Conn.(syscall.Conn); ok && s.cfg.AckTimeout > 0 && b.debt.Unanswered(sc, now) > s.cfg.AckTimeout {
		b.end(endGone)
		return
	}
	switch {
	case !eventloop.PeerGone(b.near):
	case b.left.IsZero():
		b.left = now
	case s.cfg.WriteTimeout > 0 && now.Sub(b.left) > s.cfg.WriteTimeout:
		b.end(endStalled)
	}
}

//nolint:gochecknoglobals // descriptors are constants in all but name
var (
	descOpen  = prometheus.NewDesc("ringside_bridge_connections", "TLS connections that are carried for sessions, by whose they are.", []string{"side"}, nil)
	descHands = prometheus.NewDesc("ringside_bridge_handshakes_total", "TLS handshakes, by whose they were and how they went.", []string{"side", "outcome"}, nil)
	descEnded = prometheus.NewDesc("ringside_bridge_ended_total", "TLS connections that are carried no more, by whose they were and why.", []string{"side", "reason"}, nil)
)

// Describe implements prometheus.Collector.
func (s *Set) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, ch) }

// Collect implements prometheus.Collector.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	for side := range sides {
		ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(s.Len(side)), side.String())
		for o := range outcomes {
			ch <- prometheus.MustNewConstMetric(descHands, prometheus.CounterValue, float64(s.hands[side][o].Load()), side.String(), o.String())
		}
		for reason := range endReasons {
			ch <- prometheus.MustNewConstMetric(descEnded, prometheus.CounterValue, float64(s.ended[side][reason].Load()), side.String(), reason.String())
		}
	}
}
