package testcluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
)

// Protocol is what a [Subscriber] speaks.
type Protocol int

// The protocols.
const (
	V1  Protocol = iota // WebSocket, ringside.v1
	Raw                 // WebSocket, ringside.raw: payloads only, so there is nothing to resume from
	SSE                 // Server-Sent Events
)

// String is the protocol's name.
func (p Protocol) String() string { return [...]string{"v1", "raw", "sse"}[p] }

// SubscriberConfig is how a subscriber connects.
type SubscriberConfig struct {
	Name     string
	Protocol Protocol
	Base     func() string // http://host:port, or https, asked anew before each connection
	Topic    string
	More     []string          // further topics, subscribed to by message; V1 only
	Query    bool              // name the topic by ?topic= instead of the path
	TLS      *tls.Config       // for an https Base
	Since    position.Position // where to start from; the zero Position starts with what is live
	// Dial makes its connections; nil for the usual way.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Close is the end of a connection as the client saw it.
type Close struct {
	Code      int // WebSocket close code; 0 in SSE
	Reason    string
	Reconnect time.Duration // what the server asked for; negative when it asked for nothing
}

// Subscriber follows topics over as many connections as it takes, like a well-behaved client: it comes back
// with its position after the delay that the server asked for, or with a backoff of its own.
type Subscriber struct {
	cfg    SubscriberConfig
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	tracks    map[string]*Track // guarded by mu, and so are all below
	conns     int               // connections that were answered
	open      bool              // the topic is followed on the present connection
	session   string            // as the last welcome said
	closes    []Close
	freshness Freshness // of the last heartbeat
	failures  int       // attempts that failed
	lastErr   error     // of the last failed attempt
	broken    error     // what the server did that no server may do; ends the subscriber
}

// Subscribe is [Follow] until the test ends, or Stop.
func Subscribe(t testing.TB, cfg SubscriberConfig) *Subscriber {
	s := Follow(cfg)
	t.Cleanup(s.Stop)
	return s
}

// Follow starts a subscriber that lives until Stop.
func Follow(cfg SubscriberConfig) *Subscriber {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Subscriber{cfg: cfg, cancel: cancel, done: make(chan struct{}), tracks: map[string]*Track{}}
	for _, topic := range append([]string{cfg.Topic}, cfg.More...) {
		s.tracks[topic] = &Track{Start: cfg.Since, Last: cfg.Since}
	}
	go func() {
		defer close(s.done)
		s.run(ctx)
	}()
	return s
}

// Stop ends the connection and waits for it.
func (s *Subscriber) Stop() {
	s.cancel()
	<-s.done
}

// String is the subscriber's name with its protocol.
func (s *Subscriber) String() string { return fmt.Sprintf("%s (%v)", s.cfg.Name, s.cfg.Protocol) }

// Protocol is what it speaks.
func (s *Subscriber) Protocol() Protocol { return s.cfg.Protocol }

// Freshness is what a heartbeat tells of it.
type Freshness struct {
	AsOf  int64 `json:"asOf,omitempty"` // ms since the UNIX epoch
	Lag   int64 `json:"lag,omitempty"`  // ms
	Stale bool  `json:"stale,omitempty"`
}

// Freshness is that of the last heartbeat; zero when there was none.
func (s *Subscriber) Freshness() Freshness {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.freshness
}

func (s *Subscriber) setFreshness(f Freshness) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freshness = f
}

// readFreshness notes that of an event stream's heartbeat.
func (s *Subscriber) readFreshness(data string) error {
	var f Freshness
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		return fmt.Errorf("%w: heartbeat %q: %w", ErrBroken, data, err)
	}
	s.setFreshness(f)
	return nil
}

// Topics are the topics that it follows.
func (s *Subscriber) Topics() []string { return append([]string{s.cfg.Topic}, s.cfg.More...) }

// Track is a copy of what it knows of a topic.
func (s *Subscriber) Track(topic string) Track {
	s.mu.Lock()
	defer s.mu.Unlock()
	tr := *s.tracks[topic]
	tr.Seen, tr.Gaps = slices.Clone(tr.Seen), slices.Clone(tr.Gaps)
	return tr
}

// Count is the number of messages that it has seen of a topic.
func (s *Subscriber) Count(topic string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tracks[topic].Seen)
}

// LastData is the last message that it has seen of a topic; empty when there is none.
func (s *Subscriber) LastData(topic string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.tracks[topic].Seen
	if len(seen) == 0 {
		return ""
	}
	return seen[len(seen)-1].Data
}

// Connections is how many of its connections were answered.
func (s *Subscriber) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// Closes are the ends of connections that it has seen.
func (s *Subscriber) Closes() []Close {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.closes)
}

// Session is the last session's name, as its welcome gave it.
func (s *Subscriber) Session() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// Broken is the first thing the server did that no server may do, or nil.
func (s *Subscriber) Broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Open is nil when all its topics are followed on a live connection, or else says what is missing.
func (s *Subscriber) Open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return fmt.Errorf("%v: %w", s, s.broken)
	case !s.open:
		return fmt.Errorf("%v is not connected (%d connections, closes %+v, %d failures, last: %v)", s, s.conns, s.closes, s.failures, s.lastErr)
	}
	return nil
}

// ErrBroken is in what a client says of a server that broke the protocol.
var ErrBroken = errors.New("the server broke the protocol")

// errClosed is how a connection ends that the server closed.
var errClosed = errors.New("closed")

// run connects until ctx ends or the server breaks the protocol.
func (s *Subscriber) run(ctx context.Context) {
	for try := 0; ctx.Err() == nil; try++ {
		var delay time.Duration
		var err error
		before := s.Connections()
		if s.cfg.Protocol == SSE {
			delay, err = s.runSSE(ctx)
		} else {
			delay, err = s.runWebSocket(ctx)
		}
		if s.ended(err) {
			return
		}
		if s.Connections() > before {
			try = 0
		}
		if delay < 0 {
			delay = min(2*time.Second, 50*time.Millisecond<<min(try, 6))
			delay = delay/2 + rand.N(delay)
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

// ended notes the end of a connection and reports whether it was the last one.
func (s *Subscriber) ended(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
	if err != nil && !errors.Is(err, errClosed) {
		s.failures++
		s.lastErr = err
	}
	if errors.Is(err, ErrBroken) && s.broken == nil {
		s.broken = err
	}
	return s.broken != nil
}

// answered notes that a connection stands and returns its number.
func (s *Subscriber) answered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
	return s.conns
}

func (s *Subscriber) setOpen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = true
}

func (s *Subscriber) closed(c Close) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closes = append(s.closes, c)
}

// target is the URL of the next connection; the scheme is http.
func (s *Subscriber) target() string {
	path := "/t/" + escapeTopic(s.cfg.Topic)
	q := url.Values{}
	if s.cfg.Query {
		path = "/anything"
		q.Set("topic", s.cfg.Topic)
	}
	if last := s.Track(s.cfg.Topic).Last; s.cfg.Protocol == V1 && last != (position.Position{}) {
		q.Set("since", last.String())
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return s.cfg.Base() + path
}

// escapeTopic escapes a topic for the path; slashes may stay as they are.
func escapeTopic(topic string) string {
	parts := strings.Split(topic, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// reconnectDelay reads the delay out of a close reason; negative when there is none.
func reconnectDelay(reason string) time.Duration {
	var v struct {
		Reconnect *int64 `json:"reconnect"`
	}
	if json.Unmarshal([]byte(reason), &v) != nil || v.Reconnect == nil {
		return -1
	}
	return time.Duration(*v.Reconnect) * time.Millisecond
}
