package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What belongs to no handler in particular: paths, methods, queries, headers and counters.
func TestRoutes(t *testing.T) {
	p := start(t, "r1", false, nil)
	f := func(method, path string, status int, reason string, headers ...string) answered {
		t.Helper()
		a := p.do(t, method, path, "", headers...)
		if a.status != status || a.reason() != reason {
			t.Errorf("%s %s: got %d %q, want %d %q", method, path, a.status, a.reason(), status, reason)
		}
		return a
	}
	if a := f("GET", "/", 200, ""); !strings.Contains(a.body, "POST /publish") {
		t.Errorf("/ does not list what there is: %q", a.body)
	}
	f("GET", "/healthz", 200, "")
	f("HEAD", "/healthz", 200, "")
	f("GET", "/metrics", 200, "")
	f("GET", "/debug/pprof/", 200, "")
	f("GET", "/debug/pprof/heap", 200, "")
	f("GET", "/debug/pprof/cmdline", 404, "not_found")
	f("GET", "/debug/pprof/symbol", 200, "")
	f("GET", "/favicon.ico", 404, "not_found")
	f("GET", "/ring/", 404, "not_found")
	f("POST", "/", 405, "method")
	f("POST", "/ring", 405, "method")
	f("PUT", "/publish/x", 405, "method")
	f("GET", "/drain", 405, "method")
	if a := f("GET", "/publish", 405, "method"); a.header.Get("Allow") != "POST" {
		t.Errorf("Allow: got %q, want POST", a.header.Get("Allow"))
	}
	f("GET", "/healthz?x=1", 400, "query")
	f("GET", "/ring?topic=a&topic=b", 400, "query")
	f("GET", "/ring?%zz", 400, "query")
	f("GET", "/ring?x=1;y=2", 400, "query")
	// A browser that shows another site must not reach us.
	f("POST", "/drain", 403, "cross_origin", "Sec-Fetch-Site: cross-site")
	f("POST", "/publish/x", 403, "cross_origin", "Origin: https://elsewhere.example")

	a := f("GET", "/metrics", 200, "")
	for _, want := range []string{
		`ringside_admin_requests_total{code="200",handler="healthz"} 2`,
		`ringside_admin_requests_total{code="405",handler="publish"} 2`,
		`ringside_admin_requests_total{code="403",handler="drain"} 1`,
		`ringside_admin_refusals_total{reason="cross_origin"} 2`,
		`ringside_admin_request_seconds_count{handler="ring"}`,
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: got %v", a.header)
	}
}

func TestReady(t *testing.T) {
	var redis, ring error
	p := start(t, "g1", true, func(d *Deps) {
		d.Checks = []Check{{"redis", func() error { return redis }}, {"ring", func() error { return ring }}}
	})
	f := func(status int, body string) {
		t.Helper()
		metric := fmt.Sprintf("\nringside_admin_ready{check=\"redis\"} %d\n", map[bool]int{true: 1}[redis == nil])
		if a := p.do(t, "GET", "/metrics", ""); !strings.Contains(a.body, metric) {
			t.Errorf("/metrics lacks %q", metric)
		}
		if a := p.do(t, "GET", "/readyz", ""); a.status != status || a.body != body+"\n" {
			t.Errorf("got %d %s, want %d %s", a.status, a.body, status, body)
		}
	}
	f(200, `{"ready":true,"checks":[{"name":"redis","ready":true},{"name":"ring","ready":true}]}`)
	redis = errors.New("connection refused")
	f(503, `{"ready":false,"checks":[{"name":"redis","ready":false,"message":"connection refused"},{"name":"ring","ready":true}]}`)
	ring = errors.New("no gateway")
	f(503, `{"ready":false,"checks":[{"name":"redis","ready":false,"message":"connection refused"},{"name":"ring","ready":false,"message":"no gateway"}]}`)
}

// Root is what an own page of the port needs.
func TestRoot(t *testing.T) {
	p := start(t, "r1", false, func(d *Deps) {
		d.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		})
	})
	if a := p.do(t, "GET", "/page.js", ""); a.status != http.StatusTeapot {
		t.Errorf("got %d, want the root's answer", a.status)
	}
	if a := p.do(t, "GET", "/metrics", ""); !strings.Contains(a.body, `ringside_admin_requests_total{code="418",handler="other"} 1`) {
		t.Error("the root's answer is not counted")
	}
}

func TestAddressTaken(t *testing.T) {
	p := start(t, "r1", false, nil)
	_, err := New(Config{Listen: p.Addr(), MaxPayload: 1}, p.deps)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v, want that the address is in use", err)
	}
}
