package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

// WebhookConfig is how an application is asked by HTTP.
type WebhookConfig struct {
	URL        string
	SecretFile string // signs the requests
	AllowHTTP  bool   // URL may be http:// on other machines than this one
	TLS        *tls.Config
	CallConfig
}

// SignatureHeader has a webhook's signature: `t=<unix s>,mac=<hex>`, the HMAC-SHA256 under the secret of "<unix s>.<body>".
// Whoever takes a request should refuse one whose time is more than some minutes away.
const SignatureHeader = "Ringside-Signature"

// hook is an application behind a URL.
type hook struct {
	url    string
	secret []byte
	client *http.Client
	now    func() time.Time
}

// question is the body of a request, and reply that of the answer. The meaning is that of the gRPC service.
type question struct {
	Call        string            `json:"call"`
	Session     string            `json:"session"`
	Topic       string            `json:"topic,omitempty"`  // connect
	Client      string            `json:"client,omitempty"` // connect
	URL         string            `json:"url"`
	Headers     map[string]string `json:"headers"`
	Identifiers string            `json:"identifiers,omitempty"`
	State       map[string]string `json:"state,omitempty"`
	Command     string            `json:"command,omitempty"`
	Identifier  string            `json:"identifier,omitempty"`
	Data        string            `json:"data,omitempty"`
	Topics      []string          `json:"topics,omitempty"` // disconnect
}

type reply struct {
	Status        string            `json:"status"` // success, failure or error
	Message       string            `json:"message"`
	Identifiers   string            `json:"identifiers"`
	State         map[string]string `json:"state"`
	Transmissions []string          `json:"transmissions"`
	Streams       []string          `json:"streams"`
	Stopped       []string          `json:"stopped_streams"`
	StopAll       bool              `json:"stop_streams"`
	Disconnect    bool              `json:"disconnect"`
}

func newHook(cfg *WebhookConfig, now func() time.Time) (*hook, error) {
	if err := checkURL("webhook-url", cfg.URL, cfg.AllowHTTP); err != nil {
		return nil, err
	}
	secret, err := os.ReadFile(cfg.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("webhook-secret-file: %w", err)
	}
	if secret = bytes.TrimRight(secret, "\r\n"); len(secret) < minSecret {
		return nil, fmt.Errorf("webhook-secret-file: %s: a secret of %d bytes is too short: want %d or more", cfg.SecretFile, len(secret), minSecret)
	}
	return &hook{url: cfg.URL, secret: secret, now: now, client: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg.TLS, MaxResponseHeaderBytes: 16 << 10, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: cfg.Concurrency, MaxConnsPerHost: cfg.Concurrency, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (h *hook) close() { h.client.CloseIdleConnections() }

func (h *hook) connect(ctx context.Context, r *Request, app *App) (verdict, error) {
	return h.post(ctx, &question{
		Call: callConnect.String(), Session: sessionName(r.Session), Topic: r.Topic, Client: r.Client, URL: app.URL, Headers: app.Headers,
	})
}

func (h *hook) command(ctx context.Context, session uint64, app *App, c Command) (verdict, error) {
	return h.post(ctx, &question{
		Call: callCommand.String(), Session: sessionName(session), URL: app.URL, Headers: app.Headers, Identifiers: app.Identifiers, State: app.State,
		Command: c.Name, Identifier: c.Identifier, Data: c.Data,
	})
}

func (h *hook) disconnect(ctx context.Context, session uint64, app *App, topics []string) (verdict, error) {
	return h.post(ctx, &question{
		Call: callDisconnect.String(), Session: sessionName(session), URL: app.URL, Headers: app.Headers, Identifiers: app.Identifiers, State: app.State,
		Topics: topics,
	})
}

func (h *hook) post(ctx context.Context, q *question) (verdict, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return verdict{}, &strangeError{err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return verdict{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(SignatureHeader, sign(h.secret, h.now(), body))
	resp, err := h.client.Do(req)
	if err != nil {
		return verdict{}, withoutURL(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAppAnswer+1))
	switch {
	case err != nil:
		return verdict{}, err
	case len(text) > maxAppAnswer:
		return verdict{}, &strangeError{"it is too large"}
	}
	return readReply(resp.StatusCode, text)
}

// readReply takes 401 and 403 for a no, and what stands in a JSON body for the rest.
func readReply(code int, text []byte) (verdict, error) {
	var r reply
	err := json.Unmarshal(text, &r)
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return verdict{status: statusNo, message: r.Message}, nil
	case code >= 500 || code == http.StatusTooManyRequests:
		return verdict{}, errors.New("the application answers " + strconv.Itoa(code))
	case code/100 != 2:
		return verdict{}, &strangeError{strconv.Itoa(code)}
	case err != nil:
		return verdict{}, &strangeError{"it is not the JSON that is wanted"}
	}
	v := verdict{message: r.Message, identifiers: r.Identifiers, state: r.State, answer: Answer{
		Transmissions: r.Transmissions, Streams: r.Streams, Stopped: r.Stopped, StopAll: r.StopAll, Disconnect: r.Disconnect,
	}}
	switch r.Status {
	case "success":
		v.status = statusYes
	case "failure":
		v.status = statusNo
	}
	return v, nil
}

// sign makes the value of [SignatureHeader].
func sign(secret []byte, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(t + "."))
	m.Write(body)
	return "t=" + t + ",mac=" + hex.EncodeToString(m.Sum(nil))
}
