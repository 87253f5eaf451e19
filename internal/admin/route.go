package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"
)

// route is what serves a path, or everything below one when the path ends with a slash.
type route struct {
	path    string
	name    string                                             // label of the metrics
	methods []string                                           // nil: it looks for itself
	serve   func(w http.ResponseWriter, r *http.Request) error // nil, or what to answer
	needs   need                                               // what a client must be allowed
}

func (s *Server) routes() []route {
	get, post := []string{http.MethodGet, http.MethodHead}, []string{http.MethodPost}
	return []route{
		{"/ring", "ring", get, s.serveRing, needsAdmin},
		{"/metrics", "metrics", get, plain(s.deps.Metrics.ServeHTTP), needsMetrics},
		{"/healthz", "healthz", get, s.serveHealth, needsNothing},
		{"/readyz", "readyz", get, s.serveReady, needsNothing},
		{"/publish", "publish", post, s.servePublish, needsPublish},
		{"/publish/", "publish", post, s.servePublishRaw, needsPublish},
		{"/policy", "policy", append(get, http.MethodPut, http.MethodPost), s.servePolicy, needsAdmin},
		{"/pins", "pins", get, s.servePins, needsAdmin},
		{"/pins/", "pins", []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}, s.servePin, needsAdmin},
		{"/dedicated/", "dedicated", []string{http.MethodPut, http.MethodPost, http.MethodDelete}, s.serveDedicated, needsAdmin},
		{"/drain", "drain", post, s.serveDrain, needsAdmin},
		{"/debug/pprof/", "pprof", append(get, http.MethodPost), servePprof, needsAdmin},
		{"/", "other", nil, s.serveRoot, needsAdmin},
	}
}

// handler finds the route by hand: http.ServeMux would redirect a topic with "//" or "/../" in it, and answers
// in plain text.
func (s *Server) handler() http.Handler {
	routes := s.routes()
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		out := &response{ResponseWriter: w}
		h := out.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		rt := find(routes, r.URL.EscapedPath())
		var err error
		r, no := s.cfg.Trust.check(r, rt.needs)
		switch {
		case no != nil:
			if no.status == http.StatusUnauthorized {
				h.Set("WWW-Authenticate", "Bearer")
			}
			err = no
		case cross.Check(r) != nil:
			err = refuse(http.StatusForbidden, "cross_origin", "a page of another site must not use the admin port")
		case rt.methods != nil && !slices.Contains(rt.methods, r.Method):
			h.Set("Allow", strings.Join(rt.methods, ", "))
			err = refuse(http.StatusMethodNotAllowed, "method", fmt.Sprintf("%s takes %s", rt.path, strings.Join(rt.methods, ", ")))
		default:
			err = rt.serve(out, r)
		}
		if err != nil {
			s.fail(out, rt.name, err)
		}
		s.metrics.answered(rt.name, out.status(), time.Since(started))
	})
}

// find is the first route that a path belongs to; the last one takes every path.
func find(routes []route, path string) route {
	for _, rt := range routes {
		if path == rt.path || strings.HasSuffix(rt.path, "/") && strings.HasPrefix(path, rt.path) {
			return rt
		}
	}
	return routes[len(routes)-1] // "*" of an OPTIONS request
}

// plain makes a route's function of a handler that answers by itself.
func plain(h http.HandlerFunc) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}
}

// servePprof serves profiles. A CPU profile or a trace takes as long as it is asked to: without the read deadline the
// server would take a client that waits for one that has gone.
func servePprof(w http.ResponseWriter, r *http.Request) error {
	rc := http.NewResponseController(w)
	if err := errors.Join(rc.SetWriteDeadline(time.Time{}), rc.SetReadDeadline(time.Time{})); err != nil {
		return err
	}
	switch r.URL.Path {
	case "/debug/pprof/cmdline":
		return refuse(http.StatusNotFound, "not_found", "the command line is not served: it can hold a secret")
	case "/debug/pprof/profile":
		pprof.Profile(w, r)
	case "/debug/pprof/symbol":
		pprof.Symbol(w, r)
	case "/debug/pprof/trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
	return nil
}

// index is what / says when nothing else is served there.
const index = `Ringside admin port

  GET  /ring?format=text    the ring; JSON without the format
  GET  /ring?topic=finals   where a topic is
  GET  /metrics             Prometheus
  GET  /healthz  /readyz    alive; able to work
  POST /publish             {"topic":"finals","data":{"score":"2:1"},"id":"goal-17"}
  POST /publish/finals      the payload as the body
  GET  /policy              how clients come back; PUT {"min":200,"max":30000,"factor":2,"jitter":0.5} or some of it
  GET  /pins                pinned topics and dedicated shards; PUT /pins/finals?shards=g1,g2, DELETE /pins/finals
  PUT  /dedicated/g3        a shard for pinned topics only; DELETE /dedicated/g3
  POST /drain               drain this gateway; on a router ?shard=g1
  GET  /debug/pprof/        profiles
`

func (s *Server) serveRoot(w http.ResponseWriter, r *http.Request) error {
	switch {
	case s.deps.Root != nil:
		s.deps.Root.ServeHTTP(w, r)
	case r.URL.Path != "/":
		return refuse(http.StatusNotFound, "not_found", "nothing is here: GET / lists what is")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		return refuse(http.StatusMethodNotAllowed, "method", "/ takes GET, HEAD")
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(index)) // the client has gone when it fails
	}
	return nil
}

// response remembers the status for the metrics.
type response struct {
	http.ResponseWriter
	code int
}

func (r *response) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController find the connection.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *response) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}
