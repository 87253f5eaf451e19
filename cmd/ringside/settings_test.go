package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// A policy that is set on one node is told to a client that is connected through others; it survives a restart of all
// nodes at once, because Redis remembers it.
func TestPolicyReachesEverybodyAndStays(t *testing.T) {
	redis := testcluster.NewRedis(t, false).URL()
	cluster := func() (router, g1 *testcluster.Node, stop func()) {
		r := role(t, redis, "router", "--id", "edge")
		router = r.node(t)
		g := role(t, redis, "gateway", "--id", "g1", "--join", router.Gossip, "--drain-window", "50ms")
		g1 = g.node(t)
		ready(t, g1)
		ready(t, router)
		return router, g1, func() {
			for _, p := range []*process{g, r} {
				p.stop()
				<-p.done
			}
		}
	}
	router, g1, stop := cluster()
	sub := start(t, "subscribe", "ws://"+router.Addr+"/t/finals", "--json")
	sub.out.waitFor(t, `"backoff":{"min":200,"max":30000,"factor":2,"jitter":0.5}`)
	code, out, errOut := command(t.Context(), "", nil, "policy", "set", "--of", "http://"+router.Admin, "backoff", "min=1s", "jitter=0.25")
	if want := "backoff min=1s max=30s factor=2 jitter=0.25\n"; code != exitOK || out != want {
		t.Fatalf("policy set: got %d %q %q, want %q", code, out, errOut, want)
	}
	const told = `{"type":"policy","backoff":{"min":1000,"max":30000,"factor":2,"jitter":0.25}}`
	sub.out.waitFor(t, told)
	code, out, errOut = command(t.Context(), "", nil, "pin", "finals", "g1,nobody", "--of", "http://"+g1.Admin)
	if code != exitOK || !strings.Contains(out, "finals  g1,nobody") || !strings.Contains(errOut, "no gateway is called nobody") {
		t.Errorf("pin: got %d %q %q", code, out, errOut)
	}
	testcluster.Eventually(t, "all settings are remembered", func() error {
		for _, n := range []*testcluster.Node{router, g1} {
			r, err := n.Get(t.Context(), "/pins")
			if err == nil && !strings.Contains(r.Body, `"pins":[{"topic":"finals","shards":["g1","nobody"]}],"dedicated":[],"unremembered":0}`) {
				err = fmt.Errorf("/pins: %s", r.Body)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if n := strings.Count(sub.out.String(), `"policy"`); n != 1 {
		t.Errorf("the client was told %d times, want once", n)
	}
	sub.stop()
	<-sub.done
	stop()

	router, g1, _ = cluster()
	sub = start(t, "subscribe", "ws://"+router.Addr+"/t/finals", "--json")
	sub.out.waitFor(t, `"backoff":{"min":1000,"max":30000,"factor":2,"jitter":0.25}`)
	if r, err := g1.Get(t.Context(), "/ring?topic=finals"); err != nil || !strings.Contains(r.Body, `"why":"pinned"`) {
		t.Errorf("/ring?topic=finals: %s, %v", r.Body, err)
	}
	if code, out, _ := command(t.Context(), "", nil, "unpin", "finals", "--of", "http://"+router.Admin); code != exitOK || out != "nothing is pinned or dedicated\n" {
		t.Errorf("unpin: got %d %q", code, out)
	}
	code, out, _ = command(t.Context(), "", nil, "dedicate", "g1", "--of", "http://"+router.Admin)
	if code != exitOK || out != "dedicated  g1\n" {
		t.Errorf("dedicate: got %d %q", code, out)
	}
	code, out, _ = command(t.Context(), "", nil, "dedicate", "g1", "--off", "--of", "http://"+router.Admin)
	if code != exitOK || out != "nothing is pinned or dedicated\n" {
		t.Errorf("dedicate --off: got %d %q", code, out)
	}
}

func TestSettingsRefused(t *testing.T) {
	p := role(t, "redis://127.0.0.1:1", "router", "--id", "edge")
	n := p.node(t)
	f := func(method, path, body string, status int, reason string) {
		t.Helper()
		r, err := testcluster.Do(t.Context(), method, "http://"+n.Admin+path, body, nil)
		if err != nil || r.Status != status || r.Reason() != reason {
			t.Errorf("%s %s %s: got %d %s, %v; want %d %s", method, path, body, r.Status, r.Body, err, status, reason)
		}
	}
	f(http.MethodPut, "/policy", `{"min":0}`, 400, "policy")
	f(http.MethodPut, "/policy", `{"min":1e30}`, 400, "policy")
	f(http.MethodPut, "/policy", `{"speed":1}`, 400, "json")
	f(http.MethodPut, "/policy", `{}`, 400, "json")
	f(http.MethodPut, "/policy", ``, 400, "json")
	f(http.MethodPut, "/policy", `{"jitter":2}`, 400, "policy")
	f(http.MethodDelete, "/policy", ``, 405, "method")
	f(http.MethodPut, "/pins/", ``, 400, "topic_empty")
	f(http.MethodPut, "/pins/finals", ``, 400, "shards")
	f(http.MethodPut, "/pins/finals?shards=a,,b", ``, 400, "shards")
	f(http.MethodPut, "/pins/finals?shards="+strings.Repeat("g,", 12)+"g", ``, 400, "shards")
	f(http.MethodGet, "/pins/finals", ``, 404, "not_found")
	f(http.MethodPut, "/dedicated/", ``, 400, "shards")
	f(http.MethodPut, "/dedicated/a%0Ab", ``, 400, "shards")
	for _, args := range []string{"policy set backoff min=1h", "policy set backoff speed=1", "policy set speed 1", "policy set backoff", "pin finals"} {
		code, _, errOut := command(t.Context(), "", nil, append(strings.Fields(args), "--of", "http://"+n.Admin)...)
		if code == exitOK || errOut == "" {
			t.Errorf("%s: got %d %q", args, code, errOut)
		}
	}
}
