package webfiles

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func TestFiles(t *testing.T) {
	embedded := fstest.MapFS{
		"static/index.html": {Data: []byte("<html>")}, "static/app.js": {Data: []byte("1")}, "static/secret.txt": {Data: []byte("x")},
		"static/deep/a.css": {Data: []byte("p{}")},
	}
	dir, err := Sub(embedded, "static")
	if err != nil {
		t.Fatal(err)
	}
	files := Files{Dir: dir, Base: "/board/"}
	f := func(method, path string, status int, mediaType string) {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "/", nil)
		r.URL.Path = path
		Headers(w.Header(), "ws://a:1")
		files.ServeHTTP(w, r)
		if w.Code != status || !strings.HasPrefix(w.Header().Get("Content-Type"), mediaType) {
			t.Errorf("%s %s: got %d %s, want %d %s", method, path, w.Code, w.Header().Get("Content-Type"), status, mediaType)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "connect-src 'self' ws://a:1;") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	f("GET", "/board/", 200, "text/html")
	f("HEAD", "/board/app.js", 200, "text/javascript")
	f("GET", "/board/deep/a.css", 200, "text/css")
	f("GET", "/board/deep", 404, "application/json")
	f("GET", "/board/secret.txt", 404, "application/json") // a type that no page has
	f("GET", "/board/../static/app.js", 404, "application/json")
	f("GET", "/board//app.js", 404, "application/json")
	f("GET", "/app.js", 404, "application/json")
	f("POST", "/board/", 405, "application/json")
	if _, err := Sub(embedded, "nothing"); err == nil {
		t.Error("a folder without a page: got no error")
	}
}
