package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/eventloop"
)

// Orders that a worker process takes, one JSON object per line.
const (
	cmdOpen     = "open"     // open Sessions subscribers and wait for all handshakes
	cmdReset    = "reset"    // forget what was counted
	cmdStats    = "stats"    // tell what was counted
	cmdKeep     = "keep"     // forget what was counted, and keep a receipt of every frame from now on
	cmdReceipts = "receipts" // hand the receipts over
	cmdClose    = "close"    // close all subscribers
)

// order is a line to a worker.
type order struct {
	Cmd      string   `json:"cmd"`
	Addr     string   `json:"addr,omitempty"`
	Topics   []string `json:"topics,omitempty"` // session number i follows the one at i modulo their number
	Sessions int      `json:"sessions,omitempty"`
	First    int      `json:"first,omitempty"` // number of the first session, for its source address and its topic
}

// report is the line that answers an order.
type report struct {
	Error    string        `json:"error,omitempty"`
	Sessions int           `json:"sessions"`
	Lost     int64         `json:"lost"`          // sessions that the server closed
	Frames   int64         `json:"frames"`        // of all sessions
	Least    int64         `json:"least"`         // frames of the session that got the fewest
	Most     int64         `json:"most"`          // and of the one that got the most
	Latency  *hdr.Snapshot `json:"hdr,omitempty"` // microseconds from publish to receipt
	Receipts []byte        `json:"receipts,omitempty"`
}

// Latencies are kept in microseconds, up to a minute, with three digits.
const (
	latencyMax    = 60_000_000
	latencyDigits = 3
)

// receiptRoom is laid out for receipts at once, in bytes, so that the loop is not held up while they are copied: a million.
const receiptRoom = 16 << 20

// dialers is how many handshakes are under way at once.
const dialers = 64

// worker is a load-generating process: it opens subscribers on one event loop and counts what they get.
type worker struct {
	loop *eventloop.Loop
	lost atomic.Int64

	// Owned by the loop.
	sessions []*session
	latency  *hdr.Histogram
	keep     bool   // a receipt of every frame
	receipts []byte // packed
}

// runWorker works off orders until in ends.
func runWorker(in io.Reader, out io.Writer) error {
	loop, err := eventloop.New(eventloop.Config{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = loop.Run(ctx) }) // returns nil always
	defer wg.Wait()
	defer cancel()
	w := &worker{loop: loop, latency: hdr.New(1, latencyMax, latencyDigits)}
	enc := json.NewEncoder(out)
	for sc := bufio.NewScanner(in); sc.Scan(); {
		var o order
		if err := json.Unmarshal(sc.Bytes(), &o); err != nil {
			return fmt.Errorf("cannot read the order: %w", err)
		}
		if err := enc.Encode(w.obey(o)); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) obey(o order) (r report) {
	var err error
	switch o.Cmd {
	case cmdOpen:
		err = w.open(o)
	case cmdReset:
		w.on(w.reset)
	case cmdKeep:
		w.on(func() { w.reset(); w.keep, w.receipts = true, make([]byte, 0, receiptRoom) })
	case cmdStats, cmdReceipts:
	case cmdClose:
		w.on(w.close)
	default:
		err = fmt.Errorf("an unknown order %q", o.Cmd)
	}
	w.on(func() { r = w.count(o.Cmd) })
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// on runs f on the loop and waits for it.
func (w *worker) on(f func()) {
	done := make(chan struct{})
	if w.loop.Post(eventloop.NoteFunc(func() { f(); close(done) })) {
		<-done
	}
}

// frame counts a data frame; on the loop.
func (w *worker) frame(payload []byte, now int64) {
	if at, ok := stamp(payload); ok {
		us := min(max((now-at)/1000, 1), latencyMax)
		_ = w.latency.RecordValue(us) // it is in range
		if w.keep {
			w.receipts = receipt{at, now}.pack(w.receipts)
		}
	}
}

func (w *worker) reset() {
	w.latency.Reset()
	w.keep, w.receipts = false, nil
	for _, s := range w.sessions {
		s.frames = 0
	}
}

func (w *worker) close() {
	for _, s := range w.sessions {
		s.conn.Close()
	}
	w.sessions = nil
	w.reset()
	w.lost.Store(0)
}

func (w *worker) count(cmd string) report {
	r := report{Sessions: len(w.sessions), Lost: w.lost.Load(), Least: math.MaxInt64}
	for _, s := range w.sessions {
		r.Frames += s.frames
		r.Least = min(r.Least, s.frames)
		r.Most = max(r.Most, s.frames)
	}
	if len(w.sessions) == 0 {
		r.Least = 0
	}
	switch cmd {
	case cmdStats:
		r.Latency = w.latency.Export()
	case cmdReceipts:
		r.Receipts = w.receipts
	}
	return r
}

// open opens all sessions and waits for them; it stops at the first error.
func (w *worker) open(o order) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	numbers := make(chan int)
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for i := range numbers {
				if err := w.openOne(ctx, o, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < o.Sessions && ctx.Err() == nil; i++ {
		numbers <- o.First + i
	}
	close(numbers)
	wg.Wait()
	return context.Cause(ctx)
}

// sessionsPerSource is how many sessions share a source address.
const sessionsPerSource = 16

// source is a session's own address: spread over 127.0.0.0/8, so that no limit by address and no lack of
// ports gets in the way.
func source(i int) net.IP {
	i /= sessionsPerSource
	return net.IPv4(127, 1+byte(i/(250*250)), byte(i/250%250), 1+byte(i%250))
}

func (w *worker) openOne(ctx context.Context, o order, i int) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: source(i)}, Timeout: 10 * time.Second}
	c, err := d.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c, "GET /t/%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"Sec-WebSocket-Protocol: ringside.raw\r\n\r\n", o.Topics[i%len(o.Topics)], o.Addr)
	if err != nil {
		c.Close()
		return err
	}
	fd, err := eventloop.Detach(c)
	c.Close()
	if err != nil {
		return err
	}
	s := &session{worker: w, ready: make(chan error, 1)}
	w.on(func() {
		if err := w.loop.Add(&s.conn, fd, s); err != nil {
			s.ready <- err
			return
		}
		w.sessions = append(w.sessions, s)
	})
	select {
	case err := <-s.ready:
		return err
	case <-time.After(20 * time.Second):
		return fmt.Errorf("session %d: no answer to the handshake", i)
	}
}
