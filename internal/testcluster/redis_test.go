package testcluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refused says what a command was refused with, and fails when it was not.
func refused(t *testing.T, what, want string, err error) {
	t.Helper()
	var answer RedisError
	if !errors.As(err, &answer) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%s: got %v, want %s", what, err, want)
	}
}

// holds compares a value in a server.
func holds(t *testing.T, s *RedisServer, key string, want any) {
	t.Helper()
	if got := s.Do(t, "GET", key); got != want {
		t.Errorf("%s at %s: got %v, want %v", key, s.Addr, got, want)
	}
}

func TestRedisKeepsWhatItsOptionsSay(t *testing.T) {
	f := func(o RedisOptions, killed, stopped any) {
		t.Helper()
		s := NewRedisWith(t, o)
		s.Do(t, "SET", "a", "1")
		s.Kill()
		s.Revive(t)
		holds(t, s, "a", killed)
		s.Do(t, "SET", "a", "1")
		s.Stop()
		s.Revive(t)
		holds(t, s, "a", stopped)
	}
	f(RedisOptions{}, nil, nil)
	f(RedisOptions{Fsync: "always"}, "1", "1")
	f(RedisOptions{Save: "3600 1"}, nil, "1")
}

func TestRedisPaused(t *testing.T) {
	s := NewRedis(t, false)
	c := s.Dial(t)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := func(d time.Duration) (any, error) {
		if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
			t.Fatal(err)
		}
		return c.answer()
	}
	if v, err := answer(50 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of a server that stands still: got %v, %v, want no answer", v, err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if v, err := answer(Limit()); v != "PONG" {
		t.Errorf("after it went on: got %v, %v", v, err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	s.Kill() // works on one that stands still
}

func TestRedisRestore(t *testing.T) {
	f := func(o RedisOptions) {
		t.Helper()
		s := NewRedisWith(t, o)
		s.Do(t, "SET", "a", "1")
		old := s.Snapshot(t)
		s.Do(t, "SET", "a", "2")
		s.Do(t, "SET", "b", "2")
		s.Restore(t, old)
		holds(t, s, "a", "1")
		holds(t, s, "b", nil)
		s.Do(t, "SET", "a", "3")
		s.Restore(t, old)
		holds(t, s, "a", "1")
	}
	f(RedisOptions{})
	f(RedisOptions{Fsync: "everysec"})
	f(RedisOptions{Fsync: "always"})
}

func TestRedisOutOfMemory(t *testing.T) {
	s := NewRedisWith(t, RedisOptions{MaxMemory: "4mb"})
	c := s.Dial(t)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		_, err = c.Do("XADD", "log", "*", "v", strings.Repeat("x", 16<<10))
	}
	refused(t, "a write", "OOM ", err)
	if n, err := c.Do("XLEN", "log"); err != nil || n == int64(0) {
		t.Errorf("a read: got %v, %v", n, err)
	}
	if got := s.Info(t, "evicted_keys"); got != "0" {
		t.Errorf("evicted keys: got %s, want 0", got)
	}
	s.Do(t, "DEL", "log")
	s.Do(t, "XADD", "log", "*", "v", "1")
}

