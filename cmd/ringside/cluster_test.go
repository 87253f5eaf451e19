package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// process is a command that runs in this process.
type process struct {
	out, err *output
	stop     context.CancelFunc
	done     chan struct{}
	code     int // valid once done is closed
}

// start runs a command line until it ends or the test does.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p := &process{out: newOutput(), err: newOutput(), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.code = run(ctx, args, nil, stdio{in: strings.NewReader(""), out: p.out, err: p.err})
	}()
	t.Cleanup(func() {
		stop()
		<-p.done
		if t.Failed() {
			t.Logf("---- %v\n%s%s", args, p.out, p.err)
		}
	})
	return p
}

var logged = map[string]*regexp.Regexp{
	"listen": regexp.MustCompile(`"listen":"([^"]+)"`),
	"admin":  regexp.MustCompile(`"admin":"([^"]+)"`),
	"gossip": regexp.MustCompile(`"gossip":"([^"]+)"`),
}

// node finds the addresses that a router or gateway is bound to in its log.
func (p *process) node(t *testing.T) *testcluster.Node {
	t.Helper()
	p.err.waitFor(t, `"msg":"started"`)
	find := func(name string) string { return logged[name].FindStringSubmatch(p.err.String())[1] }
	return &testcluster.Node{Process: &testcluster.Process{Name: "node"}, Addr: find("listen"), Admin: find("admin"), Gossip: find("gossip")}
}

// role starts a router or gateway on free ports.
func role(t *testing.T, redis string, args ...string) *process {
	t.Helper()
	return start(t, append(args, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--gossip", "127.0.0.1:0",
		"--redis", redis, "--log-format", "json")...)
}

// ready waits until a node is.
func ready(t *testing.T, n *testcluster.Node) {
	t.Helper()
	testcluster.Eventually(t, "ready", func() error { return n.Ready(t.Context()) })
}

