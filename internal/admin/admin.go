// Package admin is the admin port of a router or a gateway: the ring, metrics, health, publishing and draining,
// over HTTP and for programs as well as for curl.
//
//	GET  /ring                the placement: JSON, ?format=text for a table, ?topic= for one topic
//	GET  /dashboard/          the cluster for people: see internal/admin/dashboard
//	GET  /cluster             all nodes, with what each tells of itself; GET /node is this one
//	GET  /topics/{topic}      how many sessions follow a topic in the whole cluster
//	GET  /metrics             Prometheus
//	GET  /healthz             200 as long as the process answers
//	GET  /readyz              200 when every check holds, else 503; which one does not
//	POST /publish             {"topic","data","id"?,"min_replicas"?,"encoding"?}, a list of such, or one on each line
//	POST /publish/{topic}     the payload as the body; ?id= or Idempotency-Key, ?min_replicas=
//	POST /_broadcast          AnyCable's broadcasts and commands by HTTP
//	GET  /policy              the backoff policy; PUT or POST changes some of {"min","max","factor","jitter"}
//	GET  /pins                pinned topics, dedicated shards; PUT and DELETE /pins/{topic}, ?shards=
//	PUT  /dedicated/{shard}   the shard owns nothing of its own; DELETE ends that
//	POST /drain               a gateway: itself; ?shard= forwards to that gateway
//	GET  /openapi.yaml        all of this for programs, and /openapi.json: see internal/openapi
//	GET  /debug/pprof/        profiles of the Go runtime
//
// It knows the rest of the program by small interfaces only. Who may use it is for [Trust] to say; /healthz and /readyz are for
// everybody. A browser's requests from other sites are refused, and so are those under a name that is none of ours.
package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/admin/dashboard"
	"github.com/ringside-edge/ringside/internal/openapi"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/tally"
	"github.com/ringside-edge/ringside/ring"
)

// Config is how an admin port is set up.
type Config struct {
	Listen     string // host:port
	Self       string // ID of the member that this is, as the ring has it
	MaxPayload int    // bytes of a message's payload
	Trust      Trust  // who may do what
	Sealed     bool   // gossip is encrypted: what it says of other nodes is believed, so that they may see a token

	Connections  int // 128: connections at once
	BatchEntries int // 1,000: entries of a batch
	BatchBytes   int // 4 MiB: of the body of a batch
}

// Message is a message to publish. ID may be empty.
type Message struct {
	Topic, ID string
	Payload   []byte
	Replicas  int // of Redis that must have it before the answer; 0 for as many as the cluster's settings say
}

// Published says where a message stands.
type Published struct {
	Slot      int
	Position  position.Position
	Duplicate bool // a message with this ID was there before: nothing was added
}

// What a [Publisher] fails with; anything else is answered with 500.
var (
	ErrUnavailable = errors.New("not published")              // surely not applied
	ErrAmbiguous   = errors.New("publishing may have failed") // may have been applied
	ErrTooLarge    = errors.New("the payload is too large")
)

// Outcome is what became of a message. Published counts when Err is nil.
type Outcome struct {
	Published
	Err error
}

// Publisher puts messages into the streams. Publish is safe for concurrent use.
type Publisher interface {
	// Publish returns an outcome for each message. Those of a topic are published in the order that they are given in; behind one that
	// was not published for now, or may not have been, none of the topic is.
	Publish(ctx context.Context, ms []Message) []Outcome
}

// Window is how far back a topic's stream goes at present: what a client can be replayed.
type Window struct {
	Epoch   string  `json:"epoch"`
	First   string  `json:"first"` // ID of the oldest entry
	Last    string  `json:"last"`
	Entries int64   `json:"entries"` // of all topics of the slot, beacons included
	Seconds float64 `json:"seconds"` // age of the oldest entry
}

// Tail is how far a gateway has read a slot.
type Tail struct {
	Owned    bool   `json:"owned"`    // through the shard's consumer group
	Stands   bool   `json:"stands"`   // it reads
	Position string `json:"position"` // everything up to here has been handed on
	AsOf     int64  `json:"asOf"`     // up to when the gateway can vouch for the slot, ms
	Lag      int64  `json:"lag"`      // how long ago that was, ms
	Stale    bool   `json:"stale"`
	Unread   int64  `json:"unread"`  // entries of the stream that it has not read yet; -1 when that is not known
	Pending  int64  `json:"pending"` // entries read and not acknowledged yet
}

// Streams tells of slots' streams. Its methods are safe for concurrent use.
type Streams interface {
	Window(ctx context.Context, slot int) (Window, error)
	Tail(slot int) (Tail, bool) // false where the slot is not tailed
}

// Drainer is a member that can be told to leave.
type Drainer interface {
	// Drain begins to drain and returns at once. Calling it again does nothing more.
	Drain()
	// Sessions is how many sessions are left.
	Sessions() uint64
}

// Check is something that must hold for the member to do its work. Ready says why it does not; nil when it
// does. It is quick, and safe for concurrent use.
type Check struct {
	Name  string
	Ready func() error
}

