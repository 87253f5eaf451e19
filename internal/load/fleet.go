package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"
)

// PerProcess is how many subscribers a process has at most: it stays below 20,000 descriptors.
const PerProcess = 15_000

// Spawner starts a worker.
type Spawner func() (*Worker, error)

// Worker is a worker as the one sees it who gives the orders.
type Worker struct {
	In   io.WriteCloser
	Out  io.Reader
	Wait func() error // for its end, once In is closed
	PID  int          // 0 for none of its own

	lines *bufio.Scanner
}

// Spawn starts this program again, with these arguments, which have it call [RunWorker] on its standard input and output. nice is how much
// it gives way to others, 0 for not at all.
func Spawn(nice int, args ...string) Spawner {
	return func() (*Worker, error) {
		if len(args) > 0 && slices.Contains(os.Args[1:], args[0]) { // what does not know these arguments would go on for ever
			return nil, errors.New("a process of subscribers was started, and starts another")
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		argv := append([]string{self}, args...)
		if nice > 0 {
			argv = append([]string{"nice", "-n", strconv.Itoa(nice)}, argv...)
		}
		cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec // it is this program
		cmd.Stderr = os.Stderr
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return &Worker{In: in, Out: out, Wait: cmd.Wait, PID: cmd.Process.Pid}, nil
	}
}

// Inside is a worker in this process, for few subscribers.
func Inside() (*Worker, error) {
	orders, in := io.Pipe()
	out, reports := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := work(orders, reports)
		orders.Close()
		reports.CloseWithError(err)
		done <- err
	}()
	return &Worker{In: in, Out: out, Wait: func() error { return <-done }}, nil
}

// Fleet is a crowd of subscribers. It is for one goroutine at a time.
type Fleet struct {
	workers []*Worker
	spec    Spec
	total   int // sessions that were asked for
}

// NewFleet starts so many workers; the caller calls Stop.
func NewFleet(workers int, spawn Spawner) (*Fleet, error) {
	f := &Fleet{}
	for range workers {
		w, err := spawn()
		if err != nil {
			return nil, errors.Join(err, f.Stop())
		}
		w.lines = bufio.NewScanner(w.Out)
		w.lines.Buffer(nil, maxLine)
		f.workers = append(f.workers, w)
	}
	return f, nil
}

// Processes is how many workers so many subscribers need.
func Processes(sessions int) int { return max(1, (sessions+PerProcess-1)/PerProcess) }

// PIDs are those of the workers that are processes.
func (f *Fleet) PIDs() (list []int) {
	for _, w := range f.workers {
		if w.PID != 0 {
			list = append(list, w.PID)
		}
	}
	return list
}

// Stop ends the workers, and waits for them.
func (f *Fleet) Stop() error {
	var errs []error
	for _, w := range f.workers {
		_ = w.In.Close() // it may be gone
		errs = append(errs, w.Wait())
	}
	f.workers = nil
	return errors.Join(errs...)
}

// Begin begins to open further subscribers, spread over the processes, until there are so many.
func (f *Fleet) Begin(spec Spec, sessions int) error {
	orders := make([]order, len(f.workers))
	began := time.Now().UnixNano()
	first := f.total
	for i := range orders {
		n := (sessions - first) / (len(orders) - i)
		own := spec
		own.Rate *= float64(n) / float64(max(1, sessions-f.total)) // each has its share
		orders[i] = order{Cmd: cmdOpen, Spec: &own, Sessions: n, First: first, Began: began}
		first += n
	}
	f.spec, f.total = spec, sessions
	_, err := f.tell(orders)
	return err
}

// Settle waits until each subscriber has been open or has given up, and tells on the way; see may be nil. At the end of ctx it
// returns what there is, and no error.
func (f *Fleet) Settle(ctx context.Context, see func(Totals)) (Totals, error) {
	for {
		t, err := f.Stats(false)
		if err != nil {
			return t, err
		}
		if see != nil {
			see(t)
		}
		if t.Settled >= f.total || !sleep(ctx, pollEvery) {
			return f.Stats(true)
		}
	}
}

