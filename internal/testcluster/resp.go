package testcluster

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Redis is a plain connection to a Redis server, as any program in any language could have one: the tests
// publish and read the truth with it, past all code of ours. It is for one goroutine.
type Redis struct {
	conn net.Conn
	in   *bufio.Reader
}

// RedisError is an error that the server answered with.
type RedisError string

func (e RedisError) Error() string { return string(e) }

// DialRedis connects; the caller closes.
func DialRedis(addr string) (*Redis, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &Redis{conn: c, in: bufio.NewReader(c)}, nil
}

// DialRedisTLS is [DialRedis] with TLS.
func DialRedisTLS(addr string, cfg *tls.Config) (*Redis, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	return &Redis{conn: c, in: bufio.NewReader(c)}, nil
}

// Close closes the connection.
func (r *Redis) Close() error { return r.conn.Close() }

// Do sends one command and waits for its answer: a string, an int64, nil or a []any of them.
func (r *Redis) Do(args ...string) (any, error) {
	if err := r.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := r.conn.Write(b); err != nil {
		return nil, err
	}
	return r.answer()
}

func (r *Redis) answer() (any, error) {
	line, err := r.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("cannot read the answer %q", line)
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, RedisError(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return nil, fmt.Errorf("cannot read the answer %q", line)
	}
	switch {
	case kind == ':':
		return int64(n), nil
	case n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r.in, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case kind == '*':
		list := make([]any, n)
		for i := range list {
			if list[i], err = r.answer(); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("cannot read the answer %q", line)
}
