package docs

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// shell is a bash in namespaces of its own: of the network, where all ports are free, and of processes, which all end with it.
type shell struct {
	t    *testing.T
	dir  string // where commands are typed
	logs string // what they print
	in   io.Writer
	done chan string // lines of the protocol; closed when bash has ended
	jobs map[string]*job
	all  []*job
	n    int
}

// patience is how long anything may take that a document waits for.
func patience() time.Duration { return 2 * testcluster.Limit() }

// job is a command that stays.
type job struct {
	what string
	out  string // a file
	seen int    // bytes of it that documents have shown
}

// newShell starts one in dir, with further variables.
func newShell(t *testing.T, dir string, env ...string) *shell {
	t.Helper()
	args := []string{"--net", "--pid", "--mount-proc", "--fork", "--kill-child"}
	if os.Getuid() != 0 {
		args = append(args, "--map-root-user")
	}
	cmd := exec.Command("unshare", append(args, "bash", "--norc", "--noprofile")...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, dir: dir, logs: t.TempDir(), in: in, done: make(chan string, 16), jobs: map[string]*job{}}
	go func() {
		defer close(s.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.done <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // all that it has started goes with it
		for range s.done {     // until nobody holds the pipe
		}
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("---- bash: %s", stderr.String())
			for _, j := range s.all {
				printed, _ := os.ReadFile(j.out)
				t.Logf("---- %s\n%s", j.what, printed)
			}
		}
	})
	s.must("ip link set lo up")
	return s
}

// run runs commands and returns what they print. When one fails the shell is gone: what follows would not mean anything.
func (s *shell) run(commands string) (string, error) {
	return s.enter(commands, ". %s >%s 2>&1 </dev/null; set +e; echo 0\n")
}

// try is run, in a shell of its own that may fail, and whose variables are lost.
func (s *shell) try(commands string) (string, error) {
	return s.enter(commands, "bash %s >%s 2>&1 </dev/null; echo $?\n")
}

func (s *shell) enter(commands, line string) (string, error) {
	script, out := s.script(commands)
	fmt.Fprintf(s.in, line, script, out)
	failed := errors.New("it fails")
	select {
	case code := <-s.done:
		if code == "0" {
			failed = nil
		}
	case <-s.t.Context().Done():
		failed = s.t.Context().Err()
	case <-time.After(patience()):
		failed = errors.New("it does not end")
	}
	printed, err := os.ReadFile(out)
	return string(printed), cmp.Or(failed, err)
}

// must is run for what a test itself needs.
func (s *shell) must(commands string) {
	s.t.Helper()
	if printed, err := s.run(commands); err != nil {
		s.t.Fatalf("%v: %s\n%s", err, commands, printed)
	}
}

// start runs commands that stay.
func (s *shell) start(name, commands string) *job {
	script, out := s.script(commands)
	fmt.Fprintf(s.in, "(. %s) >%s 2>&1 </dev/null &\n", script, out)
	j := &job{what: commands, out: out}
	s.all = append(s.all, j)
	if name != "" {
		s.jobs[name] = j
	}
	return j
}

// script writes commands into a file, and names another one for what they print.
func (s *shell) script(commands string) (script, out string) {
	s.n++
	script = filepath.Join(s.logs, fmt.Sprintf("%d.sh", s.n))
	if err := os.WriteFile(script, []byte("set -eo pipefail\n"+commands+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return script, filepath.Join(s.logs, fmt.Sprintf("%d.out", s.n))
}

// shows waits until a job has printed what is wanted, since the last time that it was asked.
func (s *shell) shows(j *job, want []string) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience())
	defer cancel()
	return testcluster.Poll(ctx, func() error {
		printed, err := os.ReadFile(j.out)
		if err != nil {
			return err
		}
		if !Matches(want, string(printed[j.seen:])) {
			return fmt.Errorf("it prints\n%s", printed[j.seen:])
		}
		j.seen = len(printed)
		return nil
	})
}
