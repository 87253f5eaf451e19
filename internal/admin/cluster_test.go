package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringside-edge/ringside/internal/certs"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/ring"
)

// telling makes a gateway's admin port that tells n.
func telling(n Node) func(*Deps) {
	return func(d *Deps) { d.Node = func() Node { return n } }
}

// cluster asks for the cluster.
func (p *port) cluster(t *testing.T, headers ...string) clusterAnswer {
	t.Helper()
	a := p.do(t, "GET", "/cluster", "", headers...)
	var c clusterAnswer
	if err := json.Unmarshal([]byte(a.body), &c); err != nil || a.status != 200 {
		t.Fatalf("/cluster: got %d %s: %v", a.status, a.body, err)
	}
	return c
}

func (c clusterAnswer) find(t *testing.T, id string) clusterMember {
	t.Helper()
	for _, m := range c.Members {
		if m.ID == id {
			return m
		}
	}
	t.Fatalf("%s is not in the answer", id)
	return clusterMember{}
}

// hostile is what a name or a topic can be.
const hostile = "</script><img src=x onerror=alert(1)>\"'&\u2028\x7f"

func TestCluster(t *testing.T) {
	tokens := tokens(t, false, adminToken)
	trust := Config{Listen: "127.0.0.1:0", MaxPayload: testPayload, Trust: Trust{Admins: tokens}}
	as := func(id string) Config {
		c := trust
		c.Self = id
		return c
	}
	told := Node{
		Role: "gateway", State: "active", Sessions: 7, Limit: 100, Refused: map[string]uint64{"full": 3},
		Gateway: &GatewayNode{Hottest: []HotTopic{{hostile, 5, 1.5}}, Tails: []SlotTail{{Slot: 3, Owned: true, Lag: 12}}},
	}
	g1 := startWith(t, as("g1"), true, telling(told))
	closed := closedAddr(t)
	p := startWith(t, as("edge-1"), false, telling(Node{Role: "router"}))
	p.ring.Store(ring.New([]ring.Member{
		gateway("g1", ring.StateActive, g1.Addr()),
		gateway("g2", ring.StateActive, closed),
		{ID: "legacy", Role: ring.RoleGateway, State: ring.StateActive, Addr: "127.0.0.1:1", Static: true},
		{ID: "edge-1", Role: ring.RoleRouter, State: ring.StateActive, Admin: p.Addr()},
	}))
	const auth = "Authorization: Bearer " + adminToken
	var c clusterAnswer
	testcluster.Eventually(t, "all are asked", func() error {
		c = p.cluster(t, auth)
		for _, m := range c.Members {
			if m.Node == nil && m.Problem == "" {
				return fmt.Errorf("nothing is known of %s", m.ID)
			}
		}
		return nil
	})
	if m := c.find(t, "g1"); m.Node == nil || m.Node.Sessions != 7 || m.Node.Gateway.Hottest[0].Topic != hostile || m.Node.Refused["full"] != 3 || m.Node.Life == "" {
		t.Errorf("g1: got %+v", m)
	}
	if m := c.find(t, "g2"); m.Node != nil || !strings.Contains(m.Problem, "refused") {
		t.Errorf("g2: got %+v, want that it does not answer", m)
	}
	if m := c.find(t, "legacy"); m.Node != nil || !strings.Contains(m.Problem, "configuration") {
		t.Errorf("legacy: got %+v", m)
	}
	if m := c.find(t, "edge-1"); m.Node == nil || m.Node.Role != "router" {
		t.Errorf("edge-1: got %+v", m)
	}
	if len(c.Owners) != 256 || c.Owners[0] == "" || c.Self != "edge-1" {
		t.Errorf("got %d owners, self %q", len(c.Owners), c.Self)
	}
	for _, path := range []string{"/cluster", "/node"} {
		if a := p.do(t, "GET", path, ""); a.status != 401 {
			t.Errorf("%s without a token: got %d", path, a.status)
		}
		if a := p.do(t, "POST", path, "", auth); a.status != 405 {
			t.Errorf("POST %s: got %d", path, a.status)
		}
		if a := p.do(t, "GET", path+"?x=1", "", auth); a.status != 400 {
			t.Errorf("%s?x=1: got %d", path, a.status)
		}
	}
	if a := p.do(t, "GET", "/metrics", "", auth); !strings.Contains(a.body, `ringside_admin_gathers_total{outcome="unreachable"}`) {
		t.Error("/metrics lacks what came of asking")
	}
}

