// Package page is the page that `ringside dev` serves at /: a scoreboard that follows a topic, publishes to it and
// shows where it is placed. It is also the smallest example of a client: see static/client.js.
//
// The files are embedded and served as they are: no build step, nothing from another host.
package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"regexp"
)

//go:embed static
var static embed.FS

// types are the media types of the page's files.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// hostname is what a Host header may name for us to repeat it.
var hostname = regexp.MustCompile(`^([A-Za-z0-9.-]{1,253}|[0-9a-fA-F:.]{2,45})$`)

// New makes the handler for / and the files of the page. router is the host:port of the router's public port.
func New(router string) (http.Handler, error) {
	host, port, err := net.SplitHostPort(router)
	if err != nil {
		return nil, fmt.Errorf("page: router address %q: %w", router, err)
	}
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connect := "ws://" + net.JoinHostPort(seenAs(r.Host, host), port)
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' "+
			connect+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			problem(w, http.StatusMethodNotAllowed, "method", "the page takes GET, HEAD")
			return
		}
		name := path.Base(r.URL.Path)
		switch r.URL.Path {
		case "/":
			name = "index.html"
		case "/page.json":
			writeJSON(w, http.StatusOK, map[string]string{"connect": connect})
			return
		}
		text, err := fs.ReadFile(files, name)
		if err != nil || r.URL.Path != "/" && r.URL.Path != "/"+name {
			problem(w, http.StatusNotFound, "not_found", "the page has no such file")
			return
		}
		h.Set("Content-Type", types[path.Ext(name)])
		_, _ = w.Write(text) // the client has gone when it fails
	}), nil
}

// seenAs is the router's host as the browser can reach it: router and page are one process, so that it is the host
// by which the page was reached, when that looks like one.
func seenAs(requested, fallback string) string {
	host, _, err := net.SplitHostPort(requested)
	if err != nil || !hostname.MatchString(host) {
		return fallback
	}
	return host
}

func problem(w http.ResponseWriter, status int, reason, message string) {
	writeJSON(w, status, map[string]string{"error": reason, "message": message})
}

func writeJSON(w http.ResponseWriter, status int, v map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone when it fails
}