func TestRoles(t *testing.T) {
	redis := testcluster.NewRedis(t, false).URL()
	routerProcess := role(t, redis, "router", "--id", "edge")
	router := routerProcess.node(t)
	g1Process := role(t, redis, "gateway", "--id", "g1", "--join", router.Gossip, "--drain-window", "50ms")
	g1 := g1Process.node(t)
	ready(t, g1)
	testcluster.Eventually(t, "the router knows g1", func() error {
		ring, err := router.Ring(t.Context())
		if m, _ := ring.Member("g1"); err == nil && m.State != "active" {
			err = fmt.Errorf("g1 is %q", m.State)
		}
		return err
	})
	ready(t, router)

	sub := start(t, "subscribe", "ws://"+router.Addr+"/t/finals", "--once")
	sub.err.waitFor(t, "following finals")
	code, out, errOut := command(t.Context(), "", nil, "publish", "--to", "http://"+g1.Admin, "finals", `{"score":"2:1"}`)
	if code != exitOK || !strings.Contains(out, `"slot":198`) {
		t.Errorf("publish: got %d %s%s", code, out, errOut)
	}
	<-sub.done
	if sub.code != exitOK || !strings.Contains(sub.out.String(), ` {"score":"2:1"}`) {
		t.Errorf("subscribe: got %d %q", sub.code, sub.out)
	}
	metrics, err := router.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`ringside_build_info{`, `role="router"`, "ringside_router_", "ringside_gossip_", "ringside_stream_", "ringside_admin_"} {
		if !strings.Contains(metrics.Body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if problems, err := promlint.New(strings.NewReader(metrics.Body)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("/metrics: %v, %v", problems, err)
	}

	for _, flags := range [][]string{{}, {"--ready"}} {
		testcluster.Eventually(t, "it is well", func() error { // on a busy machine its slots may be stale for a moment
			if code, out, errOut := command(t.Context(), "", nil, append([]string{"healthcheck", "--of", "http://" + g1.Admin}, flags...)...); code != exitOK || out == "" {
				return fmt.Errorf("healthcheck %v: got %d %q %q", flags, code, out, errOut)
			}
			return nil
		})
	}
	if code, out, errOut = command(t.Context(), "", nil, "drain", "--of", "http://"+router.Admin); code != exitUsage || !strings.Contains(errOut, "edge is no gateway") {
		t.Errorf("drain of a router: got %d %q %q", code, out, errOut)
	}
	code, out, errOut = command(t.Context(), "", nil, "drain", "--of", "http://"+g1.Admin)
	if code != exitOK || !strings.HasPrefix(out, "g1 drains\n") || !strings.Contains(out, "g1 has left") {
		t.Errorf("drain: got %d %q %q", code, out, errOut)
	}
	<-g1Process.done
	if g1Process.code != exitOK {
		t.Errorf("the drained gateway: got exit code %d, want 0", g1Process.code)
	}
	testcluster.Eventually(t, "the router has nobody left", func() error {
		if router.Ready(t.Context()) == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	if code, out, errOut = command(t.Context(), "", nil, "healthcheck", "--ready", "--of", "http://"+router.Admin); code != exitFailure || out != "" || errOut == "" {
		t.Errorf("healthcheck --ready of a router without gateways: got %d %q %q", code, out, errOut)
	}
	routerProcess.stop()
	<-routerProcess.done
	if routerProcess.code != exitOK {
		t.Errorf("the router: got exit code %d, want 0", routerProcess.code)
	}
}

// A gateway that never got ready can leave all the same.
func TestLeaveWhileJoining(t *testing.T) {
	p := role(t, "redis://127.0.0.1:1", "gateway", "--id", "g1")
	n := p.node(t)
	r, err := n.Get(t.Context(), "/readyz")
	if err != nil || r.Status != http.StatusServiceUnavailable || !strings.Contains(r.Body, `"message":"joining"`) {
		t.Errorf("/readyz: got %d %s, %v", r.Status, r.Body, err)
	}
	if r, err := n.Post(t.Context(), "/drain", ""); err != nil || r.Status != http.StatusAccepted {
		t.Errorf("POST /drain: got %d %s, %v", r.Status, r.Body, err)
	}
	<-p.done
	if p.code != exitOK {
		t.Errorf("got exit code %d, want 0", p.code)
	}
}

// A port that is taken is named with its flag, and the others are let go.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := func(role, flag string) {
		t.Helper()
		args := []string{role, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--gossip", "127.0.0.1:0"}
		if role == "gateway" {
			args = append(args, "--id", "g1")
		}
		for i := range args {
			if args[i] == "--"+flag {
				args[i+1] = taken.Addr().String()
			}
		}
		code, _, errOut := command(t.Context(), "", nil, args...)
		if want := "--" + flag + " " + taken.Addr().String() + ": address already in use"; code != exitFailure || !strings.Contains(errOut, want) {
			t.Errorf("%s --%s: got %d %q, want %q", role, flag, code, errOut, want)
		}
	}
	for _, role := range []string{"router", "gateway"} {
		f(role, "listen")
		f(role, "admin")
		f(role, "gossip")
	}
	code, _, errOut := command(t.Context(), "", nil, "dev", "--listen", taken.Addr().String(), "--admin", "127.0.0.1:0")
	if code != exitFailure || !strings.Contains(errOut, "--listen") {
		t.Errorf("dev: got %d %q", code, errOut)
	}
}

// Who can be reached from elsewhere without a secret is told so; on loopback nobody is bothered.
func TestWarnsWithoutSecret(t *testing.T) {
	f := func(listen, secret string, want bool) {
		t.Helper()
		args := []string{"gateway", "--id", "g1", "--listen", listen, "--admin", "127.0.0.1:0", "--gossip", "127.0.0.1:0",
			"--redis", "redis://127.0.0.1:1", "--advertise", "127.0.0.1", "--log-format", "json"}
		if secret != "" {
			args = append(args, "--secret", secret)
		}
		p := start(t, args...)
		p.err.waitFor(t, `"msg":"started"`)
		p.stop()
		<-p.done
		if got := strings.Contains(p.err.String(), "whoever does can join the cluster"); got != want {
			t.Errorf("--listen %s with the secret %q: warned %v, want %v", listen, secret, got, want)
		}
	}
	f("127.0.0.1:0", "", false)
	f("0.0.0.0:0", "", true)
	f("0.0.0.0:0", "0123456789abcdef", false)
}

func TestDev(t *testing.T) {
	p := start(t, "dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--gateways", "2", "--log-format", "json")
	p.out.waitFor(t, "Ctrl-C ends it.")
	admin := regexp.MustCompile(`page +http://([^/]+)/`).FindStringSubmatch(p.out.String())[1]
	listen := regexp.MustCompile(`connect +ws://([^/]+)/t/finals`).FindStringSubmatch(p.out.String())[1]
	n := &testcluster.Node{Process: &testcluster.Process{Name: "dev"}, Addr: listen, Admin: admin}
	testcluster.Eventually(t, "both gateways", func() error {
		ring, err := n.Ring(t.Context())
		for _, id := range []string{"g1", "g2"} {
			if m, _ := ring.Member(id); err == nil && m.State != "active" {
				err = fmt.Errorf("%s is %q", id, m.State)
			}
		}
		return err
	})
	sub := start(t, "subscribe", "ws://"+listen+"/t/finals", "--count", "2")
	sub.err.waitFor(t, "following finals")
	place, err := n.Place(t.Context(), "finals")
	if err != nil {
		t.Fatal(err)
	}
	publish := func(data string) {
		t.Helper()
		if code, _, errOut := command(t.Context(), "", nil, "publish", "--to", "http://"+admin, "finals", data); code != exitOK {
			t.Fatal(errOut)
		}
	}
	publish("1")
	// The one that serves it goes and comes back; the subscriber has to move, and misses nothing.
	if code, out, errOut := command(t.Context(), "", nil, "drain", "--of", "http://"+admin, place.Owner); code != exitOK {
		t.Errorf("drain: %d %s%s", code, out, errOut)
	}
	publish("2")
	<-sub.done
	if lines := strings.Split(sub.out.String(), "\n"); len(lines) != 3 || !strings.HasSuffix(lines[0], " 1") || !strings.HasSuffix(lines[1], " 2") {
		t.Errorf("subscribe: got %q", sub.out)
	}
	testcluster.Eventually(t, place.Owner+" comes back", func() error {
		ring, err := n.Ring(t.Context())
		if m, _ := ring.Member(place.Owner); err == nil && m.State != "active" {
			err = fmt.Errorf("it is %q", m.State)
		}
		return err
	})
	killUnder(t, n, listen)
	r, err := testcluster.Do(t.Context(), http.MethodGet, "http://"+listen+"/", "", nil)
	if err != nil || r.Status != http.StatusFound || r.Header.Get("Location") != "http://"+admin+"/" {
		t.Errorf("/ of the public port: got %d %v, %v", r.Status, r.Header, err)
	}
	if r, err = testcluster.Do(t.Context(), http.MethodGet, "http://"+listen+"/other", "", nil); err != nil || r.Status != http.StatusNotFound || r.Reason() != "topic_missing" {
		t.Errorf("/other of the public port: got %d %s, %v", r.Status, r.Body, err)
	}
	p.stop()
	<-p.done
	if p.code != exitOK {
		t.Errorf("got exit code %d, want 0", p.code)
	}
}

// killUnder kills the gateway that a subscriber of the match is served by: it misses nothing, and a fresh one comes.
func killUnder(t *testing.T, n *testcluster.Node, listen string) {
	t.Helper()
	place, err := n.Place(t.Context(), matchTopic)
	if err != nil {
		t.Fatal(err)
	}
	sub := start(t, "subscribe", "ws://"+listen+"/t/"+matchTopic, "--count", "60")
	sub.err.waitFor(t, "following "+matchTopic)
	for want, path := range map[int]string{http.StatusOK: place.Owner, http.StatusConflict: "g9"} {
		if r, err := n.Post(t.Context(), "/stage/kill?shard="+path, ""); err != nil || r.Status != want {
			t.Fatalf("kill %s: got %d %s, %v, want %d", path, r.Status, r.Body, err, want)
		}
	}
	<-sub.done
	var last uint64
	for i, line := range strings.Split(strings.TrimSpace(sub.out.String()), "\n") {
		var m matchState
		if _, text, _ := strings.Cut(line, " "); json.Unmarshal([]byte(text), &m) != nil {
			t.Fatalf("line %d: %q", i, line)
		}
		if i > 0 && m.Seq != last+1 {
			t.Errorf("line %d: got %d after %d", i, m.Seq, last)
		}
		last = m.Seq
	}
	testcluster.Eventually(t, "a fresh one", func() error {
		ring, err := n.Ring(t.Context())
		if m, _ := ring.Member(place.Owner); err == nil && m.State != "active" {
			err = fmt.Errorf("it is %q", m.State)
		}
		return err
	})
	if c, err := n.Get(t.Context(), "/cluster"); err != nil || !strings.Contains(c.Body, `"hottest":[{"topic":"`+matchTopic+`"`) {
		t.Errorf("/cluster does not name the match: %v %.300s", err, c.Body)
	}
}
