package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os/signal"
	"sync"
	"syscall"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/wsframe"
)

// Orders that a worker takes, one JSON object per line.
const (
	cmdOpen     = "open"     // begin to open so many further sessions
	cmdStats    = "stats"    // tell what was counted
	cmdReset    = "reset"    // forget what was counted; count this run from now on
	cmdCut      = "cut"      // end all connections, which come back
	cmdSend     = "send"     // have all sessions send a text, and measure when what is expected comes
	cmdReceipts = "receipts" // hand the receipts over
	cmdClose    = "close"    // end all sessions
)

// order is a line to a worker.
type order struct {
	Cmd      string        `json:"cmd"`
	Spec     *Spec         `json:"spec,omitempty"`
	Sessions int           `json:"sessions,omitempty"`
	First    int           `json:"first,omitempty"` // number of the first session
	Run      string        `json:"run,omitempty"`
	Keep     bool          `json:"keep,omitempty"`  // a receipt of every message from now on
	Began    int64         `json:"began,omitempty"` // when the order was given, ns since 1970
	Spread   time.Duration `json:"spread,omitempty"`
	Back     Back          `json:"back,omitempty"`
	Retry    time.Duration `json:"retry,omitempty"`
	Text     string        `json:"text,omitempty"`
	Expect   string        `json:"expect,omitempty"`
	Hists    bool          `json:"hists,omitempty"` // with stats: the histograms too
	Interval bool          `json:"interval,omitempty"`
	Topics   bool          `json:"topics,omitempty"` // with stats: how many follow each topic
	Ends     []uint32      `json:"ends,omitempty"`   // with stats: number of the last message of each topic
}

// worker is a process of subscribers, or a part of one in tests.
type worker struct {
	loop *eventloop.Loop
	wg   sync.WaitGroup // of what opens sessions

	// Owned by the loop.
	sessions               []*session
	stopped                bool // nothing comes back any more
	open, settled          int
	lost                   int64
	reasons                map[string]int64
	began                  int64         // when the last order to open or to cut was given
	last                   time.Duration // from then to the last outcome
	slices                 []Slice       // since then
	prefix                 []byte        // of the run's marks; nil before the first
	bytes                  int64
	latency, connect, back *hdr.Histogram
	interval               *hdr.Histogram
	keep                   bool
	receipts               []byte // packed
	echo                   string // what answers to the last send
	asked                  int64
	echoes                 *hdr.Histogram
	stop                   context.CancelFunc // of what opens sessions
}

// RunWorker works off orders until in ends. It is the process that [Spawn] starts.
func RunWorker(in io.Reader, out io.Writer) error {
	signal.Ignore(syscall.SIGINT) // a terminal sends it to everybody: the one who gives orders ends us
	eventloop.RaiseDescriptorLimit()
	return work(in, out)
}

