package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// grammar is an application with the three roles, as the program has it.
type grammar struct {
	Router  Router  `cmd:""`
	Gateway Gateway `cmd:""`
	Dev     Dev     `cmd:""`
}

// parse reads a command line of words with the given environment and, when it is not empty, a file.
func parse(t *testing.T, line string, env []string, file string) (grammar, error) {
	t.Helper()
	args := strings.Fields(line)
	if file != "" {
		path := filepath.Join(t.TempDir(), "test.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	var g grammar
	k, err := kong.New(&g, append(Options(env), kong.Name("ringside"))...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Parse(args)
	return g, Explain(err)
}

func TestPrecedence(t *testing.T) {
	f := func(flag, env, file string, want time.Duration) {
		t.Helper()
		line := "router"
		if flag != "" {
			line += " --drain-window " + flag
		}
		var vars []string
		if env != "" {
			vars = []string{"PATH=/bin", "RINGSIDE_DRAIN_WINDOW=" + env}
		}
		if file != "" {
			file = "drain-window: " + file + "\n"
		}
		g, err := parse(t, line, vars, file)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Router.DrainWindow; got != want {
			t.Errorf("flag %q, env %q, file %q: got %v, want %v", flag, env, file, got, want)
		}
	}
	f("", "", "", 30*time.Second)
	f("", "", "3s", 3*time.Second)
	f("", "2s", "", 2*time.Second)
	f("", "2s", "3s", 2*time.Second)
	f("1s", "", "3s", time.Second)
	f("1s", "2s", "", time.Second)
	f("1s", "2s", "3s", time.Second)
	// A value that equals the default still wins over what is behind it.
	f("30s", "2s", "3s", 30*time.Second)
	f("", "30s", "3s", 30*time.Second)
}

// The command lines that the documentation promises work without more.
func TestRoles(t *testing.T) {
	g, err := parse(t, "router --listen 127.0.0.1:8080 --admin 127.0.0.1:8081 --gossip 127.0.0.1:7946 --join a:1,b:2 --redis redis://127.0.0.1:6379", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if r := g.Router; len(r.Join) != 2 || r.Join[1] != "b:2" || r.MaxHeader != 8<<10 || r.IdleTimeout != 75*time.Second || r.LogLevel != "info" {
		t.Errorf("router: got %+v", r)
	}
	g, err = parse(t, "gateway --id g1 --listen 127.0.0.1:9101 --admin 127.0.0.1:9201 --gossip 127.0.0.1:7947 --join 127.0.0.1:7946 --redis redis://127.0.0.1:6379 --static legacy=10.0.0.9:80", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if gw := g.Gateway; gw.ID != "g1" || gw.LogTotalBytes != 256<<20 || gw.Weight != 1 || len(gw.Static) != 1 || gw.Static[0] != (Static{"legacy", "10.0.0.9:80"}) {
		t.Errorf("gateway: got %+v", gw)
	}
	if g, err = parse(t, "dev", nil, ""); err != nil || g.Dev.Gateways != 3 || g.Dev.Redis != "" {
		t.Errorf("dev: got %+v, %v", g.Dev, err)
	}
}

func TestFile(t *testing.T) {
	const file = "# a comment\nid: g7\njoin:\n  - a:1\n  - \"b:2\"\nlisten: '[::1]:9000'\nweight: 2\nportable: true\nmax-frame: 1KiB\nstatic: []\nzone: \"\"\n"
	g, err := parse(t, "gateway", nil, file)
	if err != nil {
		t.Fatal(err)
	}
	if gw := g.Gateway; gw.ID != "g7" || len(gw.Join) != 2 || gw.Listen != "[::1]:9000" || gw.Weight != 2 || !gw.Portable || gw.MaxFrame != 1024 || len(gw.Static) != 0 {
		t.Errorf("got %+v", gw)
	}
	path := filepath.Join(t.TempDir(), "env.yaml")
	if err := os.WriteFile(path, []byte("id: g8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err = parse(t, "gateway", []string{"RINGSIDE_CONFIG=" + path}, "")
	if err != nil || g.Gateway.ID != "g8" {
		t.Errorf("file named by the environment: got %q, %v", g.Gateway.ID, err)
	}
}

// What is refused, and that the message names the place, the key and what it accepts.
func TestRefused(t *testing.T) {
	f := func(line, env, file string, want ...string) {
		t.Helper()
		var vars []string
		if env != "" {
			vars = []string{env}
		}
		_, err := parse(t, line, vars, file)
		if err == nil {
			t.Errorf("%s, env %q, file %q: want an error", line, env, file)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s, env %q, file %q: got %q, want %q in it", line, env, file, err, w)
			}
		}
	}
	// Flags.
	f("router --lisen :1", "", "", "--lisen", "--listen")
	f("router --listen 8080", "", "", "--listen", `"8080"`, "host:port")
	f("router --listen a:99999", "", "", "--listen", "port")
	f("router --drain-window 5", "", "", "--drain-window", `"5" is not a duration`, "30s", "from 10ms to 1h")
	f("router --drain-window 2h", "", "", "--drain-window", "too large", "from 10ms to 1h")
	f("router --max-header 1MB", "", "", "--max-header", `"1MB" is not a size`, "64KiB")
	f("router --max-header 1B", "", "", "--max-header", "too small")
	f("router --loops x", "", "", "--loops", "whole number", "from 0 to 256")
	f("router --loops=-1", "", "", "--loops", "too small")
	f("router --redis http://x", "", "", "--redis", "redis://")
	f("router --redis redis://user:hunter2@:/%zz", "", "", "--redis", "redis://")
	f("router --join 10.0.0.7", "", "", "--join", "host:port")
	f("router --join :7946", "", "", "--join", "lacks a host")
	f("router --static a:1", "", "", "--static", "name=host:port")
	f("router --static a=b:1,a=c:1", "", "", "static", "named twice")
	f("router --advertise 10.0.0.1:80", "", "", "--advertise", "without a port")
	f("router --secret short", "", "", "--secret", "16")
	f("router --secret 0123456789abcdef --secret-file x", "", "", "secret and secret-file")
	f("router --log-level loud", "", "", "--log-level", "debug", "warn")
	f("router --dial-timeout 9s", "", "", "dial-timeout", "handshake-timeout")
	f("router --max-url 9KiB", "", "", "max-url", "max-header")
	f("router --admin 127.0.0.1:8080", "", "", "listen and admin", "127.0.0.1:8080")
	f("router --admin 0.0.0.0:8081", "", "", "admin: 0.0.0.0:8081", "other machines", "admin-token-file", "admin-open")
	f("gateway --id g1 --client-burst 64", "", "", "client-burst (64)", "max-topics (64)")
	f("gateway --id g1 --max-topics 2 --client-burst 17", "", "", "client-burst (17)", "18", "max-frame (64KiB)")
	f("gateway --id g1 --client-rate 0", "", "", "--client-rate", "too small")
	f("gateway --id g1 --max-node-topics 0", "", "", "--max-node-topics", "too small")
	f("router --admin-connections 1", "", "", "--admin-connections", "too small")
	f("gateway --id g1 --admin 10.0.0.7:9201", "", "", "admin-token-file")
	f("dev --admin :8081", "", "", "admin-open")
	f("router --admin-tls-cert x", "", "", "admin-tls-key")
	f("router --admin-tls-client-ca x", "", "", "admin-tls-cert")
	f("gateway --id g1 --webhook-url https://x", "", "", "webhook-secret-file")
	f("gateway --id g1 --rpc-host a:1 --app-timeout 3s", "", "", "app-timeout", "handshake-timeout")
	f("gateway --id g1 --auth jwt --max-header 4KiB", "", "", "max-header", "8KiB")
	f("gateway", "", "", "--id")
	f("gateway --id g/1", "", "", "--id", "letters")
	f("gateway --id g1 --static g1=a:1", "", "", "static", "own id")
	f("gateway --id g1 --log-bytes 1GiB", "", "", "log-bytes", "log-total-bytes")
	f("dev --gateways 0", "", "", "--gateways", "from 1 to 16")
	// Environment.
	f("router", "RINGSIDE_LISEN=:1", "", "RINGSIDE_LISEN", "unknown", "did you mean RINGSIDE_LISTEN?")
	f("router", "RINGSIDE_QWERTZUIOP=1", "", "RINGSIDE_QWERTZUIOP: unknown environment variable")
	f("router", "RINGSIDE_DRAIN_WINDOW=x", "", `RINGSIDE_DRAIN_WINDOW: "x" is not a duration`)
	f("router", "RINGSIDE_LOG_LEVEL=loud", "", `RINGSIDE_LOG_LEVEL: "loud" is not one of debug, info, warn, error`)
	f("router", "RINGSIDE_CONFIG=nowhere.yaml", "", "nowhere.yaml", "no such file")
	// File.
	f("router", "", "lisen: ':1'\n", "test.yaml:1: lisen: unknown key", "router", "did you mean listen?")
	f("router", "", "\ngateways: 3\n", "test.yaml:2: gateways: unknown key")
	f("router", "", "config: x\n", "config: unknown key")
	f("router", "", "drain-window: 5\n", `test.yaml:1: drain-window: "5" is not a duration`)
	f("router", "", "drain-window:\n", "test.yaml:1: drain-window: has no value")
	f("router", "", "drain-window: {a: 1}\n", "drain-window: want a value or a list")
	f("router", "", "join: [[a]]\n", "join: line 1")
	f("router", "", "join: ['a:1,b:2']\n", "join: line 1", "comma")
	f("router", "", "loops: 1\nloops: 2\n", "test.yaml", "loops")
	f("router", "", "- a\n", "test.yaml:1: want lines of")
	f("router", "", "a: [\n", "test.yaml")
	f("gateway", "", "id: g1\nlog-level: loud\n", `test.yaml:2: log-level: "loud" is not one of`)
}

// Variables that are not settings of ours, or of another command, are passed over.
func TestEnvironmentOfOthers(t *testing.T) {
	f := func(env string) {
		t.Helper()
		if _, err := parse(t, "router", []string{env}, ""); err != nil {
			t.Errorf("%s: %v", env, err)
		}
	}
	f("RINGSIDE_TEST_BINARY=/x")
	f("RINGSIDE_GATEWAYS=3")
	f("RINGSIDE_JOIN=")
	f("RINGSIDE_WHATEVER=")
	f("RINGSIDE_SERVICE_HOST=10.0.0.1")
	f("RINGSIDE_ROUTER_SERVICE_PORT_HTTP=80")
	f("RINGSIDE_PORT=tcp://10.0.0.1:80")
	f("RINGSIDE_ROUTER_PORT_8080_TCP_ADDR=10.0.0.1")
}

func TestSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	f := func(text, want string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := Cluster{SecretFile: path}
		got, err := c.Secrets()
		switch {
		case err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%q: got error %q, want %q in it", text, err, want)
		case err == nil && strings.Join(got, " ") != want:
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	f("0123456789abcdef", "0123456789abcdef")
	f("# new\n0123456789abcdef\n\n fedcba9876543210 \n", "0123456789abcdef fedcba9876543210")
	f("short\n", "too short")
	f("# nothing\n", "holds no secret")

	one := Cluster{Secret: "0123456789abcdef"}
	if got, err := one.Secrets(); err != nil || len(got) != 1 {
		t.Errorf("one secret: got %q, %v", got, err)
	}
	if got, err := (&Cluster{}).Secrets(); err != nil || got != nil {
		t.Errorf("no secret: got %q, %v", got, err)
	}
	if got := one.Secret.String(); strings.Contains(got, "0123") {
		t.Errorf("a secret prints as %q", got)
	}
}

func TestDefaults(t *testing.T) {
	want, err := parse(t, "gateway --id g1", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := DefaultGateway("g1"); !reflect.DeepEqual(got, want.Gateway) {
		t.Errorf("gateway: got %+v, want %+v", got, want.Gateway)
	}
	if want, err = parse(t, "router", nil, ""); err != nil || !reflect.DeepEqual(DefaultRouter(), want.Router) {
		t.Errorf("router: got %+v, want %+v, %v", DefaultRouter(), want.Router, err)
	}
}