// A node that stops is shown as gone, with none of its numbers.
func TestClusterGone(t *testing.T) {
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, Node{ID: "g1", Role: "gateway", Sessions: 7})
	}))
	other.Start()
	p := start(t, "edge-1", false, nil)
	p.ring.Store(ring.New([]ring.Member{gateway("g1", ring.StateActive, other.Listener.Addr().String())}))
	testcluster.Eventually(t, "g1 tells", func() error {
		if m := p.cluster(t).find(t, "g1"); m.Node == nil || m.Node.Sessions != 7 {
			return fmt.Errorf("got %+v", m)
		}
		return nil
	})
	other.Close()
	testcluster.Eventually(t, "g1 is gone", func() error {
		if m := p.cluster(t).find(t, "g1"); m.Node != nil || m.Problem == "" {
			return fmt.Errorf("got %+v", m)
		}
		return nil
	})
}

// What answers at the address of a node need not be one.
func TestClusterBadAnswers(t *testing.T) {
	var reply atomic.Pointer[func(w http.ResponseWriter)]
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { (*reply.Load())(w) }))
	defer other.Close()
	p := start(t, "edge-1", false, nil)
	f := func(say func(w http.ResponseWriter), want string) {
		t.Helper()
		reply.Store(&say)
		// A member of another name at the same address is asked anew.
		testcluster.Eventually(t, want, func() error {
			p.ring.Store(ring.New([]ring.Member{gateway("g1", ring.StateActive, other.Listener.Addr().String())}))
			if m := p.cluster(t).find(t, "g1"); m.Node != nil || !strings.Contains(m.Problem, want) {
				return fmt.Errorf("got %+v", m)
			}
			return nil
		})
	}
	f(func(w http.ResponseWriter) {
		answer(w, 200, Node{ID: "g2" + strings.Repeat("x", 1000), Role: "gateway"})
	}, "another node answers at its address")
	f(func(w http.ResponseWriter) { answer(w, 200, Node{ID: "g1", Role: "router"}) }, "another node")
	f(func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }, "not understood")
	f(func(w http.ResponseWriter) { _, _ = w.Write([]byte(strings.Repeat(" ", maxNode+1))) }, "too large")
	f(func(w http.ResponseWriter) { w.WriteHeader(401) }, "does not take this token")
	f(func(w http.ResponseWriter) { w.WriteHeader(404) }, "earlier version")
	f(func(w http.ResponseWriter) { w.WriteHeader(421) }, "admin-hosts")
	f(func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(302) }, "status 302")
	f(func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "does not answer")
}

// Another node's word is cut to what one of ours can have to say.
func TestNodeBound(t *testing.T) {
	n := Node{State: strings.Repeat("ä", 1000), Checks: make([]checkResult, 1000), Refused: map[string]uint64{}, Gateway: &GatewayNode{
		Tails: make([]SlotTail, 5000), Hottest: []HotTopic{{Topic: strings.Repeat("x", 5000)}}, Delivery: Delivery{Bounds: make([]float64, 99), Counts: make([]uint64, 99)},
	}}
	for i := range 1000 {
		n.Refused[fmt.Sprint(i)] = 1
	}
	n.bound()
	if len(n.State) != maxText || len(n.Checks) != maxChecks || len(n.Refused) != maxReasons || len(n.Gateway.Tails) != maxTails ||
		len(n.Gateway.Hottest[0].Topic) != maxText || len(n.Gateway.Delivery.Bounds) > 20 || len(n.Gateway.Delivery.Counts) > 21 {
		t.Errorf("got %+v", n)
	}
	if got := cut(strings.Repeat("a", maxText-1) + "ä"); got != strings.Repeat("a", maxText-1) {
		t.Errorf("a character was cut in two: %q", got)
	}
}

