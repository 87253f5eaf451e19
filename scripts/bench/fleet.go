package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// sessionsPerWorker keeps a load process below 20,000 descriptors.
const sessionsPerWorker = 15000

// maxReport is the longest line of a load process, in bytes: that of some ten million receipts.
const maxReport = 256 << 20

// workerArg as the only argument makes the program a load process.
const workerArg = "worker"

// fleet is the load generator as the driver sees it: as many processes as the number of sessions needs.
type fleet struct {
	procs []*loadProcess
}

// loadProcess is one worker and its two pipes.
type loadProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// newFleet starts the processes; the caller calls stop.
func newFleet(sessions int) (*fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &fleet{}
	for range (sessions + sessionsPerWorker - 1) / sessionsPerWorker {
		p := &loadProcess{cmd: exec.Command(self, workerArg)}
		p.cmd.Stderr = os.Stderr
		in, err1 := p.cmd.StdinPipe()
		out, err2 := p.cmd.StdoutPipe()
		if err := errors.Join(err1, err2); err != nil {
			return nil, errors.Join(err, f.stop())
		}
		p.in, p.out = in, bufio.NewScanner(out)
		p.out.Buffer(nil, maxReport)
		if err := p.cmd.Start(); err != nil {
			return nil, errors.Join(err, f.stop())
		}
		f.procs = append(f.procs, p)
	}
	return f, nil
}

// stop ends the processes, which end at the end of their input.
func (f *fleet) stop() error {
	var errs []error
	for _, p := range f.procs {
		_ = p.in.Close() // the process may be gone
		errs = append(errs, p.cmd.Wait())
	}
	f.procs = nil
	return errors.Join(errs...)
}

// open opens further subscribers of the topics in turn, spread over the processes, until there are so many.
func (f *fleet) open(addr string, topics []string, sessions int) error {
	before, err := f.all(cmdStats)
	if err != nil {
		return err
	}
	orders := make([]order, len(f.procs))
	first := before.Sessions
	for i := range orders {
		n := (sessions - first) / (len(orders) - i)
		orders[i] = order{Cmd: cmdOpen, Addr: addr, Topics: topics, Sessions: n, First: first}
		first += n
	}
	r, err := f.tell(orders...)
	if err == nil && r.Sessions != sessions {
		err = fmt.Errorf("got %d subscribers, want %d", r.Sessions, sessions)
	}
	if err != nil {
		return fmt.Errorf("cannot open %d subscribers at %s: %w", sessions, addr, err)
	}
	return nil
}

// all gives every process the same order.
func (f *fleet) all(cmd string) (totals, error) {
	orders := make([]order, len(f.procs))
	for i := range orders {
		orders[i].Cmd = cmd
	}
	return f.tell(orders...)
}

// totals are the reports of all processes added up.
type totals struct {
	Sessions    int
	Lost        int64
	Frames      int64
	Least, Most int64
	Latency     *hdr.Histogram // nil without cmdStats
	Receipts    []receipt      // none without cmdReceipts
}

// tell gives each process its order, all at once, and adds up the answers.
func (f *fleet) tell(orders ...order) (totals, error) {
	reports := make([]report, len(orders))
	errs := make([]error, len(orders))
	var wg sync.WaitGroup
	for i, p := range f.procs {
		wg.Go(func() { errs[i] = p.tell(orders[i], &reports[i]) })
	}
	wg.Wait()
	var t totals
	for i, r := range reports {
		if i == 0 || r.Least < t.Least {
			t.Least = r.Least
		}
		t.Sessions += r.Sessions
		t.Lost += r.Lost
		t.Frames += r.Frames
		t.Most = max(t.Most, r.Most)
		t.Receipts = append(t.Receipts, unpackReceipts(r.Receipts)...)
		if r.Latency == nil {
			continue
		}
		h := hdr.Import(r.Latency)
		if t.Latency == nil {
			t.Latency = h
		} else {
			t.Latency.Merge(h)
		}
	}
	return t, errors.Join(errs...)
}

func (p *loadProcess) tell(o order, r *report) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("a load process is gone: %w", err)
	}
	if !p.out.Scan() {
		return fmt.Errorf("a load process is gone: %w", errors.Join(io.ErrUnexpectedEOF, p.out.Err()))
	}
	if err := json.Unmarshal(p.out.Bytes(), r); err != nil {
		return err
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}
