package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// encoder makes requests of messages, and reads the answers.
type encoder struct {
	cfg    *PressConfig
	flight int // requests under way at once
	batch  int // messages of a request
	dial   func(ctx context.Context) (net.Conn, error)
	encode func(b []byte, run string, list []pending) []byte
	answer func(in *bufio.Reader) (reason string, err error) // reason is empty for yes
}

// newEncoder is that of the URL's scheme.
func newEncoder(cfg *PressConfig) (*encoder, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL: want for example http://127.0.0.1:8081 or redis://127.0.0.1:6379", cfg.URL)
	}
	if err := cfg.Template.Validate(); err != nil {
		return nil, err
	}
	e := &encoder{cfg: cfg, batch: 1}
	switch u.Scheme {
	case "http", "https":
		if cfg.Template.Publish.HTTP == nil {
			return nil, fmt.Errorf("the template %s does not say how to publish by HTTP", cfg.Template.Name)
		}
		return e, e.http(u)
	case "redis", "rediss":
		if len(cfg.Template.Publish.Redis) == 0 {
			return nil, fmt.Errorf("the template %s does not say how to publish by Redis", cfg.Template.Name)
		}
		return e, e.redis(u)
	}
	return nil, fmt.Errorf("%q: want http, https, redis or rediss", cfg.URL)
}

// dialer connects to u, by TLS where secure.
func dialer(u *url.URL, port string, secure bool) func(context.Context) (net.Conn, error) {
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), port)
	}
	d := &net.Dialer{Timeout: dialLimit}
	return func(ctx context.Context) (net.Conn, error) {
		if secure {
			return (&tls.Dialer{NetDialer: d}).DialContext(ctx, "tcp", addr)
		}
		return d.DialContext(ctx, "tcp", addr)
	}
}

func (e *encoder) http(u *url.URL) error {
	t := e.cfg.Template.Publish.HTTP
	items := e.cfg.Batch > 1 || t.Body == ""
	if items && t.Batch.Item == "" {
		return fmt.Errorf("the template %s has no batches", e.cfg.Template.Name)
	}
	e.flight = 1
	if items {
		e.batch = max(1, e.cfg.Batch)
	}
	e.dial = dialer(u, map[string]string{"http": "80", "https": "443"}[u.Scheme], u.Scheme == "https")
	method := t.Method
	if method == "" {
		method = http.MethodPost
	}
	var head strings.Builder
	for _, k := range slices.Sorted(maps.Keys(t.Headers)) {
		head.WriteString(k + ": " + t.Headers[k] + "\r\n")
	}
	bearer := ""
	if e.cfg.Token != "" {
		bearer = "Authorization: Bearer " + e.cfg.Token + "\r\n"
	}
	start, err := compile(method + " " + strings.TrimRight(u.EscapedPath(), "/") + t.Path + " HTTP/1.1\r\nHost: " + u.Host + "\r\n")
	if err != nil {
		return err
	}
	headers := mustCompile(head.String())
	body, begin, item, end := mustCompile(t.Body), mustCompile(t.Batch.Begin), mustCompile(t.Batch.Item), mustCompile(t.Batch.End)
	e.encode = func(b []byte, run string, list []pending) []byte {
		v := e.values(run, list[0])
		var content []byte
		if items {
			content = begin.append(nil, v)
			for i, m := range list {
				if i > 0 {
					content = append(content, t.Batch.Between...)
				}
				content = item.append(content, e.values(run, m))
			}
			content = end.append(content, v)
		} else {
			content = body.append(nil, v)
		}
		b = headers.append(start.append(b, v), v)
		b = fmt.Appendf(b, "%sContent-Length: %d\r\n\r\n", bearer, len(content))
		return append(b, content...)
	}
	e.answer = func(in *bufio.Reader) (string, error) { return httpAnswer(in, t.Refused) }
	return nil
}

// httpAnswer reads an answer; one that refused holds for is none of success.
func httpAnswer(in *bufio.Reader, refused Match) (string, error) {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode/100 != 2:
		return newRefusal("status "+strconv.Itoa(resp.StatusCode), body).reason, nil
	case refused.holds(body):
		return fmt.Sprintf("refused: %.100s", body), nil
	}
	return "", nil
}

func (e *encoder) values(run string, m pending) *values {
	return &values{topic: e.cfg.Topics[m.topic], payload: payload(run, m.number, m.due, e.cfg.Size), number: int(m.number)}
}

func (e *encoder) redis(u *url.URL) error {
	if e.cfg.Batch > 1 {
		return errors.New("messages for Redis are pipelined, not put together in batches")
	}
	e.flight = redisFlight
	dial := dialer(u, "6379", u.Scheme == "rediss")
	var first [][]string
	if password, ok := u.User.Password(); ok && u.User.Username() != "" {
		first = append(first, []string{"AUTH", u.User.Username(), password})
	} else if ok {
		first = append(first, []string{"AUTH", password})
	}
	if db := strings.Trim(u.Path, "/"); db != "" && db != "0" {
		first = append(first, []string{"SELECT", db})
	}
	e.dial = func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		for _, words := range first {
			reason, err := askRedis(c, words)
			if err == nil && reason != "" {
				err = errors.New(reason)
			}
			if err != nil {
				c.Close()
				return nil, err
			}
		}
		return c, nil
	}
	var words []text
	for _, w := range e.cfg.Template.Publish.Redis {
		words = append(words, mustCompile(w))
	}
	e.encode = func(b []byte, run string, list []pending) []byte {
		v := e.values(run, list[0])
		b = fmt.Appendf(b, "*%d\r\n", len(words))
		for _, t := range words {
			w := t.append(nil, v)
			b = append(fmt.Appendf(b, "$%d\r\n", len(w)), w...)
			b = append(b, '\r', '\n')
		}
		return b
	}
	e.answer = redisAnswer
	return nil
}

// askRedis has a command answered before others are sent, so that nothing is left in the reader.
func askRedis(c net.Conn, words []string) (string, error) {
	b := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := c.Write(b); err != nil {
		return "", err
	}
	return redisAnswer(bufio.NewReader(c))
}

// mostDeep bounds answers within answers.
const mostDeep = 8

// redisAnswer reads one answer of Redis (RESP 2). An error of Redis is a reason.
func redisAnswer(in *bufio.Reader) (string, error) { return redisDeep(in, mostDeep) }

func redisDeep(in *bufio.Reader, deep int) (reason string, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" || deep == 0 {
		return "", fmt.Errorf("an answer that is not Redis's: %.60q", line)
	}
	switch rest := line[1:]; line[0] {
	case '+', ':':
		return "", nil
	case '-':
		return fmt.Sprintf("%.100s", rest), nil
	case '$', '*':
		n, err := strconv.Atoi(rest)
		if err != nil || n > maxFrame {
			return "", fmt.Errorf("an answer that is not Redis's: %.60q", line)
		}
		if n < 0 {
			return "", nil
		}
		if line[0] == '$' {
			_, err = in.Discard(n + 2)
			return "", err
		}
		for range n {
			r, err := redisDeep(in, deep-1)
			if err != nil {
				return "", err
			}
			if r != "" {
				reason = r
			}
		}
		return reason, nil
	}
	return "", fmt.Errorf("an answer that is not Redis's: %.60q", line)
}
