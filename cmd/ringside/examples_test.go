package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// devCluster is a cluster of three gateways in this process, and the environment by which commands find it.
func devCluster(t *testing.T) (env []string, router string) {
	t.Helper()
	dev := start(t, "dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--no-match", "--log-format", "json",
		"--redis", testcluster.NewRedis(t, false).URL())
	dev.out.waitFor(t, "Ctrl-C ends it.")
	after := func(before string) string {
		_, rest, _ := strings.Cut(dev.out.String(), before)
		return strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0])
	}
	router = strings.TrimSuffix(strings.TrimPrefix(after("connect "), "ws://"), "/t/finals")
	admin := strings.TrimSuffix(after("page "), "/")
	env = []string{"RINGSIDE_OF=" + admin, "RINGSIDE_TO=" + admin}
	allThere(t, env)
	return env, router
}

// published runs f while messages are published to finals.
func published(t *testing.T, env []string, f func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			command(ctx, "", env, "publish", "finals", `{"score":"0:0"}`)
			<-tick.C
		}
	})
	f()
	stop()
	wg.Wait()
}

// allThere waits until the three gateways are: one that was drained comes back.
func allThere(t *testing.T, env []string) {
	t.Helper()
	testcluster.Eventually(t, "all gateways are there", func() error {
		code, out, errOut := command(t.Context(), "", env, "ring")
		if code != exitOK || strings.Count(out, "active") < 5 { // the heading, the router, three gateways
			return fmt.Errorf("ring: %d %s%s", code, out, errOut)
		}
		return nil
	})
}

// all runs each example of each command that can be run, in the order of --help, and hands on what it printed.
func all(t *testing.T, env []string, router string, f func(name string, p entry, args []string, code int, out, errOut string)) {
	t.Helper()
	names := []string{""}
	for _, n := range commands(model(t).Model.Node) {
		names = append(names, commandName(n))
	}
	for _, name := range names {
		for _, e := range pages[name].examples {
			if e.alone != "" {
				continue
			}
			line, stdin := strings.ReplaceAll(e.line, "127.0.0.1:8080", router), ""
			if before, after, piped := strings.Cut(line, " | ringside "); piped {
				stdin, line = strings.Join(words(before)[1:], " ")+"\n", "ringside "+after
			}
			args := words(line)[1:]
			for i := range args {
				if strings.HasPrefix(args[i], "configs/") {
					args[i] = "../../" + args[i]
				}
			}
			vars := env
			if name == "check-config" || name == "completion" { // a node's environment, a person's shell
				vars = []string{"RINGSIDE_ID=n1", "SHELL=/bin/bash"}
			}
			allThere(t, env)
			run := func() {
				code, out, errOut := command(t.Context(), stdin, vars, args...)
				f(name, pages[name], args, code, out, errOut)
			}
			if name == "status" { // on a busy machine a slot may be stale for a moment
				testcluster.Eventually(t, "all are well", func() error {
					if code, _, errOut := command(t.Context(), "", vars, "status"); code != exitOK {
						return errors.New(errOut)
					}
					return nil
				})
			}
			if args[0] == "subscribe" { // somebody has to say something
				published(t, env, run)
			} else {
				run()
			}
		}
	}
}

// Every example that can run runs, against a real cluster; what prints JSON prints one document with the fields that are documented, and what
// does not prints no escape.
func TestExamplesRun(t *testing.T) {
	env, router := devCluster(t)
	documents := map[string]bool{}
	all(t, env, router, func(name string, p entry, args []string, code int, out, errOut string) {
		if code != exitOK || out == "" || strings.Contains(out+errOut, "\x1b") {
			t.Errorf("%q: got %d, %q, %q", args, code, out, errOut)
		}
		if !slices.Contains(args, "--json") && name != "publish" || name == "subscribe" {
			return
		}
		documents[name] = true
		fields := decode(t, out)
		for _, f := range p.json {
			if _, ok := fields[f.name]; !ok && f.name != "duplicate" && f.name != "warnings" && f.name != "error" {
				t.Errorf("%q: %s is not in %s", args, f.name, out)
			}
			delete(fields, f.name)
		}
		if len(fields) > 0 {
			t.Errorf("%q: not documented: %q in %s", args, slices.Sorted(maps.Keys(fields)), out)
		}
	})
	// Those of which no example has --json.
	for _, args := range [][]string{
		{"pin", "finals", "g1", "--json"}, {"unpin", "finals", "--json"}, {"dedicate", "g1", "--off", "--json"}, {"policy", "set", "backoff", "factor=2", "--json"},
		{"healthcheck", "--json"}, {"healthcheck", "--json", "--ready"}, {"ring", "--json", "--topic", "finals"}, {"drain", "--json", "--no-wait", "g1"},
	} {
		testcluster.Eventually(t, "it prints JSON", func() error { // a gateway that was drained is not back at once
			code, out, errOut := command(t.Context(), "", env, args...)
			if code != exitOK {
				return fmt.Errorf("%q: got %d, %q, %q", args, code, out, errOut)
			}
			decode(t, out)
			return nil
		})
	}
	for _, name := range []string{"publish", "ring", "drain", "policy show", "pins", "version", "check-config"} {
		if !documents[name] {
			t.Errorf("%s: no document was seen", name)
		}
	}
}

// decode holds that out is one JSON document and a line break.
func decode(t *testing.T, out string) map[string]json.RawMessage {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(out), &fields); err != nil || !strings.HasSuffix(out, "}\n") {
		t.Errorf("%q is no document: %v", out, err)
	}
	return fields
}

// Each event of a subscription is a document on a line.
func TestEventsAreLines(t *testing.T) {
	env, router := devCluster(t)
	var code int
	var out, errOut string
	published(t, env, func() {
		code, out, errOut = command(t.Context(), "", env, "subscribe", "ws://"+router+"/t/finals", "--json", "--count", "2")
	})
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if code != exitOK || len(lines) < 3 {
		t.Fatalf("got %d, %q, %q", code, out, errOut)
	}
	for _, l := range lines {
		if kind := decode(t, l+"\n")["type"]; len(kind) == 0 {
			t.Errorf("%s has no type", l)
		}
	}
}