func work(in io.Reader, out io.Writer) error {
	loop, err := eventloop.New(eventloop.Config{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = loop.Run(ctx) }) // returns nil always
	defer wg.Wait()
	defer cancel()
	w := &worker{loop: loop, latency: newHist(), connect: newHist(), back: newHist(), echoes: newHist(), interval: intervalHist(),
		reasons: map[string]int64{}, stop: func() {}, began: time.Now().UnixNano()}
	defer func() { w.on(w.close); w.wg.Wait() }()
	enc := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("cannot read the order: %w", err)
		}
		if err := enc.Encode(w.obey(o)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// maxLine is the longest order or report: that of some ten million receipts.
const maxLine = 256 << 20

func intervalHist() *hdr.Histogram { return hdr.New(1, mostMicros, intervalDigits) }

func (w *worker) obey(o order) (r Report) {
	var err error
	switch o.Cmd {
	case cmdOpen:
		err = w.openAll(o)
	case cmdReset:
		w.on(func() { w.reset(o) })
	case cmdCut:
		w.on(func() { w.cut(o) })
	case cmdSend:
		w.on(func() { w.send(o) })
	case cmdStats, cmdReceipts:
	case cmdClose:
		w.on(w.close)
		w.wg.Wait()
	default:
		err = fmt.Errorf("an unknown order %q", o.Cmd)
	}
	w.on(func() { r = w.report(o) })
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

// received counts a message.
func (w *worker) received(m mark, now int64) {
	took := time.Duration(now - m.due)
	record(w.latency, took)
	record(w.interval, took)
	if w.keep {
		w.receipts = Receipt{m.due, now}.pack(w.receipts)
	}
}

// mostReasons bounds what is told of errors.
const mostReasons = 50

// because counts why something ended.
func (w *worker) because(reason string) {
	if _, ok := w.reasons[reason]; !ok && len(w.reasons) >= mostReasons {
		reason = "other"
	}
	w.reasons[reason]++
}

// slice is the present one.
func (w *worker) slice() *Slice {
	at := int(max(0, time.Now().UnixNano()-w.began) / int64(Step))
	for len(w.slices) <= min(at, mostSlices-1) {
		w.slices = append(w.slices, Slice{})
	}
	return &w.slices[min(at, mostSlices-1)]
}

// begin begins to count an order's outcome.
func (w *worker) begin(began int64) {
	w.began, w.slices, w.last = began, nil, 0
	w.back.Reset()
}

// openAll begins to open sessions, and does not wait for them.
func (w *worker) openAll(o order) error {
	if o.Spec == nil {
		return fmt.Errorf("an order without a spec")
	}
	c, err := o.Spec.prepare()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	if c.Dialers > 0 {
		c.places = make(chan struct{}, c.Dialers)
	}
	list := make([]session, o.Sessions)
	w.on(func() {
		w.begin(o.Began)
		w.stopped, w.stop = false, cancel
		for i := range list {
			list[i] = session{worker: w, crowd: c, number: int32(o.First + i)}
			list[i].track.fresh = c.Live
			w.sessions = append(w.sessions, &list[i])
		}
	})
	w.wg.Go(func() { w.opener(ctx, c, list, o.Began) })
	return nil
}

// opener has sessions begin when it is their time.
func (w *worker) opener(ctx context.Context, c *crowd, list []session, began int64) {
	start := time.Unix(0, began)
	for i := range list {
		s, due := &list[i], time.Now()
		switch {
		case c.Spread > 0:
			wait := time.Duration(rand.Float64() * float64(c.Spread))
			w.loop.Post(eventloop.NoteFunc(func() { s.attempts = 0; s.later(wait) }))
			continue
		case c.Rate > 0:
			due = start.Add(time.Duration(float64(i) / c.Rate * float64(time.Second)))
			if !sleep(ctx, time.Until(due)) {
				return
			}
		}
		token := c.Dialers > 0
		if token {
			select {
			case c.places <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
		if c.Rate == 0 {
			due = time.Now()
		}
		w.loop.Post(eventloop.NoteFunc(func() {
			if w.stopped {
				return
			}
			s.token = token
			s.attempts++
			s.begin(due.UnixNano())
		}))
	}
}

// sleep waits, and reports whether ctx is still there.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (w *worker) reset(o order) {
	for _, h := range []*hdr.Histogram{w.latency, w.interval, w.connect, w.echoes} {
		h.Reset()
	}
	w.bytes, w.reasons, w.lost = 0, map[string]int64{}, 0
	w.keep, w.receipts = o.Keep, nil
	if o.Keep {
		w.receipts = make([]byte, 0, receiptRoom)
	}
	prefix := markPrefix(o.Run)
	same := string(prefix) == string(w.prefix)
	w.prefix = prefix
	for _, s := range w.sessions {
		last, window := s.track.last, s.track.window
		s.track = track{fresh: s.crowd.Live && s.track.last == 0}
		if same {
			s.track.last, s.track.window = last, window
		}
	}
}

// cut ends all connections over a while.
func (w *worker) cut(o order) {
	w.begin(o.Began)
	w.settled = 0
	for _, s := range w.sessions {
		s.settled = false
		s.crowd.Back, s.crowd.Retry = o.Back, o.Retry
		time.AfterFunc(time.Duration(rand.Float64()*float64(o.Spread)), func() {
			w.loop.Post(eventloop.NoteFunc(func() {
				if !w.stopped && (s.state == open || s.state == away) {
					s.cut()
				}
			}))
		})
	}
}

func (w *worker) send(o order) {
	w.echo, w.asked = o.Expect, o.Began
	w.echoes.Reset()
	b := clientFrame(wsframe.Text, []byte(o.Text))
	for _, s := range w.sessions {
		if s.state == open {
			s.write(b)
		}
	}
}

func (w *worker) close() {
	w.stop()
	w.stopped = true
	for _, s := range w.sessions {
		s.conn.Close()
		s.state = away
		s.settle()
	}
	w.sessions, w.open, w.settled = nil, 0, 0
	w.begin(time.Now().UnixNano())
	w.reset(order{})
	w.prefix = nil
}
