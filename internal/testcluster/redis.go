package testcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a real redis-server of the tests' own, on a free port, with its files in a directory of its
// own.
type RedisServer struct {
	*Process
	Addr string // host:port
	Dir  string
	AOF  bool // every write is on disk before it is answered
}

// StartRedis starts a server and waits until it answers. The caller ends it. A server with AOF can be killed
// and started again ([RedisServer.Restart]) without loss.
func StartRedis(ctx context.Context, dir string, aof bool) (*RedisServer, error) {
	for try := 1; ; try++ {
		addr, err := FreeAddr()
		if err != nil {
			return nil, err
		}
		s := &RedisServer{Addr: addr, Dir: dir, AOF: aof}
		err = s.Restart(ctx)
		if err == nil {
			return s, nil
		}
		if try == startTries || s.Process == nil || !strings.Contains(s.Log(), "already in use") {
			return nil, err
		}
	}
}

// Restart starts a server that has ended on its old port with its old files.
func (s *RedisServer) Restart(ctx context.Context) error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := []string{"--bind", "127.0.0.1", "--port", port, "--dir", s.Dir, "--save", ""}
	if s.AOF {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	if s.Process, err = StartProcess("redis-server", "redis-server", args...); err != nil {
		return fmt.Errorf("%w (apt-get install redis-server)", err)
	}
	err = Poll(ctx, func() error {
		if s.Exited() {
			return nil
		}
		return s.ping()
	})
	if err == nil && s.Exited() {
		err = errors.New("it ended")
	}
	if err != nil {
		s.Kill()
		return fmt.Errorf("cannot start redis-server: %w\n%s", err, s.LogTail(10))
	}
	return nil
}

func (s *RedisServer) ping() error {
	c, err := DialRedis(s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do("PING") // an error while it reads its files
	return err
}

// URL is the address as the flags take it.
func (s *RedisServer) URL() string { return "redis://" + s.Addr }

// Stop ends the server in good order.
func (s *RedisServer) Stop() {
	_ = s.Signal(syscall.SIGTERM) // fails only when it has just ended
	if _, err := s.Wait(10 * time.Second); err != nil {
		s.Kill()
	}
}

// NewRedis starts a server for a test.
func NewRedis(t testing.TB, aof bool) *RedisServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "ringside-redis-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(context.Background(), Limit())
	defer cancel()
	s, err := StartRedis(ctx, dir, aof)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("---- the last lines of redis-server\n%s", s.LogTail(tailLines))
		}
	})
	return s
}

// Dial connects to the server for the length of a test.
func (s *RedisServer) Dial(t testing.TB) *Redis {
	t.Helper()
	c, err := DialRedis(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
