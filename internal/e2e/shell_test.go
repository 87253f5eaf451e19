package e2e

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestCompletion has real shells complete commands, subcommands and flags, as the code that `completion` prints has them do it.
func TestCompletion(t *testing.T) {
	binary := testcluster.Binary(t)
	ask := func(line string) []string {
		t.Helper()
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), "COMP_LINE="+line)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return slices.Sorted(slices.Values(strings.Fields(string(out)))) // shells sort them themselves
	}
	f := func(line string, want ...string) {
		t.Helper()
		if got := strings.Join(ask(line), " "); got != strings.Join(want, " ") {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	f("ringside ga", "gateway")
	f("ringside policy ", "set", "show")
	f("ringside gateway --drain-w", "--drain-window")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, exit := command(t, "completion", "-c", shell)
		if exit != 0 || !strings.Contains(code, binary) {
			t.Errorf("completion -c %s: got %d %s", shell, exit, code)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("SKIPPED: %s is not here to run it", shell)
			continue
		}
		script := code
		if shell == "bash" {
			script += "\ncomplete -p ringside"
		}
		cmd := exec.Command(path, "-c", script)
		cmd.Env = append(os.Environ(), "COMP_LINE=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
}

// TestManual reads the manual page with man, where it is installed.
func TestManual(t *testing.T) {
	page, exit := command(t, "man")
	if exit != 0 || !strings.HasPrefix(page, ".TH RINGSIDE 1") {
		t.Fatalf("man: got %d %.200s", exit, page)
	}
	man, err := exec.LookPath("man")
	if err != nil {
		t.Skip("man is not installed here")
	}
	cmd := exec.Command(man, "--warnings", "-l", "-")
	cmd.Stdin = strings.NewReader(page)
	cmd.Env = append(os.Environ(), "MANPAGER=cat", "MANWIDTH=100")
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"NAME", "drain", "--drain-window", "check-config"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("man: %v: it does not say %s:\n%.2000s", err, want, out)
		}
	}
}
