package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// terminal is what somebody sees of a command.
type terminal struct{ *testcluster.Terminal }

func newTerminal(t *testing.T) terminal {
	t.Helper()
	return terminal{testcluster.NewTerminal(t, 100)}
}

func (s terminal) shows(t *testing.T, pattern string) {
	t.Helper()
	eventually(t, "the terminal shows "+pattern, func() error {
		if !regexp.MustCompile(pattern).MatchString(s.String()) {
			return fmt.Errorf("it shows %q", s)
		}
		return nil
	})
}

// crowded is a cluster whose gateway g1 has sessions.
func crowded(t *testing.T, sessions int) (c *testcluster.Cluster, admin string) {
	t.Helper()
	c = testcluster.New(t, testcluster.NewRedis(t, false).URL())
	c.AddRouter("--no-shared-feeds") // else two feeds stand for all of them
	for _, id := range []string{"g1", "g2"} {
		c.AddGateway(id, "--drain-window=4s", "--drain-min=1")
	}
	c.WaitReady()
	c.WaitConverged()
	admin = "http://" + c.Router(0).Admin
	if out, code := command(t, "pin", "finals", "g1", "--of", admin); code != 0 {
		t.Fatalf("pin: %d %s", code, out)
	}
	for range sessions {
		background(t, "subscribe", "ws://"+c.Router(0).Addr+"/t/finals")
	}
	eventually(t, "g1 has the sessions", func() error {
		n, err := c.Gateway("g1").Metric(t.Context(), "ringside_gateway_sessions")
		if err == nil && int(n) != sessions {
			err = fmt.Errorf("%v sessions", n)
		}
		return err
	})
	return c, admin
}

// Whoever drains from a terminal sees a bar up to 100 %; who interrupts it gets a clean terminal and a code, and the drain goes on; who
// drains from a script gets plain lines on one output and a document on the other.
func TestDrainIsSeen(t *testing.T) {
	_, admin := crowded(t, 12)
	s := newTerminal(t)
	cmd := exec.Command(testcluster.Binary(t), "drain", "g1", "--of", admin)
	cmd.Env = append(os.Environ(), "TERM=xterm", "CI=", "NO_COLOR=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.TTY, s.TTY, s.TTY
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	s.shows(t, `g1 drains .*\] \d+ %, \d+ sessions left`)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("interrupted: got %v, want exit code 130\n%q", err, s)
	}
	s.shows(t, "interrupted: g1 goes on draining\r\n$")

	// It may be over already: then there is nobody to drain.
	watch := newTerminal(t)
	again := exec.Command(testcluster.Binary(t), "drain", "g2", "--of", admin)
	again.Env = cmd.Env
	again.Stdin, again.Stdout, again.Stderr = watch.TTY, watch.TTY, watch.TTY
	if err := again.Run(); err != nil {
		t.Errorf("drain: %v\n%q", err, watch)
	}
	watch.shows(t, `100 %, 0 sessions left[^\r]*\r\ng2 has left[^\r]*\r\n$`)
	if !strings.Contains(watch.String(), "\x1b[32m") {
		t.Errorf("no colours: %q", watch)
	}
}

// A pipe gets no control character, and the data alone.
func TestDrainInAScript(t *testing.T) {
	_, admin := crowded(t, 8)
	cmd := exec.Command(testcluster.Binary(t), "drain", "g1", "--json", "--of", admin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &errOut)
	}
	var got struct {
		Shard, Outcome string
		Sessions       int
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Shard != "g1" || got.Outcome != "left" || got.Sessions != 0 {
		t.Errorf("got %q, %v", &out, err)
	}
	lines := errOut.String()
	if strings.ContainsFunc(lines, func(c rune) bool { return c < ' ' && c != '\n' || c == 0x7f }) ||
		!strings.HasPrefix(lines, "g1 drains: 0 %, 8 sessions left\n") || !strings.Contains(lines, "g1 drains: 100 %, 0 sessions left") {
		t.Errorf("got %q", lines)
	}
}
