package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fasthttp/websocket"
)

const (
	subprotocol = "ringside.v1"
	// handshakeTimeout is what a connection may take until its upgrade.
	handshakeTimeout = 10 * time.Second
	// maxEvent bounds a message: the largest payload in base64, and its envelope.
	maxEvent = 16 << 20
	// lasting is how long a connection must have stood for the backoff to begin anew.
	lasting = 5 * time.Second
	// firstSilence is how long the server may say nothing before its welcome, which says how often it beats.
	firstSilence = time.Minute
)

// finalError ends a subscription: coming back would not help.
type finalError struct{ error }

func (f finalError) Unwrap() error { return f.error }

// closeForbidden is the close code of a session that may not be, whatever its client brings; with 4401 a fresh token helps.
const closeForbidden = 4403

func isFinal(err error) bool {
	_, ok := errors.AsType[finalError](err)
	return ok
}

// connection makes one connection and prints what it brings until it ends, which always has a reason.
func (f *follower) connection(ctx context.Context) error {
	f.wait = -1
	target := f.target()
	f.pass = "" // it is good once
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: handshakeTimeout, Proxy: http.ProxyFromEnvironment, TLSClientConfig: f.secure}
	token, err := f.cmd.token()
	if err != nil {
		return err
	}
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	conn, resp, err := dialer.DialContext(ctx, target, header)
	if err != nil {
		return f.refused(resp, err)
	}
	defer conn.Close()
	// A read has no context: closing the connection ends it.
	defer context.AfterFunc(ctx, func() { _ = conn.UnderlyingConn().Close() })()
	started := time.Now()
	defer func() {
		if time.Since(started) >= lasting {
			f.failures = 0
		}
	}()
	if got := conn.Subprotocol(); got != subprotocol {
		return finalError{fmt.Errorf("the server does not speak %s (it answered %q)", subprotocol, got)}
	}
	conn.SetReadLimit(maxEvent)
	silence := firstSilence
	for {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		_, text, err := conn.ReadMessage()
		if err != nil {
			return f.ended(err, silence)
		}
		var e event
		if err := json.Unmarshal(text, &e); err != nil {
			return finalError{fmt.Errorf("the server sent what is not JSON: %.80q", text)}
		}
		if err := f.on(text, e); err != nil {
			if errors.Is(err, errEnough) {
				_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
				return err
			}
			return finalError{err}
		}
		if e.Type == "welcome" && e.Heartbeat > 0 {
			silence = silenceOf(e)
		}
	}
}

// silenceOf is how long a server may say nothing that promises a heartbeat as often as its welcome does.
func silenceOf(welcome event) time.Duration {
	return 5 * time.Duration(min(max(welcome.Heartbeat, 1), time.Hour.Milliseconds())) * time.Millisecond / 2
}

// ended says why a connection ended, and keeps the delay that the server asked for.
func (f *follower) ended(err error, silence time.Duration) error {
	closed, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		if te, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err); ok && te.Timeout() {
			return fmt.Errorf("the server was silent for %v", silence)
		}
		return fmt.Errorf("the connection broke: %w", err)
	}
	var reason struct {
		Reconnect *int64 `json:"reconnect"` // ms
		Pass      string `json:"pass"`
	}
	if json.Unmarshal([]byte(closed.Text), &reason) == nil && reason.Reconnect != nil {
		f.comeBack(*reason.Reconnect, reason.Pass)
	}
	switch closed.Code {
	case websocket.CloseServiceRestart:
		return errors.New("the gateway or router leaves")
	case websocket.CloseTryAgainLater:
		return errors.New("it can't be served now")
	case websocket.CloseProtocolError, websocket.CloseUnsupportedData, websocket.CloseInvalidFramePayloadData, websocket.ClosePolicyViolation,
		closeForbidden:
		return finalError{fmt.Errorf("the server closed with %d %s", closed.Code, closed.Text)}
	}
	return fmt.Errorf("the server closed with %d %s", closed.Code, closed.Text)
}

// comeBack keeps what the server said about the next connection.
func (f *follower) comeBack(ms int64, pass string) {
	f.wait = time.Duration(min(max(ms, 0), time.Hour.Milliseconds())) * time.Millisecond
	f.pass = pass
}

// refused turns a failed handshake into what the server said, when it said something.
func (f *follower) refused(resp *http.Response, err error) error {
	target := string(f.cmd.URL)
	if resp == nil {
		return fmt.Errorf("cannot connect to %s: %w", target, err)
	}
	defer resp.Body.Close()
	text, readErr := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the dialer keeps the beginning of the body
	if readErr != nil && len(text) == 0 {
		text = []byte(err.Error())
	}
	var later struct {
		Retry int64  `json:"retry"` // ms
		Pass  string `json:"pass"`
	}
	if json.Unmarshal(text, &later) == nil && later.Retry > 0 {
		f.comeBack(later.Retry, later.Pass)
	}
	refusal := fmt.Errorf("%s refuses (%d): %w", target, resp.StatusCode, asRefused(resp.StatusCode, text))
	if resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout {
		return finalError{refusal}
	}
	return refusal
}
