package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/certs"
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

// bearer is the token that a command shows.
type bearer struct {
	Token     string `placeholder:"TOKEN" help:"Token to show; other users of the machine can see it in the process list: --token-file or the variable RINGSIDE_TOKEN is better."`
	TokenFile string `placeholder:"FILE" help:"File whose first line is the token."`
}

// credentials are what a command shows to an admin port.
type credentials struct {
	bearer
	TLSCA   string `name:"tls-ca" placeholder:"FILE" help:"Authorities that an https:// admin port is believed by; the system's when none is given."`
	TLSCert string `name:"tls-cert" placeholder:"FILE" help:"Certificate that is shown to it."`
	TLSKey  string `name:"tls-key" placeholder:"FILE" help:"Its key."`
}

// token is the token; empty for none.
func (c *bearer) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	text, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("token-file: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
			return fields[0], nil
		}
	}
	return "", fmt.Errorf("token-file: %s holds no token", c.TokenFile)
}

// ask sends a request to the admin port and returns the body of a success. path may have a query.
func (c *credentials) ask(ctx context.Context, a adminURL, method, path string, body io.Reader) ([]byte, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	tlsConfig, err := certs.Client(certs.Files{CA: c.TLSCA, Cert: c.TLSCert, Key: c.TLSKey}, "")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, string(a)+path, body)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	// A connection of its own: no goroutine is left when the command has ended.
	resp, err := (&http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConfig}).RoundTrip(req)
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
