package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// Each exit code is what happened, and beside it stands what to do.
func TestExitCodes(t *testing.T) {
	answers := func(status int, body string) string {
		return fakeAdmin(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintln(w, body)
		})
	}
	f := func(code int, want string, args ...string) {
		t.Helper()
		got, out, errOut := command(t.Context(), "", nil, args...)
		if got != code || !strings.Contains(errOut, want) || out != "" {
			t.Errorf("%q: got %d, %q, %q, want %d, %q", args, got, out, errOut, code, want)
		}
	}
	// Usage.
	f(exitUsage, `did you mean "publish"?`, "publis", "finals", "x")
	f(exitUsage, `did you mean "--topic"`, "ring", "--topi", "x")
	f(exitUsage, "no such file", "ring", "--token-file", filepath.Join(t.TempDir(), "none"))
	f(exitUsage, "not set", "policy", "set", "--of", answers(200, `{"backoff":{"min":200,"max":30000,"factor":2,"jitter":0.5},"unremembered":0}`), "backoff", "speed=1")

	// Nobody, or somebody else.
	free, err := testcluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	f(exitUnreachable, "Nobody listens there", "ring", "--of", "http://"+free)
	f(exitUnreachable, "there is no host nobody.invalid", "ring", "--of", "http://nobody.invalid:8081")
	f(exitUnreachable, "not as an admin port of Ringside", "ring", "--of", answers(200, "<html>Welcome to nginx!</html>"))
	f(exitUnreachable, "not as an admin port of Ringside", "policy", "--of", answers(200, `{"status":"up"}`))
	f(exitUnreachable, "not as an admin port of Ringside", "pins", "--of", answers(200, `[]`))
	f(exitUnreachable, "does not speak HTTP", "ring", "--of", "http://"+listener(t, "\x00\x01gossip"))
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it would speak of what is meant to fail
	defer secure.Close()
	f(exitUnreachable, "--tls-ca", "ring", "--of", secure.URL)
	f(exitUnreachable, "it speaks TLS: ask it by https://", "ring", "--of", "http://"+secure.Listener.Addr().String())
	f(exitUnreachable, "it speaks no TLS", "ring", "--of", "https"+strings.TrimPrefix(answers(200, ""), "http"))
	f(exitUnreachable, "--tls-ca", "subscribe", "wss"+strings.TrimPrefix(secure.URL, "https")+"/t/finals", "--once")

	// No.
	f(exitRefused, "Show a token", "ring", "--of", answers(401, `{"error":"unauthorized","message":"the admin port takes a token"}`))
	f(exitRefused, "none of those that this port takes", "ring", "--token", "x", "--of", answers(401, `{"error":"unauthorized","message":"the admin port takes a token"}`))
	f(exitRefused, "This is the port for clients", "ring", "--of", answers(404, `{"error":"topic_missing","message":"the URL names no topic"}`))
	f(exitRefused, "may not publish", "publish", "--to", answers(403, `{"error":"topic_forbidden","message":"the token may not publish to this topic"}`), "finals", "1")

	// Later, or perhaps.
	f(exitFailure, "Redis can't be reached", "publish", "--to", answers(503, `{"error":"unavailable","message":"Redis can't be reached"}`), "finals", "1")
	f(exitFailure, "it is not ready: ring: nobody is there; redis: away", "healthcheck", "--ready", "--of",
		answers(503, `{"ready":false,"checks":[{"name":"ring","ready":false,"message":"nobody is there"},{"name":"tails","ready":true},{"name":"redis","ready":false,"message":"away"}]}`))
	f(exitUnfinished, "perhaps", "publish", "--to", answers(504, `{"error":"ambiguous","message":"perhaps","ambiguous":true}`), "finals", "1")
	f(exitUnfinished, "It may have been carried out", "publish", "--to",
		fakeAdmin(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); panic(http.ErrAbortHandler) }), "finals", "1")
}

// listener is somebody who says something else than HTTP.
func listener(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// An interrupted subscription ends with the shell's code for the signal, and says where it was.
func TestInterrupted(t *testing.T) {
	g := newFakeGateway(t, says(welcomeAt("a-0-0"), message("a-1-0", "1")), says(welcomeAt("a-0-0"), message("a-1-0", "1")))
	for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		cmd := exec.Command(os.Args[0], "subscribe", g.url)
		cmd.Env = append(os.Environ(), "RINGSIDE_TEST_MAIN=1")
		out, errOut := newOutput(), newOutput()
		cmd.Stdout, cmd.Stderr = out, errOut
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out.waitFor(t, "a-1-0 1")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != code || !strings.Contains(errOut.String(), "last position: a-1-0") {
			t.Errorf("%v: got %v, %q, want %d", sig, err, errOut, code)
		}
	}
}
