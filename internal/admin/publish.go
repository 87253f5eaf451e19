package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ringside-edge/ringside/internal/topic"
)

const (
	// maxPublishes bounds the payloads that are in memory at once; so many more wait for busyTimeout.
	maxPublishes = 64
	maxWaiting   = 256
	busyTimeout  = time.Second
	// envelope is what a JSON body may have beside its payload: a topic and an ID, escaped, and names.
	envelope = 4 << 10
	// maxID bounds an idempotency key, in bytes.
	maxID = 255
	// maxReplicas is how many replicas a publisher may wait for.
	maxReplicas = 16
	// retryAfter is what a publisher that was refused for now should wait, in seconds.
	retryAfter = "1"
)

// servePublish takes one entry, or a batch of them: an array, or, when the Content-Type says so, one on each line.
func (s *Server) servePublish(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	lines, err := takesLines(r)
	if err != nil {
		return err
	}
	if err := uncompressed(r); err != nil {
		return err
	}
	if lines {
		return s.serveBatch(w, r, splitLines)
	}
	body := bufio.NewReaderSize(r.Body, peekSize)
	r.Body = readCloser{body, r.Body}
	if firstByte(body) == '[' {
		return s.serveBatch(w, r, splitArray)
	}
	return s.withBody(w, r, s.single(s.cfg.MaxPayload+envelope), func(body []byte) error {
		m, err := decodePublish(body)
		if err != nil {
			return err
		}
		if m.ID, err = idOf(r, m.ID, "the body's id"); err != nil {
			return err
		}
		return s.publishOne(w, r, m)
	})
}

// readCloser is a body whose beginning has been looked at.
type readCloser struct {
	io.Reader
	io.Closer
}

// peekSize is how far a body is looked at to find out what it is.
const peekSize = 512

// firstByte is the first byte of JSON; 0 when none comes soon enough.
func firstByte(body *bufio.Reader) byte {
	for n := 1; n <= peekSize; n++ {
		head, err := body.Peek(n)
		if err != nil {
			return 0
		}
		if b := head[n-1]; !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b
		}
	}
	return 0
}

// takesLines reports whether a body has an entry on each line, or refuses what can't be JSON. What programs send by themselves, curl's
// form and no type at all among it, is taken for JSON: the body shows what it is.
func takesLines(r *http.Request) (bool, error) {
	refused := refuse(http.StatusUnsupportedMediaType, "content_type",
		"this takes application/json, or application/x-ndjson with an entry on each line, in UTF-8; POST /publish/{topic} takes any bytes")
	value := r.Header.Get("Content-Type")
	if value == "" {
		return false, nil
	}
	kind, params, err := mime.ParseMediaType(value)
	if charset := params["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return false, refused
	}
	switch kind {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return true, nil
	case "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream":
		return false, nil
	}
	return false, refused
}

// idOf is the idempotency key of a request: as it stands elsewhere, or in its header.
func idOf(r *http.Request, id, where string) (string, error) {
	header := r.Header.Get("Idempotency-Key")
	if id == "" || header == id {
		return header, nil
	}
	if header != "" {
		return "", refuse(http.StatusBadRequest, "id", where+" and Idempotency-Key differ: want one of them")
	}
	return id, nil
}

// servePublishRaw takes the payload as the body, and the topic from the path as it stands: not cleaned.
func (s *Server) servePublishRaw(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "id", "min_replicas")
	if err != nil {
		return err
	}
	replicas := 0
	if text, ok := q["min_replicas"]; ok {
		if replicas, err = strconv.Atoi(text); err != nil {
			return refuse(http.StatusBadRequest, "min_replicas", "min_replicas takes a number")
		}
	}
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/publish/"))
	if err != nil {
		return refuse(http.StatusBadRequest, "topic_escape", "the topic in the path has a bad percent escape")
	}
	id, err := idOf(r, q["id"], "?id=")
	if err != nil {
		return err
	}
	return s.withBody(w, r, s.single(s.cfg.MaxPayload), func(body []byte) error {
		return s.publishOne(w, r, Message{Topic: name, ID: id, Payload: body, Replicas: replicas})
	})
}

// uncompressed refuses a body that is compressed.
func uncompressed(r *http.Request) error {
	for _, enc := range r.Header.Values("Content-Encoding") {
		if enc != "" && !strings.EqualFold(enc, "identity") {
			return refuse(http.StatusUnsupportedMediaType, "encoding", "a compressed body is not taken")
		}
	}
	return nil
}

