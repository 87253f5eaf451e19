package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/ringside-edge/ringside/internal/certs"
	"github.com/ringside-edge/ringside/internal/look"
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
	message string
	body    []byte
}

func (r *refused) Error() string { return r.message }

// asJSON is the flag of commands that show something.
type asJSON struct {
	JSON bool `name:"json" group:"Output" help:"Print JSON, for programs."`
}

// bearer is the token that a command shows.
type bearer struct {
	Token     string `group:"Access" placeholder:"TOKEN" help:"Token to show; other users of the machine can see it in the process list: --token-file or the variable RINGSIDE_TOKEN is better."`
	TokenFile string `group:"Access" placeholder:"FILE" help:"File whose first line is the token."`
}

// credentials are what a command shows to an admin port.
type credentials struct {
	bearer
	TLSCA   string `name:"tls-ca" group:"Access" placeholder:"FILE" help:"Authorities that an https:// admin port is believed by; the system's when none is given."`
	TLSCert string `name:"tls-cert" group:"Access" placeholder:"FILE" help:"Certificate that is shown to it."`
	TLSKey  string `name:"tls-key" group:"Access" placeholder:"FILE" help:"Its key."`
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
		return nil, usage(err)
	}
	tlsConfig, err := certs.Client(certs.Files{CA: c.TLSCA, Cert: c.TLSCert, Key: c.TLSKey}, "")
	if err != nil {
		return nil, usage(err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	sent := false // in full: from then on it may be carried out
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(w httptrace.WroteRequestInfo) { sent = w.Err == nil }})
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
		return nil, unanswered(method, sent, unreachable("the admin port", string(a), err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, unanswered(method, true, unreachable("the end of the answer of", string(a), err))
	case !json.Valid(text): // every answer that is asked for here is JSON
		if strings.Contains(string(text), "HTTP request to an HTTPS server") {
			return nil, unreachable("the admin port", string(a), errors.New("it speaks TLS: ask it by https://"))
		}
		return nil, notRingside(string(a), string(text))
	case resp.StatusCode/100 != 2:
		return nil, asRefused(resp.StatusCode, text, token != "")
	}
	return text, nil
}

// unanswered is an error of a request that may have been carried out all the same.
func unanswered(method string, sent bool, f *failure) error {
	if sent && method != http.MethodGet {
		f.code, f.advice = exitUnfinished, "It may have been carried out: look, or repeat it (a publish with the same --id)."
	}
	return f
}

// asRefused reads a JSON error; anything else is shown as it came, shortened. shown is whether it was shown a token.
func asRefused(status int, text []byte, shown bool) error {
	var body struct {
		Error     string `json:"error"`
		Message   string `json:"message"`
		Ambiguous bool   `json:"ambiguous"`
	}
	if err := json.Unmarshal(text, &body); err != nil || body.Message == "" {
		body.Message = fmt.Sprintf("the server answered %d %.200q", status, text)
	}
	f := &failure{code: exitFailure, err: &refused{status, look.Printable(body.Message), text}, advice: refusalAdvice(status, body.Error, shown)}
	switch {
	case body.Ambiguous:
		f.code = exitUnfinished
	case status/100 == 4 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout:
		f.code = exitRefused
	}
	return f
}

// printJSON writes one document on a line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
