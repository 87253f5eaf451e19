package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	// maxPublishes bounds the payloads that are in memory at once; more wait for busyTimeout.
	maxPublishes = 64
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

// servePublish takes {"topic","data","id"?,"min_replicas"?}. The payload is the very bytes of data.
func (s *Server) servePublish(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	return s.withBody(w, r, s.cfg.MaxPayload+envelope, func(body []byte) error {
		m, err := decodePublish(body)
		if err != nil {
			return err
		}
		return s.publishOne(w, r, m)
	})
}

func decodePublish(body []byte) (Message, error) {
	var in struct {
		Topic    *string         `json:"topic"`
		ID       string          `json:"id"`
		Data     json.RawMessage `json:"data"`
		Replicas int             `json:"min_replicas"`
	}
	if !utf8.Valid(body) {
		return Message{}, refuse(http.StatusBadRequest, "json", "the body is not UTF-8: POST /publish/{topic} takes any bytes")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) { // More takes a bracket that closes nothing for the end
			err = errors.New("something follows the object")
		}
	}
	const want = `want {"topic":"…","data":<any JSON value>,"id":"…","min_replicas":1}, where the last two are optional`
	switch {
	case err != nil:
		return Message{}, refuse(http.StatusBadRequest, "json", fmt.Sprintf("the body can't be read (%v): %s", err, want))
	case in.Topic == nil:
		return Message{}, refuse(http.StatusBadRequest, "topic_missing", "the body has no topic: "+want)
	case in.Data == nil:
		return Message{}, refuse(http.StatusBadRequest, "data_missing", "the body has no data: "+want)
	}
	return Message{Topic: *in.Topic, ID: in.ID, Payload: in.Data, Replicas: in.Replicas}, nil
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
	id, header := q["id"], r.Header.Get("Idempotency-Key")
	switch {
	case id == "":
		id = header
	case header != "" && header != id:
		return refuse(http.StatusBadRequest, "id", "?id= and Idempotency-Key differ: want one of them")
	}
	return s.withBody(w, r, s.cfg.MaxPayload, func(body []byte) error {
		return s.publishOne(w, r, Message{Topic: name, ID: id, Payload: body, Replicas: replicas})
	})
}

// withBody calls f with the body of at most limit bytes. Bodies in memory are bounded: when too many publishes
// are under way for too long it refuses.
func (s *Server) withBody(w http.ResponseWriter, r *http.Request, limit int, f func(body []byte) error) error {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return refuse(http.StatusUnsupportedMediaType, "encoding", "a compressed body is not taken")
	}
	tooLarge := refuse(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the payload is larger than %d bytes", s.cfg.MaxPayload))
	if r.ContentLength > int64(limit) {
		return tooLarge
	}
	busy := time.NewTimer(busyTimeout)
	defer busy.Stop()
	select {
	case s.publish <- struct{}{}:
		defer func() { <-s.publish }()
	case <-r.Context().Done():
		return refuse(http.StatusServiceUnavailable, "gone", "the client went away")
	case <-busy.C:
		return &refusal{status: http.StatusServiceUnavailable, reason: "busy", after: retryAfter,
			message: "too many publishes are under way; this one was not applied"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "body", "the body ended early")
	}
	return f(body)
}

func (s *Server) publishOne(w http.ResponseWriter, r *http.Request, m Message) error {
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
	p, err := s.deps.Publisher.Publish(r.Context(), m)
	switch {
	case errors.Is(err, ErrAmbiguous):
		return &refusal{status: http.StatusServiceUnavailable, reason: "ambiguous", after: retryAfter, ambiguous: true,
			message: "Redis did not confirm the message, it may have been added: repeat it with an id, and the same one if it had one"}
	case errors.Is(err, ErrUnavailable):
		return &refusal{status: http.StatusServiceUnavailable, reason: "unavailable", after: retryAfter,
			message: "Redis can't be reached, the message was not added: repeat it"}
	case errors.Is(err, ErrTooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "too_large", err.Error())
	case err != nil:
		return err
	}
	answer(w, http.StatusOK, struct {
		Topic     string `json:"topic"`
		Slot      int    `json:"slot"`
		Position  string `json:"position"`
		Duplicate bool   `json:"duplicate,omitempty"`
	}{m.Topic, p.Slot, p.Position.String(), p.Duplicate})
	return nil
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
