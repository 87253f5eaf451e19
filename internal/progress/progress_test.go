package progress

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringside-edge/ringside/internal/look"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestMain(m *testing.M) {
	if os.Getenv("RINGSIDE_TEST_PROGRESS") != "" {
		work()
		return
	}
	goleak.VerifyTestMain(m)
}

// work is what a program does that is interrupted while it draws.
func work() {
	steps := NewSteps()
	steps.Of(2)
	steps.Next("the first")
	done := make(chan os.Signal, 1)
	interrupt(done)
	steps.Next("the second")
	<-done
	steps.End(context.Canceled)
}

// screen is what a terminal has been sent.
type screen struct{ *testcluster.Terminal }

func newScreen(t *testing.T, columns uint16) screen {
	t.Helper()
	return screen{testcluster.NewTerminal(t, columns)}
}

func (s screen) shows(t *testing.T, what string) {
	t.Helper()
	testcluster.Soon(t, "the terminal shows "+what, func() bool { return strings.Contains(s.String(), what) })
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// last is the last line that stands, and longest the widest that was drawn.
func (s screen) last() (last string, longest int) {
	for line := range strings.SplitSeq(escape.ReplaceAllString(s.String(), "\n"), "\n") {
		line = strings.TrimRight(line, "\r")
		longest = max(longest, len([]rune(line)))
		if line != "" {
			last = line
		}
	}
	return last, longest
}

// On a terminal there is one line, which is drawn anew up to 100 %, fits, and ends with a line break.
func TestTerminal(t *testing.T) {
	for _, columns := range []uint16{120, 40, 12, 1} {
		s := newScreen(t, columns)
		bar := New(Config{Out: s.TTY, Env: look.Env{"TERM=xterm", "NO_COLOR=1"}, Unit: "sessions"})
		bar.Set("g1 drains", 0, 200, "200 sessions left")
		s.shows(t, "\n")
		bar.Say("said")
		bar.Set("g1 drains", 100, 200, "100 sessions left")
		if columns == 120 {
			s.shows(t, "50 %, 100 sessions left")
		}
		bar.Set("g1 drains", 200, 200, "0 sessions left")
		bar.End()
		bar.End()
		bar.Set("g1 drains", 1, 200, "too late")
		if _, err := bar.Over(s.TTY).Write([]byte("behind it\n")); err != nil {
			t.Error(err)
		}
		s.shows(t, "behind it\r\n")
		last, longest := s.last()
		if last != "behind it" || longest > max(int(columns)-1, len("behind it")) {
			t.Errorf("%d columns: got %d in a line, the last is %q", columns, longest, last)
		}
		if !strings.Contains(s.String(), "said\r\n") || strings.Contains(s.String(), "too late") || strings.Contains(s.String(), "\x1b[3") {
			t.Errorf("%d columns: got %q", columns, s)
		}
		if columns == 120 && !regexp.MustCompile(`g1 drains \[=+\] 100 %, 0 sessions left`).MatchString(s.String()) {
			t.Errorf("got %q", s)
		}
	}
}

// Who makes the window narrower gets lines that fit it from then on.
func TestResize(t *testing.T) {
	s := newScreen(t, 120)
	bar := New(Config{Out: s.TTY, Env: look.Env{"TERM=xterm"}})
	defer bar.End()
	bar.Set("wide", 1, 2, strings.Repeat("x", 60))
	s.shows(t, strings.Repeat("x", 60))
	s.Resize(t, 30)
	bar.Set("narrow", 1, 2, strings.Repeat("y", 60))
	s.shows(t, "y…")
	if strings.Contains(s.String(), strings.Repeat("y", 30)) {
		t.Errorf("got %q", s)
	}
}

// Elsewhere there are plain lines: the first, one for each pace, one for each new title, and the last.
func TestPlain(t *testing.T) {
	dumb := newScreen(t, 80)
	pipe, file := new(bytes.Buffer), New
	clock := time.Unix(0, 0)
	for _, c := range []struct {
		out io.Writer
		env look.Env
		got func() string
	}{
		{pipe, nil, pipe.String},
		{dumb.TTY, look.Env{"TERM=dumb"}, func() string { dumb.shows(t, "100 %"); return strings.ReplaceAll(dumb.String(), "\r\n", "\n") }},
	} {
		bar := file(Config{Out: c.out, Env: c.env, Unit: "sessions", Style: look.Of(look.Auto, c.out, c.env)})
		bar.now = func() time.Time { return clock }
		for i := range 101 {
			bar.Set("g1 drains", float64(i), 200, "some left")
			clock = clock.Add(100 * time.Millisecond)
		}
		bar.Set("g1 drains", 200, 200, "0 left\x1b[2J")
		bar.Set("g1 has left", 200, 200, "")
		bar.End()
		want := "g1 drains: 0 %, some left\n" +
			"g1 drains: 25 %, some left, 10 sessions/s, about 15 s to go\n" +
			"g1 drains: 50 %, some left, 10 sessions/s, about 10 s to go\n" +
			"g1 has left: 100 %, in 10 s\n"
		if got := c.got(); got != want {
			t.Errorf("%T: got\n%s, want\n%s", c.out, got, want)
		}
	}
	if strings.ContainsAny(pipe.String()+dumb.String(), "\x1b\b") {
		t.Errorf("control characters: %q, %q", pipe, dumb)
	}
	var nothing bytes.Buffer
	New(Config{Out: &nothing}).End()
	if nothing.Len() > 0 {
		t.Errorf("without a Set: got %q", &nothing)
	}
}

func TestSpan(t *testing.T) {
	f := func(seconds float64, want string) {
		t.Helper()
		if got := span(seconds); got != want {
			t.Errorf("%v: got %s, want %s", seconds, got, want)
		}
	}
	f(0.01, "1 s")
	f(59.4, "59 s")
	f(61, "1 min 01 s")
	f(3600*2+61, "2 h 01 min")
	f(1e300, "277 h 46 min")
}

// A program that is interrupted while it draws leaves the cursor on a line of its own, and nothing hidden or coloured.
func TestInterrupted(t *testing.T) {
	s := newScreen(t, 80)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RINGSIDE_TEST_PROGRESS=1", "TERM=xterm", "CI=", "NO_COLOR=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.TTY, s.TTY, s.TTY
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	s.shows(t, "the second")
	if _, err := s.Keyboard.WriteString("typed"); err != nil { // which the terminal echoes
		t.Fatal(err)
	}
	s.shows(t, "typed\r\x1b[1A\x1b[J")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TTY.WriteString("$ "); err != nil {
		t.Fatal(err)
	}
	s.shows(t, "$ ")
	text := s.String()
	if !strings.HasSuffix(text, "\r\n$ ") || strings.Count(text, "\x1b[32m") > strings.Count(text, "\x1b[0m") || strings.Contains(text, "\x1b[?25l") {
		t.Errorf("got %q", text)
	}
	if last, _ := s.last(); last != "$ " {
		t.Errorf("the last line is %q", last)
	}
}

func interrupt(ch chan os.Signal) { signal.Notify(ch, syscall.SIGINT) }