// bodies are those of a kind: how many may be in memory at once, how large each may be, and what is said of a larger one.
type bodies struct {
	turns    chan struct{}
	limit    int
	tooLarge *refusal
}

func (s *Server) single(limit int) bodies {
	return bodies{s.publish, limit, refuse(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the payload is larger than %d bytes", s.cfg.MaxPayload))}
}

// withBody calls f with the body. Bodies in memory are bounded: when too many publishes are under way for too long it refuses.
func (s *Server) withBody(w http.ResponseWriter, r *http.Request, kind bodies, f func(body []byte) error) error {
	if err := uncompressed(r); err != nil {
		return err
	}
	if r.ContentLength > int64(kind.limit) {
		return kind.tooLarge
	}
	if err := s.awaitTurn(r, kind.turns); err != nil {
		return err
	}
	defer func() { <-kind.turns }()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(kind.limit)))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return kind.tooLarge
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "body", "the body ended early: nothing was published")
	}
	return f(body)
}

// awaitTurn waits for a publish's turn.
func (s *Server) awaitTurn(r *http.Request, turns chan struct{}) error {
	select {
	case turns <- struct{}{}:
		return nil
	default:
	}
	busy := &refusal{status: http.StatusServiceUnavailable, reason: "busy", after: retryAfter,
		message: "too many publishes are under way; this one was not applied"}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return busy
	}
	over := time.NewTimer(busyTimeout)
	defer over.Stop()
	select {
	case turns <- struct{}{}:
		return nil
	case <-r.Context().Done():
		return refuse(http.StatusServiceUnavailable, "gone", "the client went away")
	case <-over.C:
		return busy
	}
}

// acceptable refuses a message that this client must not publish, or nobody can.
func (s *Server) acceptable(r *http.Request, m Message) error {
	if err := topic.Validate(m.Topic); err != nil {
		return refuseTopic(err)
	}
	if !mayPublish(r, m.Topic) {
		return refuse(http.StatusForbidden, "topic_forbidden", "the token may not publish to this topic")
	}
	if err := checkID(m.ID); err != nil {
		return err
	}
	if m.Replicas < 0 || m.Replicas > maxReplicas {
		return refuse(http.StatusBadRequest, "min_replicas", "min_replicas takes 0 to "+strconv.Itoa(maxReplicas))
	}
	if len(m.Payload) > s.cfg.MaxPayload {
		return refuse(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the payload of %d bytes is larger than %d", len(m.Payload), s.cfg.MaxPayload))
	}
	return nil
}

// publishedAnswer says where a message stands.
type publishedAnswer struct {
	Topic     string `json:"topic"`
	Slot      int    `json:"slot"`
	Position  string `json:"position"`
	Duplicate bool   `json:"duplicate,omitempty"`
}

func (s *Server) publishOne(w http.ResponseWriter, r *http.Request, m Message) error {
	if err := s.acceptable(r, m); err != nil {
		return err
	}
	o := s.deps.Publisher.Publish(r.Context(), []Message{m})[0]
	if o.Err != nil {
		return refusePublish(o.Err)
	}
	answer(w, http.StatusOK, publishedAnswer{m.Topic, o.Slot, o.Position.String(), o.Duplicate})
	return nil
}

// refusePublish turns what a [Publisher] fails with into an answer.
func refusePublish(err error) error {
	switch {
	case errors.Is(err, ErrAmbiguous):
		return &refusal{status: http.StatusServiceUnavailable, reason: "ambiguous", after: retryAfter, ambiguous: true,
			message: "Redis did not confirm the message, it may have been added: repeat it with an id, and the same one if it had one"}
	case errors.Is(err, ErrUnavailable):
		return &refusal{status: http.StatusServiceUnavailable, reason: "unavailable", after: retryAfter,
			message: "Redis can't be reached, the message was not added: repeat it"}
	case errors.Is(err, ErrTooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "too_large", err.Error())
	}
	return err
}

func checkID(id string) error {
	if len(id) > maxID || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		return refuse(http.StatusBadRequest, "id", "an id has at most "+strconv.Itoa(maxID)+" bytes of UTF-8 without control characters")
	}
	return nil
}

// refuseTopic turns what [topic.Validate] says into an answer.
func refuseTopic(err error) error {
	reason := "topic"
	if te, ok := errors.AsType[*topic.Error](err); ok {
		reason = "topic_" + te.Reason
	}
	return refuse(http.StatusBadRequest, reason, err.Error())
}
