package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/admin/dashboard"
)

// route is what serves a path, or everything below one when the path ends with a slash.
type route struct {
	path    string
	name    string                                             // label of the metrics
	methods []string                                           // nil: it looks for itself
	serve   func(w http.ResponseWriter, r *http.Request) error // nil, or what to answer
	needs   need                                               // what a client must be allowed
	most    int                                                // of its requests at once, for all routes of that name; 0: it looks for itself, or is cheap
}

func (s *Server) routes() []route {
	get, post := []string{http.MethodGet, http.MethodHead}, []string{http.MethodPost}
	return []route{
		{"/ring", "ring", get, s.serveRing, needsAdmin, 16},
		{"/cluster", "cluster", get, s.serveCluster, needsAdmin, 32},
		{"/node", "node", get, s.serveNode, needsAdmin, 32},
		{"/topics/", "topics", get, s.serveTopic, needsAdmin, 64},
		{"/dashboard/", "dashboard", get, s.serveDashboard, needsNothing, 32}, // its files hold nothing: what it shows it has to ask for
		{"/metrics", "metrics", get, plain(s.deps.Metrics.ServeHTTP), needsMetrics, 4},
		{"/healthz", "healthz", get, s.serveHealth, needsNothing, 0},
		{"/readyz", "readyz", get, s.serveReady, needsNothing, 0},
		{"/publish", "publish", post, s.servePublish, needsPublish, 0},
		{"/publish/", "publish", post, s.servePublishRaw, needsPublish, 0},
		{"/_broadcast", "broadcast", post, s.serveBroadcast, needsBroadcast, 0},
		{"/policy", "policy", append(get, http.MethodPut, http.MethodPost), s.servePolicy, needsAdmin, 8},
		{"/pins", "pins", get, s.servePins, needsAdmin, 8},
		{"/pins/", "pins", []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}, s.servePin, needsAdmin, 8},
		{"/dedicated/", "dedicated", []string{http.MethodPut, http.MethodPost, http.MethodDelete}, s.serveDedicated, needsAdmin, 8},
		{"/drain", "drain", post, s.serveDrain, needsAdmin, 4},
		{"/openapi.yaml", "openapi", get, s.serveDescription, needsNothing, 8}, // it holds no more than this source does
		{"/openapi.json", "openapi", get, s.serveDescription, needsNothing, 8},
		{"/debug/pprof/", "pprof", append(get, http.MethodPost), servePprof, needsAdmin, 4},
		{"/", "other", nil, s.serveRoot, needsAdmin, 16},
	}
}

// handler finds the route by hand: http.ServeMux would redirect a topic with "//" or "/../" in it, and answers
// in plain text.
func (s *Server) handler() http.Handler {
	routes := s.routes()
	places := placesFor(routes)
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		out := &response{ResponseWriter: w}
		h := out.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		r = r.WithContext(r.Context()) // a copy: by the body of its own the server sees how much was not read
		r.Body = http.MaxBytesReader(out, r.Body, int64(max(s.cfg.MaxPayload+envelope, s.cfg.BatchBytes)))
		rt := find(routes, r.URL.EscapedPath())
		if s.deps.Root == nil && wantsPage(r) || r.URL.Path+"/" == dashboard.Base {
			rt = find(routes, "/dashboard/")
		}
		var err error
		r, no := s.cfg.Trust.check(r, rt.needs)
		crowded := tooMany(r)
		if crowded {
			h.Set("Connection", "close")
		}
		switch {
		case crowded && rt.needs != needsNothing:
			err = &refusal{status: http.StatusServiceUnavailable, reason: "connections", after: retryAfter, message: "the admin port has all the connections that it takes"}
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
			err = places.serve(rt, out, r)
		}
		if err != nil {
			s.fail(out, rt.name, err)
		}
		s.metrics.answered(rt.name, out.status(), time.Since(started))
	})
}

// places bound the requests of each name that are served at once.
type places map[string]chan struct{}

func placesFor(routes []route) places {
	p := places{}
	for _, rt := range routes {
		if rt.most > 0 && p[rt.name] == nil {
			p[rt.name] = make(chan struct{}, rt.most)
		}
	}
	return p
}

// serve serves a request, or refuses it when there are too many of its kind.
func (p places) serve(rt route, w http.ResponseWriter, r *http.Request) error {
	place := p[rt.name]
	if place == nil {
		return rt.serve(w, r)
	}
	select {
	case place <- struct{}{}:
		defer func() { <-place }()
		return rt.serve(w, r)
	default:
		return &refusal{status: http.StatusServiceUnavailable, reason: "busy", after: retryAfter,
			message: fmt.Sprintf("%d requests to %s are under way, which is all that there may be; this one was not carried out", cap(place), rt.path)}
	}
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

// servePprof serves profiles. A CPU profile or a trace takes as long as it is asked to: with the read deadline of others the
// server would take a client that waits for one that has gone.
func servePprof(w http.ResponseWriter, r *http.Request) error {
	if seconds, err := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64); err == nil && !(seconds <= profileTime.Seconds()) {
		return refuse(http.StatusBadRequest, "query", fmt.Sprintf("a profile takes %v at most", profileTime))
	}
	rc, until := http.NewResponseController(w), time.Now().Add(profileTime+requestTimeout)
	if err := errors.Join(rc.SetWriteDeadline(until), rc.SetReadDeadline(until)); err != nil {
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

  GET  /dashboard/          the cluster for people
  GET  /ring?format=text    the ring; JSON without the format
  GET  /ring?topic=finals   where a topic is
  GET  /cluster             all nodes, with what each tells of itself; GET /node is this one
  GET  /topics/finals       how many follow a topic, in the whole cluster
  GET  /metrics             Prometheus
  GET  /healthz  /readyz    alive; able to work
  POST /publish             {"topic":"finals","data":{"score":"2:1"},"id":"goal-17"}
                            or a list of such, or one on each line
  POST /publish/finals      the payload as the body
  POST /_broadcast          {"stream":"finals","data":"{\"score\":\"2:1\"}"}, as applications for AnyCable do
  GET  /policy              how clients come back; PUT {"min":200,"max":30000,"factor":2,"jitter":0.5} or some of it
  GET  /pins                pinned topics and dedicated shards; PUT /pins/finals?shards=g1,g2, DELETE /pins/finals
  PUT  /dedicated/g3        a shard for pinned topics only; DELETE /dedicated/g3
  POST /drain               drain this gateway; on a router ?shard=g1
  GET  /openapi.yaml        all of this for programs: OpenAPI 3.1; /openapi.json is the same
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
