package testcluster

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
)

// runSSE makes one connection and reads it to its end. The delay is what the server asked for before the
// next one, or negative.
func (s *Subscriber) runSSE(ctx context.Context) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.target(), nil)
	if err != nil {
		return -1, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if last := s.Track(s.cfg.Topic).Last; last != (position.Position{}) {
		req.Header.Set("Last-Event-ID", last.String())
	}
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: 10 * time.Second, TLSClientConfig: s.cfg.TLS, DialContext: s.cfg.Dial}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return -1, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return -1, errors.New(resp.Status)
	}
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		return -1, fmt.Errorf("%w: content type %q", ErrBroken, got)
	}
	in := bufio.NewReader(resp.Body)
	if resp.ContentLength >= 0 { // an event stream that has an end is a refusal
		return ReadRefusal(in)
	}
	e := sseReader{sub: s, conn: s.answered(), retry: -1}
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			s.closed(Close{Reconnect: e.retry})
			return e.retry, errClosed
		}
		if err != nil {
			s.closed(Close{Reconnect: -1, Reason: err.Error()})
			return -1, err
		}
		if err := e.line(strings.TrimSuffix(line, "\n")); err != nil {
			return -1, fmt.Errorf("%w (in %.200q)", err, line)
		}
	}
}

// ReadRefusal reads an event stream that only says when to come back, and why; the error is what it says. One that says
// something else is no refusal: then the delay is negative.
func ReadRefusal(in io.Reader) (time.Duration, error) {
	body, err := io.ReadAll(in)
	if err != nil {
		return -1, err
	}
	var ms int
	if n, _ := fmt.Sscanf(string(body), "retry: %d\nevent: refused\n", &ms); n != 1 {
		return -1, fmt.Errorf("%w: an event stream that ends: %.200q", ErrBroken, body)
	}
	return time.Duration(ms) * time.Millisecond, fmt.Errorf("refused: %s", body)
}

// sseReader reads one event stream as the HTML standard says.
type sseReader struct {
	sub   *Subscriber
	conn  int
	retry time.Duration // the last one the server asked for; negative before

	id, event string // of the event being read
	data      []string
}

func (e *sseReader) line(line string) error {
	if line == "" {
		return e.dispatch()
	}
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "id":
		e.id = value
	case "event":
		e.event = value
	case "data":
		e.data = append(e.data, value)
	case "retry":
		ms, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%w: retry: %w", ErrBroken, err)
		}
		e.retry = time.Duration(ms) * time.Millisecond
	case "": // a comment
	default:
		return fmt.Errorf("%w: an unknown field %q", ErrBroken, name)
	}
	return nil
}

// welcomed takes in the word with which a session begins. It must not move the client.
func (s *Subscriber) welcomed(data, id string) error {
	var w struct{ Type, Session, Topic string }
	if err := json.Unmarshal([]byte(data), &w); err != nil || id != "" || w.Type != "welcome" || w.Topic != s.cfg.Topic || w.Session == "" {
		return fmt.Errorf("%w: welcome %q with the ID %q: %w", ErrBroken, data, id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = w.Session
	return nil
}

func (e *sseReader) dispatch() error {
	topic := e.sub.cfg.Topic
	id, event, data := e.id, e.event, e.data
	e.id, e.event, e.data = "", "", nil
	var err error
	switch {
	case event == "heartbeat":
		err = errors.Join(e.sub.readFreshness(strings.Join(data, "\n")), e.sub.moved(topic, id, false))
	case event == "gap":
		err = e.sub.gap(topic, strings.Join(data, "\n"), id)
	case event == "welcome":
		return e.sub.welcomed(strings.Join(data, "\n"), id)
	case data != nil:
		text := strings.Join(data, "\n")
		if event == "binary" {
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return fmt.Errorf("%w: data: %w", ErrBroken, err)
			}
			text = string(b)
		}
		err = e.sub.saw(e.conn, topic, id, text)
	case id != "":
		err = e.sub.moved(topic, id, false)
	default:
		return nil
	}
	if err == nil {
		e.sub.setOpen() // the session's position is known from its first event on
	}
	return err
}