// pollEvery is how often workers are asked.
const pollEvery = 50 * time.Millisecond

// Open opens further subscribers until there are so many. It is an error when one of them could not be opened.
func (f *Fleet) Open(ctx context.Context, spec Spec, sessions int) error {
	if err := f.Begin(spec, sessions); err != nil {
		return err
	}
	t, err := f.Settle(ctx, nil)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && t.Open != sessions {
		err = fmt.Errorf("got %d: %s", t.Open, Reasons(t.Reasons))
	}
	if err != nil {
		return fmt.Errorf("cannot open %d subscribers: %w", sessions, err)
	}
	return nil
}

// Reasons are the reasons and their numbers in a line.
func Reasons(m map[string]int64) string {
	s := ""
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s += fmt.Sprintf("%s%s (%d)", map[bool]string{true: ", "}[s != ""], k, m[k])
	}
	return s
}

// Stats is what was counted; hists with the histograms, and the slices.
func (f *Fleet) Stats(hists bool) (Totals, error) { return f.all(order{Cmd: cmdStats, Hists: hists}) }

// Interval is what was counted, with a histogram of what has come since the last call.
func (f *Fleet) Interval() (Totals, error) { return f.all(order{Cmd: cmdStats, Interval: true}) }

// Topics is how many open subscribers each topic has.
func (f *Fleet) Topics() ([]int, error) {
	t, err := f.all(order{Cmd: cmdStats, Topics: true})
	return t.Topics, err
}

// Final is what was counted, where the last messages of the topics had these numbers: those that have not come are missing.
func (f *Fleet) Final(ends []uint32) (Totals, error) {
	return f.all(order{Cmd: cmdStats, Hists: true, Ends: ends})
}

// Reset forgets what was counted, and counts the messages of a run from now on; keep for a receipt of each.
func (f *Fleet) Reset(run string, keep bool) error {
	_, err := f.all(order{Cmd: cmdReset, Run: run, Keep: keep})
	return err
}

// Receipts are those of every message since a Reset that keeps them.
func (f *Fleet) Receipts() ([]Receipt, error) {
	t, err := f.all(order{Cmd: cmdReceipts})
	return t.Receipts, err
}

// Cut ends all connections over a while. Their subscribers come back; Settle waits for it.
func (f *Fleet) Cut(spread time.Duration, back Back, retry time.Duration) error {
	if back == Never {
		return errors.New("cannot cut what does not come back")
	}
	_, err := f.all(order{Cmd: cmdCut, Began: time.Now().UnixNano(), Spread: spread, Back: back, Retry: retry})
	return err
}

// Send has all subscribers send a text. Echoes in the totals are how long it took, from since on, until something came that contains expect.
func (f *Fleet) Send(text, expect string, since time.Time) error {
	_, err := f.all(order{Cmd: cmdSend, Text: text, Expect: expect, Began: since.UnixNano()})
	return err
}

// Close ends all subscribers.
func (f *Fleet) Close() error {
	f.total = 0
	_, err := f.all(order{Cmd: cmdClose})
	return err
}

// all gives every worker the same order.
func (f *Fleet) all(o order) (Totals, error) {
	return f.tell(slices.Repeat([]order{o}, len(f.workers)))
}

// tell gives each worker its order, all at once, and adds up the answers.
func (f *Fleet) tell(orders []order) (Totals, error) {
	reports := make([]Report, len(orders))
	errs := make([]error, len(orders))
	var wg sync.WaitGroup
	for i, w := range f.workers {
		wg.Go(func() { errs[i] = w.tell(orders[i], &reports[i]) })
	}
	wg.Wait()
	return total(reports), errors.Join(errs...)
}

func (w *Worker) tell(o order, r *Report) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := w.In.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("a process of subscribers is gone: %w", err)
	}
	if !w.lines.Scan() {
		return fmt.Errorf("a process of subscribers is gone: %w", errors.Join(io.ErrUnexpectedEOF, w.lines.Err()))
	}
	if err := json.Unmarshal(w.lines.Bytes(), r); err != nil {
		return err
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}
