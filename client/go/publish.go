package ringside

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/backoff"
)

// Publisher publishes by the admin port of any node. It may be used by many goroutines at once. The zero Client is a client of its own with a
// time-out for each attempt.
type Publisher struct {
	URL    string       // of the admin port: http or https, and a host
	Token  string       // of a publisher or an administrator; empty for none
	Client *http.Client // nil for one of its own
	TLS    *tls.Config  // of that; nil for the defaults
}

// Publish is how a message is published.
type Publish struct {
	// Key is the idempotency key: what is published twice with the same key is there once. Without one a key is made up, so that an attempt
	// whose answer was lost can be repeated.
	Key         string
	MinReplicas int // replicas of Redis that must have it before the answer
}

const (
	publishTimeout = 15 * time.Second // of one attempt
	maxAnswer      = 64 << 10
)

// ErrRefused is in the chain of errors that trying again would not change.
var ErrRefused = errors.New("ringside: the message was refused")

// Publish publishes data as it is and returns its position. It tries again, by the default backoff, for as long as the context lasts and the
// cluster can't be reached or asks for patience; the message is there once, however often it was tried.
func (p *Publisher) Publish(ctx context.Context, topic string, data []byte, how Publish) (position string, err error) {
	if how.Key == "" {
		how.Key = rand.Text()
	}
	target := p.rawTarget(topic, how)
	for n := 0; ; n++ {
		position, wait, err := p.try(ctx, target, data)
		if err == nil || errors.Is(err, ErrRefused) || ctx.Err() != nil {
			return position, err
		}
		if ended := pause(ctx, n, wait); ended != nil {
			return "", errors.Join(ended, err)
		}
	}
}

// rawTarget is where the bytes of a message are posted to.
func (p *Publisher) rawTarget(topic string, how Publish) string {
	q := url.Values{"id": {how.Key}}
	if how.MinReplicas > 0 {
		q.Set("min_replicas", strconv.Itoa(how.MinReplicas))
	}
	return strings.TrimRight(p.URL, "/") + "/publish/" + url.PathEscape(topic) + "?" + q.Encode()
}

// pause waits before attempt n+1 by the default backoff, and at least as long as the server asks for. It returns the context's error when
// that ends first.
func pause(ctx context.Context, n int, least time.Duration) error {
	t := time.NewTimer(max(least, backoff.Default().Delay(n)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// answered is an answer of the admin port.
type answered struct {
	status   int
	wait     time.Duration // that it asks for
	text     []byte
	Position string        `json:"position"`
	Error    string        `json:"error"`
	Message  string        `json:"message"`
	Results  []batchResult `json:"results"` // of a batch
}

// err is what an answer that is no success says. Trying again does not change it, unless the server is busy or Redis away.
func (a *answered) err() error {
	if a.status == http.StatusTooManyRequests || a.status/100 == 5 {
		return fmt.Errorf("ringside: %d %s: %s", a.status, a.Error, a.Message)
	}
	return fmt.Errorf("%w: %d %s: %s", ErrRefused, a.status, a.Error, a.Message)
}

// try makes one attempt. wait is what the server asks for.
func (p *Publisher) try(ctx context.Context, target string, data []byte) (position string, wait time.Duration, err error) {
	a, err := p.post(ctx, target, "", data, maxAnswer)
	switch {
	case err != nil:
		return "", 0, err
	case a.status/100 == 2 && a.Position != "":
		return a.Position, 0, nil
	}
	return "", a.wait, a.err()
}

// post sends a body and reads the answer, of which it takes so many bytes.
func (p *Publisher) post(ctx context.Context, target, kind string, body []byte, most int64) (*answered, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if p.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.Token)
	}
	client := p.Client
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment, TLSClientConfig: p.TLS}}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ringside: %w", err)
	}
	defer resp.Body.Close()
	a := &answered{status: resp.StatusCode}
	if a.text, err = io.ReadAll(io.LimitReader(resp.Body, most)); err != nil {
		return nil, fmt.Errorf("ringside: %w", err)
	}
	if err := json.Unmarshal(a.text, a); err != nil {
		a.Message = fmt.Sprintf("%.200q", a.text)
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	a.wait = time.Duration(min(max(seconds, 0), 60)) * time.Second
	return a, nil
}
