package testcluster

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// adminUser is the user of the tests' own connections, on a server whose default user a test may have changed.
const adminUser, adminPassword = "ringside-tests", "no secret either"

// Dial connects to the server for the length of a test, with every right.
func (s *RedisServer) Dial(t testing.TB) *Redis {
	t.Helper()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Do runs one command on a connection of its own, with every right; an error fails the test.
func (s *RedisServer) Do(t testing.TB, args ...string) any {
	t.Helper()
	v, err := s.ask(args...)
	if err != nil {
		t.Fatalf("%s: %s: %v", s.Addr, strings.Join(args, " "), err)
	}
	return v
}

// SetUser makes or changes a user that has nothing but the given password and ACL rules ("~ringside:*", "+@read"), and
// returns the URL to connect with as that user. It outlasts a restart. The user "default" is that of connections
// without a name.
func (s *RedisServer) SetUser(t testing.TB, name, password string, rules ...string) string {
	t.Helper()
	if !s.admin {
		s.Do(t, "ACL", "SETUSER", adminUser, "on", ">"+adminPassword, "~*", "&*", "+@all")
		s.admin = true
	}
	s.Do(t, append([]string{"ACL", "SETUSER", name, "reset", "on", ">" + password}, rules...)...)
	s.Do(t, "CONFIG", "REWRITE")
	u := url.URL{Scheme: s.scheme(), Host: s.Addr, User: url.UserPassword(name, password)}
	return u.String()
}

// Info is a field of the server's INFO.
func (s *RedisServer) Info(t testing.TB, field string) string {
	t.Helper()
	info, err := s.info()
	if err != nil {
		t.Fatal(err)
	}
	v, ok := info[field]
	if !ok {
		t.Fatalf("%s: INFO has no %s", s.Addr, field)
	}
	return v
}

func (s *RedisServer) info() (map[string]string, error) {
	v, err := s.ask("INFO")
	if err != nil {
		return nil, fmt.Errorf("%s: INFO: %w", s.Addr, err)
	}
	return fields(v), nil
}

// fields parses lines of name:value.
func fields(answer any) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(fmt.Sprint(answer)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = value
		}
	}
	return m
}

func (s *RedisServer) ask(args ...string) (any, error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(args...)
}

func (s *RedisServer) dial() (*Redis, error) {
	var c *Redis
	var err error
	if s.options.TLS == nil {
		c, err = DialRedis(s.Addr)
	} else {
		c, err = DialRedisTLS(s.Addr, s.options.TLS.Authority.ClientConfig())
	}
	if err != nil || !s.admin {
		return c, err
	}
	if _, err := c.Do("AUTH", adminUser, adminPassword); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
