package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// logLimit is how much of a log's end is looked at.
const logLimit = 8 << 20

// process is a node's process. Its output goes into a file and not through a pipe, so that a successor that it starts
// itself can go on writing there. All methods are safe for concurrent use.
type process struct {
	name string
	log  string // file
	pid  int

	done chan struct{}
	code int // -1 when a signal ended it; valid once done is closed
}

// startProcess starts a program whose output is appended to the file log.
func startProcess(name, log, path string, args ...string) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = attr()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	p := &process{name: name, log: log, pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // what it says stands in ProcessState too
		p.code = cmd.ProcessState.ExitCode()
		close(p.done)
	}()
	return p, nil
}

// PID is the process's number.
func (p *process) PID() int { return p.pid }

// Exited reports whether the process has ended.
func (p *process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal; to a process that has ended it does nothing.
func (p *process) Signal(sig syscall.Signal) error {
	if p.Exited() {
		return nil
	}
	return syscall.Kill(p.pid, sig)
}

// Kill ends the process with SIGKILL and waits for it.
func (p *process) Kill() {
	_ = p.Signal(syscall.SIGKILL) // fails only when it has just ended
	<-p.done
}

// Wait waits up to d for the end and returns the exit code.
func (p *process) Wait(d time.Duration) (int, error) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return p.code, nil
	case <-t.C:
		return 0, fmt.Errorf("%s still runs after %v", p.name, d)
	}
}

// Log is what the process has written.
func (p *process) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-logLimit):])
}

// LogTail is the last n lines of Log.
func (p *process) LogTail(n int) string {
	lines := bytes.Split(bytes.TrimRight([]byte(p.Log()), "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// Faults is the beginning of what the process wrote that no program should write; empty when there is nothing.
func (p *process) Faults() string {
	const shown = 2000
	log := p.Log()
	for _, word := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "BUG: "} {
		if i := strings.Index(log, word); i >= 0 {
			return log[i:min(len(log), i+shown)]
		}
	}
	return ""
}

// node is what [testcluster.Node] can do for a process of ours: ask its admin port.
func node(name, role string, addrs [3]string) *testcluster.Node {
	return &testcluster.Node{
		Process: &testcluster.Process{Name: name}, Role: role, ID: name,
		Addr: addrs[0], Admin: addrs[1], Gossip: addrs[2],
	}
}
