package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// logLimit is how many bytes of a process's output are kept: the newest.
const logLimit = 1 << 20

// faultLength is how much is shown of what a fault wrote.
const faultLength = 4000

// Process is a child process whose output is kept. It has no tie to a test, so that the benchmark uses it
// too. All methods are safe for concurrent use.
type Process struct {
	Name string

	cmd  *exec.Cmd
	out  output
	done chan struct{}
	err  error // of Wait; valid once done is closed
}

// StartProcess starts path with args and returns at once. The caller ends it by Kill, or waits for Done.
func StartProcess(name, path string, args ...string) (*Process, error) {
	return StartProcessIn("", name, path, args...)
}

// StartProcessIn is [StartProcess] in a working directory.
func StartProcessIn(dir, name, path string, args ...string) (*Process, error) {
	return startProcess(name, path, func(c *exec.Cmd) { c.Dir = dir }, args...)
}

// startProcess is [StartProcess] of a command that change has had.
func startProcess(name, path string, change func(*exec.Cmd), args ...string) (*Process, error) {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = attr()
	change(cmd)
	return StartCommand(name, cmd)
}

// StartCommand is [StartProcess] of a command as it is; its outputs are replaced.
func StartCommand(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Name: name, cmd: cmd, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = time.Second // a grandchild that holds the pipe must not hold us
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Args is the command line.
func (p *Process) Args() []string { return p.cmd.Args }

// Done is closed when the process has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exited reports whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal; to a process that has ended it does nothing.
func (p *Process) Signal(sig syscall.Signal) error {
	if p.Exited() {
		return nil
	}
	return p.cmd.Process.Signal(sig)
}

// Pause stops the process as if it hung, and waits until it stands still. [Process.Kill] ends it nevertheless.
func (p *Process) Pause() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), Limit())
	defer cancel()
	return Poll(ctx, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil {
			return nil //nolint:nilerr // it has ended, or there is no /proc to wait by
		}
		if state := stat[bytes.LastIndexByte(stat, ')')+1:]; !bytes.HasPrefix(state, []byte(" T")) {
			return fmt.Errorf("%s is still running", p.Name)
		}
		return nil
	})
}

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Kill ends the process with SIGKILL and waits for it. Calling it again is fine.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL) // fails only when it has just ended
	<-p.done
}

// Wait waits up to d for the end and returns the exit code: -1 when a signal ended the process, an error when
// it still runs.
func (p *Process) Wait(d time.Duration) (int, error) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		return 0, fmt.Errorf("%s still runs after %v", p.Name, d)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) && !errors.Is(p.err, exec.ErrWaitDelay) {
		return 0, fmt.Errorf("cannot wait for %s: %w", p.Name, p.err)
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// Log is what the process has written to its standard output and error so far, at most the newest MiB.
func (p *Process) Log() string { return p.out.string() }

// LogTail is the last n lines of Log.
func (p *Process) LogTail(n int) string {
	lines := bytes.Split(bytes.TrimRight([]byte(p.Log()), "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// Faults are words in a program's output that are wrong whatever a test is about: of the race detector, of a panic.
func (p *Process) Faults() string {
	log := p.Log()
	for _, word := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "BUG: "} {
		if i := strings.Index(log, word); i >= 0 {
			return log[i:min(len(log), i+faultLength)]
		}
	}
	return ""
}

// output keeps the newest bytes that were written to it.
type output struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, p...)
	if len(o.buf) > 2*logLimit {
		o.buf = append(o.buf[:0], o.buf[len(o.buf)-logLimit:]...)
	}
	return len(p), nil
}

func (o *output) string() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.buf[max(0, len(o.buf)-logLimit):])
}
