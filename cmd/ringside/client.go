package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// requestTimeout is what an admin port has to answer.
	requestTimeout = 15 * time.Second
	// maxAnswer bounds what is read of its answer.
	maxAnswer = 16 << 20
)

// adminURL is the base URL of an admin port.
type adminURL string

// UnmarshalText takes http://host:port.
func (a *adminURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not the URL of an admin port: want for example http://127.0.0.1:8081", text)
	}
	*a = adminURL(strings.TrimRight(string(text), "/"))
	return nil
}

// refused is an answer that is no success. Its text is the sentence that the server gave.
type refused struct {
	status  int
	reason  string
	message string
}

func (r *refused) Error() string { return r.message }

// ask sends a request to the admin port and returns the body of a success. path may have a query.
func (a adminURL) ask(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, string(a)+path, body)
	if err != nil {
		return nil, err
	}
	// A connection of its own: no goroutine is left when the command has ended.
	resp, err := (&http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}).RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the admin port %s: %w", a, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of the admin port %s broke off: %w", a, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, asRefused(resp.StatusCode, text)
	}
	return text, nil
}

// asRefused reads a JSON error; anything else is shown as it came, shortened.
func asRefused(status int, text []byte) *refused {
	var body struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(text, &body); err != nil || body.Message == "" {
		body.Message = fmt.Sprintf("the server answered %d %.200q", status, text)
	}
	return &refused{status: status, reason: body.Error, message: body.Message}
}
