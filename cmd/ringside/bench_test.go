package main

import (
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/load/bench"
)

func TestBenchUsage(t *testing.T) {
	f := func(line string, code int, want ...string) {
		t.Helper()
		got, out, errOut := command(t.Context(), "", nil, strings.Fields(line)...)
		if got != code {
			t.Errorf("%q: got exit code %d, want %d\n%s%s", line, got, code, out, errOut)
		}
		for _, w := range want {
			if !strings.Contains(out+errOut, w) {
				t.Errorf("%q: got %q, want %q in it", line, out+errOut, w)
			}
		}
	}
	f("bench --help", exitOK, "steady", "ramp", "storm", "handshakes")
	f("bench ramp --help", exitOK, "ringside-raw", "--refine", "--html")
	f("bench", exitUsage, "<url>")
	f("bench ws://127.0.0.1:1 --subscribers 0", exitUsage, "--subscribers")
	f("bench storm ws://127.0.0.1:1 --ways sideways", exitUsage, "sideways")
	f("bench wss://127.0.0.1", exitUsage, "TLS")
	f("bench nonsense", exitUsage, `"nonsense" is no URL`)
	f("bench ws://127.0.0.1:1 --from nonsense", exitUsage, "--from")
	f("bench ws://127.0.0.1:1 --template /nowhere.yaml", exitUsage, "nowhere")
	f("bench ws://127.0.0.1:1/{topik}", exitUsage, "no variable {topik}")
	f("bench ws://127.0.0.1:1 --publish redis://127.0.0.1:1", exitFailure, "cannot publish")
	f("bench ws://127.0.0.1:1 --publish redis://127.0.0.1:1 --rate 0", exitUsage, "rate of 0")
}

// What is typed changes the template.
func TestBenchConfig(t *testing.T) {
	b := benchCrowd{URLs: []string{"ws://example.org/live/{topic:path}?x=1", "http://[::1]:9000"}, Template: "ringside", Subprotocol: "odd", Header: map[string]string{"X-A": "b"},
		Subscribers: 10, Topics: 2, Topic: "t", Back: "naive", Pid: map[string]int{"b": 2, "a": 1}, PerAddress: 1}
	b.Token = "secret"
	var cfg bench.Config
	if err := b.config(&cfg, &benchPress{Rate: 3}); err != nil {
		t.Fatal(err)
	}
	tpl := cfg.Spec.Template
	if tpl.Path != "/live/{topic:path}?x=1" || tpl.Subprotocol != "odd" || tpl.Headers["X-A"] != "b" || tpl.Headers["Authorization"] != "Bearer secret" {
		t.Errorf("template: got %+v", tpl)
	}
	if got := strings.Join(cfg.Spec.Targets, " ") + " " + strings.Join(cfg.Spec.Topics, " "); got != "example.org:80 [::1]:9000 t-0 t-1" {
		t.Errorf("targets and topics: got %s", got)
	}
	if cfg.Publish != "http://127.0.0.1:8081" || cfg.Token != "secret" || cfg.Spec.Back != load.Naive || cfg.Watched[0].Name != "a" || cfg.Watched[1].PID != 2 {
		t.Errorf("got %+v", cfg)
	}
}

func TestBenchSource(t *testing.T) {
	f := func(from string, subscribers int, targets []string, want string) {
		t.Helper()
		b := benchCrowd{From: from, Subscribers: subscribers, PerAddress: 5}
		got, err := b.source(targets)
		if err != nil || got.Prefix.IsValid() && got.Prefix.String() != want || !got.Prefix.IsValid() && want != "" {
			t.Errorf("%s, %d, %v: got %+v, %v, want %q", from, subscribers, targets, got, err, want)
		}
	}
	f("", 100, []string{"127.0.0.1:1"}, "")
	f("", 30000, []string{"127.0.0.1:1"}, "127.0.0.0/8")
	f("", 30000, []string{"10.1.2.3:1"}, "")
	f("10.0.0.0/24", 1, nil, "10.0.0.0/24")
	f("10.0.0.7", 1, nil, "10.0.0.7/32")
}

func TestCommandLine(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if got := commandLine(append([]string{"/bin/ringside"}, args...)); got != want {
			t.Errorf("%q: got %s, want %s", args, got, want)
		}
	}
	f("ringside")
	f("ringside bench ws://h:1 'a b'", "bench", "ws://h:1", "a b")
	f("ringside --token … x", "--token", "secret", "x")
	f("ringside --token=…", "--token=secret")
	f("ringside --header A=… --header=B=…", "--header", "A=secret", "--header=B=secret")
	f("ringside --publish=redis://…@h:1", "--publish=redis://u:secret@h:1")
}
