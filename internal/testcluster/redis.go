package testcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a real redis-server of the tests' own, on a free port, with its files in a directory of its
// own. It can be killed, paused ([Process.Pause]) and started again; what it then still knows is what its options say.
type RedisServer struct {
	*Process
	Addr string // host:port
	Bus  string // host:port of the cluster bus; of a node of a cluster only
	Dir  string

	options RedisOptions
	admin   bool // there is a user for the connections of the tests' own
}

// StartRedis starts a server and waits until it answers. The caller ends it. A server with AOF can be killed
// and started again ([RedisServer.Restart]) without loss.
func StartRedis(ctx context.Context, dir string, aof bool) (*RedisServer, error) {
	return StartRedisWith(ctx, dir, withAOF(aof))
}

// StartRedisWith is [StartRedis] with options.
func StartRedisWith(ctx context.Context, dir string, o RedisOptions) (*RedisServer, error) {
	for try := 1; ; try++ {
		s := &RedisServer{Dir: dir, options: o}
		var err error
		if s.Addr, err = FreeAddr(); err != nil {
			return nil, err
		}
		for o.cluster && (s.Bus == "" || s.Bus == s.Addr) {
			if s.Bus, err = FreeAddr(); err != nil {
				return nil, err
			}
		}
		if err = s.configure(); err != nil {
			return nil, err
		}
		err = s.Restart(ctx)
		if err == nil {
			return s, nil
		}
		if try == startTries || s.Process == nil || !strings.Contains(s.Log(), "already in use") {
			return nil, err
		}
	}
}

// Restart starts a server that has ended on its old port with its old files, and waits until it has read them.
func (s *RedisServer) Restart(ctx context.Context) error {
	if _, err := os.Stat(s.configFile()); errors.Is(err, os.ErrNotExist) {
		if err := s.configure(); err != nil {
			return err
		}
	}
	args := []string{s.configFile()}
	if s.options.monitor != nil {
		args = append(args, "--sentinel")
	}
	var err error
	if s.Process, err = StartProcess("redis-server", "redis-server", args...); err != nil {
		return fmt.Errorf("%w (apt-get install redis-server)", err)
	}
	err = Poll(ctx, func() error {
		if s.Exited() {
			return nil
		}
		_, err := s.ask("PING") // an error while it reads its files
		return err
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

// URL is the address as the flags take it: redis://, or rediss:// with TLS.
func (s *RedisServer) URL() string { return s.scheme() + "://" + s.Addr }

func (s *RedisServer) scheme() string {
	if s.options.TLS != nil {
		return "rediss"
	}
	return "redis"
}

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
	return NewRedisWith(t, withAOF(aof))
}

// NewRedisWith starts a server with options for a test.
func NewRedisWith(t testing.TB, o RedisOptions) *RedisServer {
	t.Helper()
	dir := o.Dir
	if dir == "" {
		dir = tempDir(t, "ringside-redis-")
	}
	ctx, cancel := context.WithTimeout(context.Background(), Limit())
	defer cancel()
	s, err := StartRedisWith(ctx, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("---- the last lines of redis-server at %s\n%s", s.Addr, s.LogTail(tailLines))
		}
	})
	return s
}

// Revive is [RedisServer.Restart] for a test; a server that runs is killed first.
func (s *RedisServer) Revive(t testing.TB) {
	t.Helper()
	if s.Process != nil {
		s.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), Limit())
	defer cancel()
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// tempDir makes a directory that goes with the test. It is not the one of t.TempDir, whose removal fails the test
// when a child of a killed server still writes there.
func tempDir(t testing.TB, prefix string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
