package gateway

import (
	"net/http"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/origin"
)

func TestOrigins(t *testing.T) {
	allowed, err := origin.Parse([]string{"https://shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, func(c *Config) { c.Origins = allowed })
	f := func(status int, origins ...string) {
		t.Helper()
		c, resp, err := websocket.DefaultDialer.Dial("ws://"+r.g.Addr()+"/t/finals", http.Header{"Origin": origins})
		if err == nil {
			c.Close()
		}
		if resp == nil || resp.StatusCode != status {
			t.Errorf("%q: got %v, want %d", origins, err, status)
		}
	}
	f(http.StatusSwitchingProtocols)
	f(http.StatusSwitchingProtocols, "https://shop.example")
	f(http.StatusForbidden, "https://evil.example")
	f(http.StatusForbidden, "null")
	f(http.StatusForbidden, "https://shop.example", "https://evil.example")
	events := func(origin, query, allowed string) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.g.Addr()+"/t/finals"+query, nil)
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Origin", origin)
		tr := &http.Transport{DisableKeepAlives: true}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != allowed {
			t.Errorf("%s: got %d, allowed %q, want %q", origin, resp.StatusCode, got, allowed)
		}
	}
	events("https://shop.example", "", "https://shop.example")
	events("https://shop.example", "?since=x", "https://shop.example") // a refusal can be read too
	events("https://evil.example", "", "")
	preflight := func(origin, method string, status int, headers string) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+r.g.Addr()+"/t/finals", nil)
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", method)
		tr := &http.Transport{DisableKeepAlives: true}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Headers"); resp.StatusCode != status || got != headers {
			t.Errorf("%s, %s: got %d, headers %q, want %d, %q", origin, method, resp.StatusCode, got, status, headers)
		}
	}
	preflight("https://shop.example", "GET", http.StatusNoContent, "Authorization, Last-Event-ID, Cache-Control")
	preflight("https://shop.example", "POST", http.StatusMethodNotAllowed, "")
	preflight("https://evil.example", "GET", http.StatusForbidden, "")
	if got := r.g.metrics.preflights.Load(); got != 1 {
		t.Errorf("preflights: got %d, want 1", got)
	}
}
