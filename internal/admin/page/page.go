// Package page is the page that `ringside dev` serves at /: a live final that goes on while gateways are killed and drained under
// it, beside a plain WebSocket that just reconnects, and a form to follow and publish by hand. It is also the smallest example of a
// client: see static/client.js.
//
// The files are embedded and served as they are: no build step, nothing from another host.
package page

import (
	"embed"
	"fmt"
	"net"
	"net/http"
	"regexp"

	"github.com/ringside-edge/ringside/internal/webfiles"
)

//go:embed static
var static embed.FS

// Stage is the development cluster as its page knows it. Its functions don't block and are safe for concurrent use.
type Stage struct {
	Topic string                   // of the match; empty when none is played
	Kill  func(shard string) error // ends a gateway as kill -9 does
	Crowd func() Crowd
}

// Crowd is what the viewers beside the page have counted, all together.
type Crowd struct {
	Viewers  int64 `json:"viewers"` // connected at present
	Received int64 `json:"received"`
	Lost     int64 `json:"lost"`
	Repeated int64 `json:"repeated"`
	Returns  int64 `json:"returns"` // connections that ended, and were made anew
}

// hostname is what a Host header may name for us to repeat it.
var hostname = regexp.MustCompile(`^([A-Za-z0-9.-]{1,253}|[0-9a-fA-F:.]{2,45})$`)

// gateways is where the page may connect to past the router, to show what is lost without it.
const gateways = "ws://127.0.0.1:*"

// New makes the handler for /, the files of the page, and what it asks for:
//
//	GET  /page.json            {"connect","topic"}: where to connect to, and what is played
//	GET  /stage.json           what the crowd has counted
//	POST /stage/kill?shard=g1  kills a gateway
//
// router is the host:port of the router's public port.
func New(router string, stage Stage) (http.Handler, error) {
	host, port, err := net.SplitHostPort(router)
	if err != nil {
		return nil, fmt.Errorf("page: router address %q: %w", router, err)
	}
	dir, err := webfiles.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	files := webfiles.Files{Dir: dir, Base: "/"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connect := "ws://" + net.JoinHostPort(seenAs(r.Host, host), port)
		webfiles.Headers(w.Header(), connect, gateways)
		switch r.URL.Path {
		case "/stage/kill":
			stage.serveKill(w, r)
		case "/page.json":
			serveValue(w, r, map[string]string{"connect": connect, "topic": stage.Topic})
		case "/stage.json":
			serveValue(w, r, stage.Crowd())
		default:
			files.ServeHTTP(w, r)
		}
	}), nil
}

func (s *Stage) serveKill(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		webfiles.Problem(w, http.StatusMethodNotAllowed, "method", "/stage/kill takes POST")
		return
	}
	shard := r.URL.Query().Get("shard")
	if err := s.Kill(shard); err != nil {
		webfiles.Problem(w, http.StatusConflict, "not_there", err.Error())
		return
	}
	webfiles.JSON(w, http.StatusOK, map[string]string{"killed": shard})
}

func serveValue(w http.ResponseWriter, r *http.Request, v any) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		webfiles.Problem(w, http.StatusMethodNotAllowed, "method", r.URL.Path+" takes GET, HEAD")
		return
	}
	webfiles.JSON(w, http.StatusOK, v)
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
