package ringside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/fasthttp/websocket"
)

// Close codes of the protocol.
const (
	closeUnauthenticated = 4401 // another token may help
	closeForbidden       = 4403
)

// Next returns the next event, and connects anew where it has to. It returns an error when the context ends, the session is closed, or
// coming back would not help ([FinalError]); what was returned before is all there is, and a later call goes on if it can.
func (s *Session) Next(ctx context.Context) (Event, error) {
	if err := s.first; err != nil {
		s.first = nil
		return s.broke(err)
	}
	for {
		conn, err := s.connection()
		if err != nil {
			return nil, err
		}
		if conn == nil {
			if e, err := s.again(ctx); e != nil || err != nil {
				return e, err
			}
			continue
		}
		w, err := s.read(ctx, conn)
		switch {
		case ctx.Err() != nil:
			s.lost(false)
			return nil, ctx.Err()
		case err != nil:
			return s.broke(err)
		}
		if e, err := s.take(w); e != nil || err != nil {
			return e, err
		}
	}
}

// connection is what there is to read from; nil for nothing yet.
func (s *Session) connection() (*websocket.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.ended != nil:
		return nil, s.ended
	}
	return s.conn, nil
}

// read reads one message. A read has no context: closing the connection ends it.
func (s *Session) read(ctx context.Context, conn *websocket.Conn) (*wire, error) {
	defer context.AfterFunc(ctx, func() { _ = conn.UnderlyingConn().Close() })()
	if err := conn.SetReadDeadline(time.Now().Add(s.silence)); err != nil {
		return nil, err
	}
	_, text, err := conn.ReadMessage()
	if err != nil {
		return nil, s.brokenOff(err)
	}
	if s.cfg.Observe != nil {
		s.cfg.Observe(text)
	}
	var w wire
	if err := json.Unmarshal(text, &w); err != nil {
		return nil, &FinalError{Err: fmt.Errorf("the server sent what is not JSON: %.80q", text)}
	}
	return &w, nil
}

// brokenOff says in words why a connection ended that nobody has closed.
func (s *Session) brokenOff(err error) error {
	var closed *websocket.CloseError
	var te interface {
		error
		Timeout() bool
	}
	switch {
	case errors.As(err, &closed):
		return err
	case errors.As(err, &te) && te.Timeout():
		return fmt.Errorf("ringside: the server was silent for %v", s.silence)
	}
	return fmt.Errorf("ringside: the connection broke: %w", err)
}

// again waits as it was told, and connects.
func (s *Session) again(ctx context.Context) (Event, error) {
	wait := s.wait
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.C:
		}
	}
	err := s.dial(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return s.broke(err)
	}
	return nil, nil //nolint:nilnil // the welcome is the event
}

// lost lets the connection go. counts is whether it says something about the cluster.
func (s *Session) lost(counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
	if time.Since(s.began) >= lasting {
		s.failures = 0
	}
	if !counts {
		s.wait = 0
	}
}

