package ringside

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/backoff"
)

// Config is how a [Session] is set up. URL is required, and a topic, in Topics or Since.
type Config struct {
	URL    string            // of the routers: ws, wss, http or https, a host, and a path if something in front wants one
	Topics []string          // to follow from now on
	Since  map[string]string // topic to position: to follow from there on
	// Token gives the token that is shown at each connection, and again a while before it expires. nil for none. It is called by Next, and by
	// a timer, never twice at once.
	Token func(ctx context.Context) (string, error)
	// Viewers asks for how many follow each topic: see [Viewers]. Of a Direct session the URL says it.
	Viewers bool
	TLS     *tls.Config // nil for the defaults
	Header  http.Header // of each handshake, beside what is needed
	// Direct says that URL names one topic itself, as wss://live.example/t/finals does, and is dialed as it is. The session begins behind the
	// position After, or from now on when that is empty; Topics and Since are not taken.
	Direct bool
	After  string
	// Observe is called by Next with each message of the server as it came, before it is understood: for tools that show them. It must not
	// keep text. nil for nobody.
	Observe func(text []byte)
}

// Errors of a session that is over: coming back would not help.
var (
	ErrClosed   = errors.New("ringside: the session is closed")
	ErrNoTopics = errors.New("ringside: there is no topic to follow")
)

// A FinalError is why the cluster does not want the session back, or why what was connected to is none.
type FinalError struct {
	Reason string // as the protocol has it, or empty
	Code   int    // the status of the refused handshake, or the close code; 0 for neither
	Err    error
}

func (e *FinalError) Error() string { return "ringside: " + e.Err.Error() }
func (e *FinalError) Unwrap() error { return e.Err }

const (
	subprotocol      = "ringside.v1"
	handshakeTimeout = 10 * time.Second
	maxEvent         = 16 << 20 // bytes of a message: the largest payload in base64, and its envelope
	lasting          = 5 * time.Second
	firstSilence     = time.Minute // that the server may keep before its welcome, which says how often it beats
	writeTimeout     = 10 * time.Second
	renewBefore      = 30 * time.Second // a token is brought anew so long before it expires, or after four fifths of its time
	unnamed          = ""               // the topic of a direct session until its welcome: no topic is called so
	maxPosition      = 255              // bytes
)

// Session follows topics. Next is for one goroutine at a time; all other methods may be called from any.
type Session struct {
	cfg  Config
	base *url.URL

	// Of Next alone.
	failures int           // connections in a row that did not last
	wait     time.Duration // until the next connection; negative: by the policy
	began    time.Time     // of the connection
	silence  time.Duration
	pass     string // reservation of the last refusal; empty for none
	resume   string // of the last welcome
	renewed  bool   // the token was asked for anew because the last one was refused
	first    error  // of the first attempt, which was told to come back; nil once it has been returned

	mu       sync.Mutex
	conn     *websocket.Conn // guarded by mu, as all below; nil while there is none
	closed   bool
	welcomed bool     // once at least
	ended    error    // for good
	topics   []string // in the order in which they were asked for
	position map[string]string
	policy   backoff.Policy
	renew    *time.Timer
}

// Connect opens the session, and fails when the first connection does; but one that was told when to come back has a place by then, and
// [Session.Next] sees to it.
func Connect(ctx context.Context, cfg Config) (*Session, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme) {
		return nil, fmt.Errorf("ringside: %q is not the URL of a router: want for example wss://live.example", cfg.URL)
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	}
	u.Fragment = ""
	s := newSession(cfg, u)
	if !cfg.Direct && len(s.topics) == 0 {
		return nil, ErrNoTopics
	}
	var final *FinalError
	err = s.dial(ctx)
	if err != nil && s.renewed { // with a fresh token
		err = s.dial(ctx)
	}
	if err != nil {
		if s.pass == "" || errors.As(err, &final) || ctx.Err() != nil {
			return nil, err
		}
		s.first = err
	}
	return s, nil
}

