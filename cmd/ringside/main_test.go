package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringside-edge/ringside/internal/load"
)

func TestMain(m *testing.M) {
	if os.Getenv("RINGSIDE_TEST_MAIN") != "" { // the test is the program
		main()
	}
	benchSpawn = load.Inside // this program, started again, would be the tests
	// fasthttp keeps a clock for its Date header, once per process, and its pools end when they next look.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// output is a writer that a test can look into while a command runs.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // has a token when something was written since it was looked at
}

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// waitFor blocks until text has been written, or the test's time is over.
func (o *output) waitFor(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(o.String(), text) {
		select {
		case <-o.changed:
		case <-t.Context().Done():
			t.Fatalf("it never said %q, but %q", text, o)
		}
	}
}

// command runs a command line to its end; env are our variables.
func command(ctx context.Context, stdin string, env []string, args ...string) (code int, out, errOut string) {
	stdout, stderr := newOutput(), newOutput()
	code = run(ctx, args, env, stdio{in: strings.NewReader(stdin), out: stdout, err: stderr})
	return code, stdout.String(), stderr.String()
}

func TestUsage(t *testing.T) {
	f := func(line string, env []string, code int, want ...string) {
		t.Helper()
		got, out, errOut := command(t.Context(), "", env, strings.Fields(line)...)
		if got != code {
			t.Errorf("%q: got exit code %d, want %d\n%s%s", line, got, code, out, errOut)
		}
		for _, w := range want {
			if !strings.Contains(out+errOut, w) {
				t.Errorf("%q: got %q, want %q in it", line, out+errOut, w)
			}
		}
	}
	f("", nil, exitOK, "Usage: ringside <command>", "router", "gateway", "dev", "RINGSIDE_SOME_NAME")
	f("--help", nil, exitOK, "Usage: ringside <command>")
	f("router --help", nil, exitOK, "--listen", "--drain-window")
	f("version", nil, exitOK, "ringside ", "go1.")
	f("rooter", nil, exitUsage, "rooter", "did you mean \"router\"?", "See: ringside --help")
	f("gateway", nil, exitUsage, "--id", "See: ringside gateway --help")
	f("router --listen nonsense", nil, exitUsage, "--listen", "See: ringside router --help")
	f("gateway --id g1 --heartbeet 1s", nil, exitUsage, "--heartbeet", "--heartbeat")
	f("router", []string{"RINGSIDE_LISEN=x"}, exitUsage, "ringside: RINGSIDE_LISEN: unknown environment variable, did you mean RINGSIDE_LISTEN?")
	f("publish --to nonsense finals 1", nil, exitUsage, "--to", `"nonsense"`, "http://127.0.0.1:8081")
	f("policy shwo", nil, exitUsage, "did you mean show?", "See: ringside policy --help")
	f("policy set backof min=1s", nil, exitUsage, "See: ringside policy set --help")
	f("publish finals", nil, exitUsage, "TOPIC and DATA", "--lines", "See: ringside publish --help")
	f("subscribe nonsense", nil, exitUsage, "ws://127.0.0.1:8080/t/finals")
	f("subscribe ws://127.0.0.1:1/t/x --since yesterday", nil, exitUsage, "--since")
}
