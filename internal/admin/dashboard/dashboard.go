// Package dashboard is the page of an admin port that shows the cluster to people: the ring with its slots and shards, sessions, lag
// and watermarks, hot topics, rates, refusals, and what is wrong before all of it.
//
// Its files are embedded and need nobody: no build step, nothing from another host, no inline script. They hold no data; the page asks
// GET /cluster for it every 400 ms, with the token that its user has typed in where the port demands one, and POST /drain to drain a
// gateway. Names and topics in the answers are hostile: the page writes them as text only, never as markup.
package dashboard

import (
	"embed"
	"net/http"

	"github.com/ringside-edge/ringside/internal/webfiles"
)

//go:embed static
var static embed.FS

// Base is the path that the page is served at.
const Base = "/dashboard/"

// Handler serves the page.
func Handler() (http.Handler, error) {
	dir, err := webfiles.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	files := webfiles.Files{Dir: dir, Base: Base}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		webfiles.Headers(w.Header())
		files.ServeHTTP(w, r)
	}), nil
}
