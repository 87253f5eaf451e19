// Package webfiles serves the files of a page that is embedded in the program, as they are: no build step, and nothing from
// another host. The policy that it sends forbids inline scripts and styles, and every connection that is not named.
package webfiles

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// types are the media types of the files.
//
//nolint:gochecknoglobals // a constant
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Files are the files of a page: one folder, with an index.html.
type Files struct {
	Dir  fs.FS
	Base string // path of the page, with a slash at its end
}

// Headers sets the headers of the page's answers. The page may connect to where it came from and to those that are named.
func Headers(h http.Header, connect ...string) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "+
		strings.Join(append([]string{"'self'"}, connect...), " ")+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
}

// ServeHTTP answers with a file, or says that there is none.
func (f Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		Problem(w, http.StatusMethodNotAllowed, "method", "the page takes GET, HEAD")
		return
	}
	name, below := strings.CutPrefix(r.URL.Path, f.Base)
	if name == "" {
		name = "index.html"
	}
	text, err := fs.ReadFile(f.Dir, name)
	if !below || err != nil || types[path.Ext(name)] == "" {
		Problem(w, http.StatusNotFound, "not_found", "the page has no such file")
		return
	}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	_, _ = w.Write(text) // the client has gone when it fails
}

// Problem answers with an error as the admin port does.
func Problem(w http.ResponseWriter, status int, reason, message string) {
	JSON(w, status, map[string]string{"error": reason, "message": message})
}

// JSON answers with a value.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone when it fails
}

// Sub is a folder of an embedded file system.
func Sub(embedded fs.FS, dir string) (fs.FS, error) {
	sub, err := fs.Sub(embedded, dir)
	if err == nil {
		_, err = fs.Stat(sub, "index.html")
	}
	if err != nil {
		return nil, fmt.Errorf("webfiles: %w", err)
	}
	return sub, nil
}