func newSession(cfg Config, base *url.URL) *Session {
	s := &Session{cfg: cfg, base: base, wait: -1, position: map[string]string{}, policy: backoff.Default()}
	if cfg.Direct {
		s.position[unnamed] = cfg.After
		return s
	}
	s.topics = append(s.topics, cfg.Topics...)
	for topic, at := range cfg.Since {
		if !slices.Contains(s.topics, topic) {
			s.topics = append(s.topics, topic)
		}
		s.position[topic] = at
	}
	return s
}

// Subscribe follows a topic; since is a position to go on behind, empty for from now on. [Subscribed] or [Refused] follows.
func (s *Session) Subscribe(topic, since string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if slices.Contains(s.topics, topic) {
		return nil
	}
	s.topics = append(s.topics, topic)
	if since != "" {
		s.position[topic] = since
	}
	_ = s.write(subscription(topic, since)) // what is lost with the connection is asked for again by the next
	return nil
}

// Unsubscribe leaves a topic. Messages of it that are on their way are dropped.
func (s *Session) Unsubscribe(topic string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.forget(topic)
	_ = s.write(map[string]any{"type": "unsubscribe", "topic": topic})
	return nil
}

// Command sends data to the application, which answers by [Reply]; identifier may be empty. It is lost when there is no connection, and
// then an error.
func (s *Session) Command(identifier string, data any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.conn == nil:
		return errors.New("ringside: there is no connection at present")
	}
	return s.write(map[string]any{"type": "command", "identifier": identifier, "data": data})
}

// Position is where the session stands in a topic; empty while that is not known.
func (s *Session) Position(topic string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position[topic]
}

// Close ends the session; a Next that waits returns ErrClosed.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.conn != nil {
		_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	}
	s.drop()
	return nil
}

// forget takes a topic out; with mu held.
func (s *Session) forget(topic string) {
	s.topics = slices.DeleteFunc(s.topics, func(t string) bool { return t == topic })
	delete(s.position, topic)
}

// drop lets the connection go; with mu held.
func (s *Session) drop() {
	if s.renew != nil {
		s.renew.Stop()
		s.renew = nil
	}
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// write sends a message where there is a connection; with mu held. What fails is found out by the reader, and said again by the next
// connection.
func (s *Session) write(v any) error {
	if s.conn == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("ringside: %w", err)
	}
	if err = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err == nil {
		err = s.conn.WriteMessage(websocket.TextMessage, b)
	}
	if err != nil {
		return fmt.Errorf("ringside: %w", err)
	}
	return nil
}

func subscription(topic, since string) map[string]any {
	m := map[string]any{"type": "subscribe", "topic": topic}
	if since != "" {
		m["since"] = since
	}
	return m
}

// target is the URL of the next connection.
func (s *Session) target() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, topic := *s.base, unnamed
	switch {
	case len(s.topics) > 0:
		topic = s.topics[0]
	case !s.cfg.Direct || s.welcomed:
		return "", ErrNoTopics
	}
	at, pass := s.position[topic], cmp.Or(s.pass, s.resume)
	q, err := url.ParseQuery(u.RawQuery)
	if s.cfg.Direct && (err != nil || at == "" && pass == "") { // the server says what is wrong with it
		return u.String(), nil
	}
	if !s.cfg.Direct {
		u.Path = strings.TrimRight(u.Path, "/") + "/"
		q.Set("topic", topic)
	}
	if at != "" {
		q.Set("since", at)
	}
	if s.cfg.Viewers && !s.cfg.Direct {
		q.Set("viewers", "1")
	}
	if pass != "" {
		q.Set("pass", pass)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// moveTo keeps where to go on from after the next connection; with mu held. Positions are opaque, but fit for a line and a URL; what names
// none moves nothing.
func (s *Session) moveTo(topic, at string) error {
	if len(at) > maxPosition || strings.ContainsFunc(at, func(c rune) bool { return c <= ' ' || c > '~' }) {
		s.ended = &FinalError{Err: fmt.Errorf("the server sent a position that is none: %.80q", at)}
		return s.ended
	}
	if at != "" {
		s.position[topic] = at
	}
	return nil
}