func TestRedisTLS(t *testing.T) {
	ca := NewAuthority(t)
	s := NewRedisWith(t, RedisOptions{TLS: &RedisTLS{Authority: ca}})
	s.Do(t, "SET", "a", "1")
	if want := "rediss://" + s.Addr; s.URL() != want {
		t.Errorf("URL: got %s, want %s", s.URL(), want)
	}
	ask := func(s *RedisServer, ca *Authority, withCert bool) error {
		cfg := ca.ClientConfig()
		if !withCert {
			cfg.Certificates = nil
		}
		c, err := DialRedisTLS(s.Addr, cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Do("PING")
		return err
	}
	if err := ask(s, ca, false); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
	if err := ask(s, NewAuthority(t), true); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a client that trusts another authority: got %v", err)
	}
	plain, err := DialRedis(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if v, err := plain.Do("PING"); err == nil {
		t.Errorf("without TLS: got %v, want an error", v)
	}

	s = NewRedisWith(t, RedisOptions{TLS: &RedisTLS{Authority: ca, ClientCerts: true}})
	if err := ask(s, ca, true); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := ask(s, ca, false); err == nil {
		t.Error("without a certificate that is asked for: got no error")
	}
	r := NewRedisWith(t, RedisOptions{TLS: &RedisTLS{Authority: ca, ClientCerts: true}, ReplicaOf: s})
	s.WaitReplicas(t, r)
}

func TestRedisUsers(t *testing.T) {
	s := NewRedis(t, false)
	url := s.SetUser(t, "gate", "p@ss", "~ringside:*", "+@read", "+ping")
	if want := "redis://gate:p%40ss@" + s.Addr; url != want {
		t.Errorf("URL: got %s, want %s", url, want)
	}
	s.SetUser(t, "default", "other", "~*", "+@all")
	for range 2 {
		c, err := DialRedis(s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Do("GET", "ringside:a")
		refused(t, "without a password", "NOAUTH ", err)
		_, err = c.Do("AUTH", "gate", "wrong")
		refused(t, "a wrong password", "WRONGPASS ", err)
		if _, err := c.Do("AUTH", "gate", "p@ss"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do("GET", "ringside:a"); err != nil {
			t.Errorf("what the rules allow: %v", err)
		}
		_, err = c.Do("GET", "other")
		refused(t, "another key", "NOPERM ", err)
		_, err = c.Do("SET", "ringside:a", "1")
		refused(t, "another command", "NOPERM ", err)
		s.Do(t, "SET", "ringside:a", "1")
		s.Revive(t) // and all the same again
	}
}

func TestRedisReplica(t *testing.T) {
	master := NewRedis(t, false)
	master.Do(t, "SET", "a", "1")
	r := NewRedisWith(t, RedisOptions{ReplicaOf: master})
	master.WaitReplicas(t, r)
	holds(t, r, "a", "1")
	_, err := r.Dial(t).Do("SET", "a", "2")
	refused(t, "a write to a replica", "READONLY ", err)

	master.CutReplicas(t)
	master.Do(t, "SET", "a", "2")
	holds(t, r, "a", "1")
	master.JoinReplicas(t)
	master.WaitReplicas(t, r)
	holds(t, r, "a", "2")
}

func TestRedisDiskFull(t *testing.T) {
	t.Run("everysec", func(t *testing.T) {
		disk := NewSmallDisk(t, 2<<20)
		s := NewRedisWith(t, RedisOptions{Dir: disk.Dir, Fsync: "everysec"})
		c := s.Dial(t)
		disk.Fill(t)
		Eventually(t, "writes that are refused", func() error {
			_, err := c.Do("SET", "a", strings.Repeat("x", 8192))
			if err == nil {
				return errors.New("a write was taken")
			}
			if strings.HasPrefix(err.Error(), "MISCONF ") {
				return nil
			}
			t.Fatal(err)
			return nil
		})
		disk.Free(t)
		Eventually(t, "writes with space again", func() error {
			_, err := c.Do("SET", "a", "1")
			return err
		})
		s.Stop() // not a kill, which could come before the file is written
		s.Revive(t)
		holds(t, s, "a", "1")
	})
	t.Run("always", func(t *testing.T) {
		disk := NewSmallDisk(t, 2<<20)
		s := NewRedisWith(t, RedisOptions{Dir: disk.Dir, Fsync: "always"})
		c := s.Dial(t)
		disk.Fill(t)
		var err error
		for i := 0; err == nil && i < 100; i++ {
			_, err = c.Do("SET", "a", strings.Repeat("x", 8192))
		}
		if code, wait := s.Wait(Limit()); wait != nil || code != 1 {
			t.Errorf("got %d, %v after %v, want that it ends with 1", code, wait, err)
		}
	})
	t.Run("snapshot", func(t *testing.T) {
		disk := NewSmallDisk(t, 2<<20)
		s := NewRedisWith(t, RedisOptions{Dir: disk.Dir, Save: "3600 1000000"})
		c := s.Dial(t)
		disk.Fill(t)
		if _, err := c.Do("SET", "a", strings.Repeat("x", 8192)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Do("SAVE")
		refused(t, "SAVE", "ERR", err)
		s.Do(t, "BGSAVE")
		Eventually(t, "writes that are refused", func() error {
			if _, err := c.Do("SET", "a", "1"); err == nil || !strings.HasPrefix(err.Error(), "MISCONF ") {
				return fmt.Errorf("got %w", err)
			}
			return nil
		})
	})
}

func TestSmallDisk(t *testing.T) {
	disk := NewSmallDisk(t, 1<<20)
	disk.Fill(t)
	file := filepath.Join(disk.Dir, "file")
	if err := os.WriteFile(file, make([]byte, 8192), 0o600); err == nil {
		t.Error("writing to a full disk: got no error")
	}
	disk.Free(t)
	if err := os.WriteFile(file, make([]byte, 8192), 0o600); err != nil {
		t.Error(err)
	}
}