// However many look, a node is asked no more often.
func TestClusterIsAskedOnce(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
		answer(w, 200, Node{ID: "g1", Role: "gateway"})
	}))
	defer other.Close()
	p := start(t, "edge-1", false, nil)
	p.ring.Store(ring.New([]ring.Member{gateway("g1", ring.StateActive, other.Listener.Addr().String())}))
	done := make(chan struct{})
	const lookers = 10
	for range lookers {
		go func() {
			defer func() { done <- struct{}{} }()
			p.cluster(t)
		}()
	}
	testcluster.Eventually(t, "it is asked", func() error {
		if asked.Load() == 0 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	for range lookers {
		<-done
	}
	if n := asked.Load(); n > 2 { // 500 ms of looking, and at most one request at a time
		t.Errorf("%d who looked made %d requests under way at once", lookers, n)
	}
	close(release)
}

// A token goes to nodes that somebody vouches for only.
func TestClusterKeepsToken(t *testing.T) {
	far := gateway("g1", ring.StateActive, "192.0.2.1:9201")
	f := func(sealed bool, want string) {
		t.Helper()
		p := startWith(t, Config{
			Listen: "127.0.0.1:0", Self: "edge-1", MaxPayload: testPayload, Sealed: sealed, Trust: Trust{Admins: tokens(t, false, adminToken)},
		}, false, nil)
		p.ring.Store(ring.New([]ring.Member{far}))
		testcluster.Eventually(t, want, func() error {
			if m := p.cluster(t, "Authorization: Bearer "+adminToken).find(t, "g1"); !strings.Contains(m.Problem, want) {
				return fmt.Errorf("got %+v", m)
			}
			return nil
		})
	}
	f(false, "the cluster has no secret")
	f(true, "does not answer")
}

// With certificates on both sides nodes ask each other by theirs.
func TestClusterOverTLS(t *testing.T) {
	ca := newAuthority(t)
	as := func(id string) Config {
		cert, key := ca.issue(id, false)
		server, err1 := certs.Server(certs.Files{CA: ca.file, Cert: cert, Key: key})
		client, err2 := certs.Client(certs.Files{CA: ca.file, Cert: cert, Key: key}, "")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		return Config{Listen: "127.0.0.1:0", Self: id, MaxPayload: testPayload, Trust: Trust{TLS: server, Client: client}}
	}
	g1 := startWith(t, as("g1"), true, telling(Node{Role: "gateway", Sessions: 7}))
	p := startWith(t, as("edge-1"), false, nil)
	p.ring.Store(ring.New([]ring.Member{gateway("g1", ring.StateActive, g1.Addr())}))
	mine, myKey := ca.issue("operator", false)
	tr := func(files certs.Files) *http.Transport {
		files.CA = ca.file
		c, err := certs.Client(files, "")
		if err != nil {
			t.Fatal(err)
		}
		return &http.Transport{DisableKeepAlives: true, TLSClientConfig: c}
	}
	ask := func(with *http.Transport, path string) (int, string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+p.Addr()+path, nil)
		resp, err := with.RoundTrip(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	testcluster.Eventually(t, "g1 tells", func() error {
		if code, body := ask(tr(certs.Files{Cert: mine, Key: myKey}), "/cluster"); code != 200 || !strings.Contains(body, `"sessions":7`) {
			return fmt.Errorf("got %d %s", code, body)
		}
		return nil
	})
	if code, _ := ask(tr(certs.Files{}), "/cluster"); code != 401 {
		t.Errorf("without a certificate: got %d", code)
	}
	if code, _ := ask(tr(certs.Files{}), "/dashboard/"); code != 200 {
		t.Errorf("the page without a certificate: got %d", code)
	}
}

// The page is for everybody: it holds nothing.
func TestDashboard(t *testing.T) {
	p := startTrusting(t, Trust{Admins: tokens(t, false, adminToken)})
	f := func(path string, status int, mediaType string, headers ...string) answered {
		t.Helper()
		a := p.do(t, "GET", path, "", headers...)
		if a.status != status || !strings.HasPrefix(a.header.Get("Content-Type"), mediaType) {
			t.Errorf("%s: got %d %s, want %d %s", path, a.status, a.header.Get("Content-Type"), status, mediaType)
		}
		return a
	}
	a := f("/dashboard/", 200, "text/html")
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'; script-src 'self'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy: %q", csp)
	}
	f("/dashboard/nothing.js", 404, "application/json")
	f("/dashboard/../ring", 404, "application/json")
	if a := f("/dashboard", 303, ""); a.header.Get("Location") != "/dashboard/" {
		t.Errorf("got Location %q", a.header.Get("Location"))
	}
	f("/", 303, "", "Accept: text/html,*/*;q=0.8")
	f("/", 401, "application/json")
}
