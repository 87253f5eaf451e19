package admin

import (
	"net/http"
	"strings"

	"github.com/ringside-edge/ringside/internal/admin/dashboard"
	"github.com/ringside-edge/ringside/internal/openapi"
)

// wantsPage reports whether a browser opens the port by its bare address.
func wantsPage(r *http.Request) bool {
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		strings.Contains(r.Header.Get("Accept"), "text/html")
}

// serveDashboard serves the dashboard's files, and leads browsers there.
func (s *Server) serveDashboard(w http.ResponseWriter, r *http.Request) error {
	if !strings.HasPrefix(r.URL.Path, dashboard.Base) {
		w.Header().Set("Location", dashboard.Base)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	s.dashboard.ServeHTTP(w, r)
	return nil
}

// serveDescription serves the description of the API, as it was written or in JSON.
func (s *Server) serveDescription(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	kind, text := "application/json", s.api
	if strings.HasSuffix(r.URL.Path, ".yaml") {
		kind, text = "application/yaml", openapi.YAML()
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(text) // the client has gone when it fails
	return nil
}