// broke settles the end of a connection, or of an attempt.
func (s *Session) broke(err error) (Event, error) {
	s.lost(true)
	err = s.understand(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	var final *FinalError
	if errors.As(err, &final) || errors.Is(err, ErrNoTopics) {
		s.ended = err
		return nil, err
	}
	if s.wait < 0 {
		s.wait = s.policy.Delay(s.failures)
		s.failures++
	}
	return Disconnected{Err: err, Again: s.wait, Reserved: s.pass != ""}, nil
}

// understand reads what the server said at the end, and keeps the delay that it asked for.
func (s *Session) understand(err error) error {
	closed, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return err
	}
	var reason struct {
		Reconnect *int64 `json:"reconnect"` // ms
		Pass      string `json:"pass"`
		Error     string `json:"error"`
	}
	if json.Unmarshal([]byte(closed.Text), &reason) == nil && reason.Reconnect != nil {
		s.comeBack(*reason.Reconnect, reason.Pass)
	}
	said := fmt.Errorf("the server closed with %d %s", closed.Code, closed.Text)
	switch closed.Code {
	case websocket.CloseServiceRestart:
		return errors.New("ringside: the gateway or router leaves")
	case websocket.CloseAbnormalClosure:
		return errors.New("ringside: the connection broke")
	case websocket.CloseTryAgainLater:
		return errors.New("ringside: it can't be served now")
	case closeUnauthenticated:
		if s.cfg.Token != nil && !s.renewed { // once: a token that is refused twice is no token
			s.renewed = true
			s.wait = max(s.wait, 0)
			return fmt.Errorf("ringside: %w", said)
		}
		return &FinalError{Reason: reason.Error, Code: closed.Code, Err: said}
	case closeForbidden, websocket.CloseProtocolError, websocket.CloseUnsupportedData, websocket.CloseInvalidFramePayloadData, websocket.ClosePolicyViolation:
		return &FinalError{Reason: reason.Error, Code: closed.Code, Err: said}
	}
	return fmt.Errorf("ringside: %w", said)
}

func (s *Session) comeBack(ms int64, pass string) {
	s.wait = time.Duration(min(max(ms, 0), time.Hour.Milliseconds())) * time.Millisecond
	s.pass = pass
}

// dial opens a connection.
func (s *Session) dial(ctx context.Context) error {
	target, err := s.target()
	if err != nil {
		return err
	}
	s.pass, s.wait = "", -1 // the one is good once, and the other is what this attempt's end says
	header := s.cfg.Header.Clone()
	if s.cfg.Token != nil {
		token, err := s.cfg.Token(ctx)
		if err != nil {
			return fmt.Errorf("ringside: no token: %w", err)
		}
		if header == nil {
			header = http.Header{}
		}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
	}
	d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: handshakeTimeout, Proxy: http.ProxyFromEnvironment, TLSClientConfig: s.cfg.TLS}
	conn, resp, err := d.DialContext(ctx, target, header)
	if err != nil {
		return s.refused(resp, err)
	}
	if got := conn.Subprotocol(); got != subprotocol {
		conn.Close()
		return &FinalError{Err: fmt.Errorf("the server does not speak %s (it answered %q)", subprotocol, got)}
	}
	conn.SetReadLimit(maxEvent)
	s.began, s.silence = time.Now(), firstSilence
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return ErrClosed
	}
	s.conn = conn
	return nil
}

// refused turns a failed handshake into what the server said, when it said something.
func (s *Session) refused(resp *http.Response, err error) error {
	if resp == nil {
		where := url.URL{Scheme: s.base.Scheme, Host: s.base.Host, Path: s.base.Path} // its query may hold what is nobody's business
		return fmt.Errorf("ringside: cannot connect to %s: %w", &where, err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10)) // the dialer keeps the beginning of the body
	var no struct {
		Error   string `json:"error"`
		Message string `json:"message"`
		Retry   int64  `json:"retry"` // ms
		Pass    string `json:"pass"`
	}
	if json.Unmarshal(text, &no) == nil && no.Retry > 0 {
		s.comeBack(no.Retry, no.Pass)
	}
	if no.Message == "" {
		no.Message = fmt.Sprintf("%.200q", text)
	}
	said := fmt.Errorf("%s refuses (%d): %s", s.base.Host, resp.StatusCode, no.Message)
	switch {
	case resp.StatusCode == http.StatusUnauthorized && s.cfg.Token != nil && !s.renewed:
		s.renewed = true
		s.wait = max(s.wait, 0)
	case resp.StatusCode/100 == 4 && !slices.Contains([]int{http.StatusTooManyRequests, http.StatusRequestTimeout}, resp.StatusCode):
		return &FinalError{Reason: no.Error, Code: resp.StatusCode, Err: said}
	}
	return fmt.Errorf("ringside: %w", said)
}
