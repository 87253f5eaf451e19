package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Commands show what they are given to show, and say what is wrong with it.
func TestCredentials(t *testing.T) {
	var got string
	admin := fakeAdmin(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		fmt.Fprintln(w, aRing)
	})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("# mine\nfrom-a-file finals\nthe-next\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(want string, env []string, args ...string) {
		t.Helper()
		got = ""
		for _, c := range [][]string{{"publish", "--to", admin, "finals", "1"}, {"ring", "--of", admin}, {"drain", "g1", "--no-wait", "--of", admin}} {
			code, _, errOut := command(t.Context(), "", env, append(c, args...)...)
			if code != exitOK || got != want {
				t.Errorf("%v %v: got %q (%d %s), want %q", c, args, got, code, errOut, want)
			}
		}
	}
	f("", nil)
	f("Bearer from-a-file", nil, "--token-file", file)
	f("Bearer from-a-file", []string{"RINGSIDE_TOKEN_FILE=" + file})
	f("Bearer given", []string{"RINGSIDE_TOKEN=given"})
	for _, args := range [][]string{{"--token-file", file + "x"}, {"--token-file", os.DevNull}, {"--tls-ca", file}, {"--tls-cert", file}} {
		if code, _, errOut := command(t.Context(), "", nil, append([]string{"ring", "--of", admin}, args...)...); code == exitOK || errOut == "" {
			t.Errorf("%v: got %d, %q", args, code, errOut)
		}
	}
}

// A gateway whose authentication can't work does not start, and says why.
func TestAccessRefused(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		args = append([]string{"gateway", "--id", "g1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--gossip", "127.0.0.1:0"}, args...)
		code, _, errOut := command(t.Context(), "", nil, args...)
		if code != exitFailure || !strings.Contains(errOut, want) {
			t.Errorf("%v: got %d, %q, want %q", args, code, errOut, want)
		}
	}
	f("no way to authenticate", "--auth", "magic")
	f("open stands alone", "--auth", "open,jwt")
	f("exclude each other", "--auth", "rpc,webhook")
	f("no jwt-algorithms are set", "--auth", "jwt")
	f("no rpc-host is set", "--auth", "rpc")
	f("want one of jwt-secret-file", "--auth", "jwt", "--jwt-algorithms", "HS256")
	f("is not an algorithm", "--jwt-algorithms", "none", "--jwt-secret-file", short)
	f("too short", "--jwt-algorithms", "HS256", "--jwt-secret-file", short)
	f("keys that everybody may know", "--jwt-algorithms", "RS256", "--jwt-secret-file", short)
	f("of one kind", "--jwt-algorithms", "HS256,RS256", "--jwt-secret-file", short)
	f("want https", "--jwt-algorithms", "RS256", "--jwt-jwks-url", "http://login.example/keys")
	f("want https", "--webhook-url", "http://app.example/", "--webhook-secret-file", short, "--allowed-origins", "https://www.example")
	f("too short", "--publish-tokens-file", short)
	f("no such file", "--admin-token-file", short+"x")
}