// Deps are what an admin port works with.
type Deps struct {
	Ring      func() *ring.Ring     // never nil, and never gives nil
	StreamKey func(slot int) string // name of a slot's stream in Redis
	Publisher Publisher
	Streams   Streams
	Node      func() Node // what the node tells of itself; nil for next to nothing. Safe for concurrent use
	Settings  Settings    // nil: there are none
	// Count is how many sessions follow a topic in the whole cluster; nil where nobody knows. It takes a few seconds at most, and is safe for
	// concurrent use.
	Count   func(ctx context.Context, topic string) (tally.Count, error)
	Drainer Drainer // nil on a router: it forwards
	// Disconnect ends all sessions of a client of Action Cable, on all nodes; nil where that can't be.
	Disconnect func(ctx context.Context, identifiers string, reconnect bool) error
	Checks     []Check      // all of them hold: ready
	Metrics    http.Handler // for /metrics
	Root       http.Handler // for / and what nobody else serves; nil for an index of the port
	Listener   net.Listener // in place of one that New binds; nil as a rule. It is the server's from then on
	Log        *zap.Logger
}

// Limits of the port's HTTP server. Only that of connections is a setting: an admin port serves operators and publishers.
const (
	connections     = 128
	headerTimeout   = 5 * time.Second
	requestTimeout  = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	maxHeader       = 16 << 10
	shutdownTimeout = 2 * time.Second
	maxStreams      = 32              // requests on one connection of HTTP/2
	profileTime     = 5 * time.Minute // what a profile takes at most
)

// Server is an admin port.
type Server struct {
	cfg     Config
	deps    Deps
	metrics *adminMetrics
	ln      net.Listener
	http    *http.Server
	ending  atomic.Bool   // answers say that the connection is at its end
	client  *http.Client  // asks other members
	crowd   *crowd        // the connections
	publish chan struct{} // a token for each publish that is under way
	batches chan struct{} // and for each batch
	waiting chan struct{} // and for each that waits to be

	dashboard http.Handler
	api       []byte // description of the API, in JSON
	watch     *watch // what the others tell, for the dashboard
	life      string // of the process, among those of the node
	started   time.Time
}

var _ prometheus.Collector = (*Server)(nil)

// New checks the arguments and binds the address, so that Addr is known; nothing is served before Run.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Ring == nil || deps.StreamKey == nil || deps.Publisher == nil || deps.Metrics == nil || deps.Log == nil {
		return nil, errors.New("BUG: admin: a dependency is missing")
	}
	if cfg.MaxPayload <= 0 {
		return nil, fmt.Errorf("BUG: admin: payload limit %d", cfg.MaxPayload)
	}
	cfg.Connections = cmp.Or(cfg.Connections, connections)
	cfg.BatchEntries = cmp.Or(cfg.BatchEntries, batchEntries)
	cfg.BatchBytes = cmp.Or(cfg.BatchBytes, batchBytes)
	page, err := dashboard.Handler()
	if err != nil {
		return nil, err
	}
	api, err := openapi.JSON()
	if err != nil {
		return nil, err
	}
	ln := deps.Listener
	if ln == nil {
		if ln, err = net.Listen("tcp", cfg.Listen); err != nil {
			return nil, fmt.Errorf("cannot listen on the admin address: %w", err)
		}
	}
	s := &Server{
		cfg:     cfg,
		deps:    deps,
		metrics: newMetrics(),
		ln:      ln,
		client:  newClient(cfg.Trust.Client),
		crowd:   newCrowd(cfg.Connections),
		publish: make(chan struct{}, maxPublishes),
		batches: make(chan struct{}, maxBatches),
		waiting: make(chan struct{}, maxWaiting),

		life: rand.Text(), started: time.Now(), dashboard: page, api: api,
	}
	s.watch = newWatch(s)
	errorLog, err := zap.NewStdLogAt(deps.Log, zap.DebugLevel) // what clients do wrong is not news
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s.http = &http.Server{
		Handler:           s.crowd.around(s.sayGoodbye(s.handler())),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		TLSConfig:         cfg.Trust.TLS,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          errorLog,
		ConnContext:       s.crowd.enter,
		ConnState:         s.crowd.state,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
	}
	return s, nil
}

// goodbyeTime is how long answers announce the end of their connection before it comes: a client that published on one which
// is closed at the same moment would not know what became of its message. New connections are not accepted meanwhile: they
// wait for a successor, if there is one. [http.Server.Shutdown] alone would drop requests that have just come.
const goodbyeTime = 200 * time.Millisecond

func (s *Server) sayGoodbye(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.ending.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// Addr is the host:port that the server is bound to.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Listener is the server's listener, of which a successor may get a duplicate.
func (s *Server) Listener() net.Listener { return s.ln }

// Close releases the address of a server that is not going to run.
func (s *Server) Close() error { return s.ln.Close() }

// Kill ends Run as kill -9 would end its process: the listener and all connections are closed at once. Run then returns an error.
func (s *Server) Kill() { _ = s.http.Close() }

// Run serves until ctx ends, lets requests that are under way finish for a moment, and returns nil. It
// returns an error when it can't serve any more.
func (s *Server) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	watching, stopWatching := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() { s.watch.run(watching) })
	defer watched.Wait()
	defer stopWatching()
	failed := make(chan error, 1)
	go func() {
		if s.cfg.Trust.TLS != nil {
			failed <- s.http.ServeTLS(s.ln, "", "")
			return
		}
		failed <- s.http.Serve(s.ln)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("the admin port cannot serve: %w", err)
	case <-ctx.Done():
	}
	s.ending.Store(true)
	if ln, ok := s.ln.(interface{ SetDeadline(t time.Time) error }); ok {
		_ = ln.SetDeadline(time.Unix(1, 0)) // the server takes it for a passing error
	}
	select {
	case err := <-failed:
		return fmt.Errorf("the admin port cannot serve: %w", err)
	case <-time.After(goodbyeTime):
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // cuts off what did not finish in time
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the admin port: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) { s.metrics.describe(ch) }

// Collect implements prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) { s.metrics.collect(ch, s.deps.Checks, s.crowd) }
