package page

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, h http.Handler, method, target, host string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// testStage has one gateway, which can be killed once.
func testStage() Stage {
	lives := true
	return Stage{
		Topic: "final", Crowd: func() Crowd { return Crowd{Viewers: 3, Received: 70} },
		Kill: func(shard string) error {
			if shard != "g1" || !lives {
				return errors.New("it is not there at present")
			}
			lives = false
			return nil
		},
	}
}

func TestPage(t *testing.T) {
	h, err := New("127.0.0.1:8080", testStage())
	if err != nil {
		t.Fatal(err)
	}
	f := func(method, target string, status int, mediaType, contains string) {
		t.Helper()
		w := get(t, h, method, target, "127.0.0.1:8081")
		if w.Code != status || !strings.HasPrefix(w.Header().Get("Content-Type"), mediaType) || !strings.Contains(w.Body.String(), contains) {
			t.Errorf("%s %s: got %d %s, want %d %s", method, target, w.Code, w.Header().Get("Content-Type"), status, mediaType)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("%s: policy %q", target, csp)
		}
	}
	f("GET", "/", 200, "text/html", "<html")
	f("GET", "/app.js", 200, "text/javascript", "Client")
	f("GET", "/client.js", 200, "text/javascript", "since")
	f("GET", "/style.css", 200, "text/css", "prefers-color-scheme: dark")
	f("GET", "/icon.svg", 200, "image/svg+xml", "<svg")
	f("GET", "/page.json", 200, "application/json", `{"connect":"ws://127.0.0.1:8080","topic":"final"}`)
	f("GET", "/stage.json", 200, "application/json", `"viewers":3,"received":70,"lost":0`)
	f("POST", "/stage.json", 405, "application/json", "method")
	f("GET", "/stage/kill?shard=g1", 405, "application/json", "method")
	f("POST", "/stage/kill?shard=<b>", 409, "application/json", "not_there")
	f("POST", "/stage/kill?shard=g1", 200, "application/json", `{"killed":"g1"}`)
	f("POST", "/stage/kill?shard=g1", 409, "application/json", "not_there")
	f("GET", "/static/app.js", 404, "application/json", "not_found")
	f("GET", "/x/app.js", 404, "application/json", "not_found")
	f("GET", "/favicon.ico", 404, "application/json", "not_found")
	f("POST", "/", 405, "application/json", "method")
}

// The page is reached by another name than the router is bound to; what is no name is not repeated.
func TestConnect(t *testing.T) {
	h, err := New("127.0.0.1:8080", testStage())
	if err != nil {
		t.Fatal(err)
	}
	f := func(host, want string) {
		t.Helper()
		w := get(t, h, "GET", "/", host)
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "connect-src 'self' "+want+" "+gateways+";") {
			t.Errorf("%s: got %q, want %s in it", host, csp, want)
		}
	}
	f("localhost:8081", "ws://localhost:8080")
	f("[::1]:8081", "ws://[::1]:8080")
	f("edge-1.example:8081", "ws://edge-1.example:8080")
	f("x; script-src *:8081", "ws://127.0.0.1:8080")
	f("x y:8081", "ws://127.0.0.1:8080")
	f("no-port", "ws://127.0.0.1:8080")
	f("", "ws://127.0.0.1:8080")
}

// The policy forbids what is inline or elsewhere: the files must do without.
func TestPolicyFits(t *testing.T) {
	inline := regexp.MustCompile(`(?i)\son\w+\s*=|\sstyle\s*=|<style|<script[^>]*>[^<]|javascript:|innerHTML|\beval\(|https?://`)
	err := fs.WalkDir(static, "static", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".svg") {
			return err
		}
		text, err := fs.ReadFile(static, path)
		rest := strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", "") // a name, not an address
		if found := inline.FindString(rest); found != "" {
			t.Errorf("%s: %q", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
