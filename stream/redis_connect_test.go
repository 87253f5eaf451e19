package stream

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// checked waits until Redis has answered n further checks.
func checked(t *testing.T, c *Client, n int) {
	t.Helper()
	for last := c.lastOK.Load(); n > 0; n-- {
		testcluster.Soon(t, "Redis answers a check", func() bool { return c.lastOK.Load() != last })
		last = c.lastOK.Load()
	}
}

// notReady waits until the client says that it is not ready, for a reason in which all of words stand.
func notReady(t *testing.T, c *Client, words ...string) {
	t.Helper()
	testcluster.Eventually(t, "an error with "+strings.Join(words, ", "), func() error {
		err := c.Ready()
		if err == nil {
			return notYetError("ready")
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				return notYetError("ready: " + err.Error())
			}
		}
		return nil
	})
	if n := c.lastOK.Load(); n != 0 {
		t.Error("the client was ready before")
	}
}

type notYetError string

func (e notYetError) Error() string { return string(e) }

// Checks that follow the first succeed as well, and nothing is connected anew.
func TestStaysReady(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		c := ready(t, start(t, Config{URL: url}))
		checked(t, c, 3)
		if err := c.Ready(); err != nil || c.changes.Load() != 0 || c.metrics.reconnects.Load() != 0 || c.metrics.healthErrors.Load() != 0 {
			t.Errorf("got %v, %d changes, %d links, %d errors", err, c.changes.Load(), c.metrics.reconnects.Load(), c.metrics.healthErrors.Load())
		}
	})
}

func TestURLOptions(t *testing.T) {
	f := func(url, addrs, user, password, master string, db int) {
		t.Helper()
		opt, _, err := options(&Config{URL: url})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			return
		}
		if got := strings.Join(opt.InitAddress, " "); got != addrs || opt.Username != user || opt.Password != password ||
			opt.Sentinel.MasterSet != master || opt.SelectDB != db || (opt.TLSConfig != nil) != strings.HasPrefix(url, "rediss") {
			t.Errorf("%s: got %s, %q, %q, %q, %d", url, got, opt.Username, opt.Password, opt.Sentinel.MasterSet, opt.SelectDB)
		}
	}
	f("redis://h", "h:6379", "", "", "", 0)
	f("redis://gate:p%40ss@h:1/3", "h:1", "gate", "p@ss", "", 3)
	f("rediss://:p@h:1", "h:1", "", "p", "", 0)
	f("redis-sentinel://h,i:1#main", "h:26379 i:1", "", "", "main", 0)
	f("redis-sentinel://gate:p%40ss@h,i/2#main", "h:26379 i:26379", "gate", "p@ss", "main", 2)
	f("rediss-sentinel://[::1]:1,[::2]#main", "[::1]:1 [::2]:26379", "", "", "main", 0)
	f("redis-cluster://gate:p@h:1,i", "h:1 i:6379", "gate", "p", "", 0)
	f("rediss-cluster://h", "h:6379", "", "", "", 0)
	opt, _, err := options(&Config{URL: "redis-sentinel://gate:p@h?sentinel_user=watch&sentinel_password=s%2Fp#main"})
	if err != nil || opt.Password != "p" || opt.Sentinel.Username != "watch" || opt.Sentinel.Password != "s/p" {
		t.Errorf("of the sentinels: got %q, %q, %q, %v", opt.Password, opt.Sentinel.Username, opt.Sentinel.Password, err)
	}
}

// What a URL says wrong is told without repeating it, for the password's sake.
func TestErrorsDoNotRepeatTheURL(t *testing.T) {
	f := func(cfg Config) {
		t.Helper()
		if _, err := New(cfg, zap.NewNop()); err == nil {
			t.Errorf("%s: got no error", cfg.URL)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", cfg.URL, err)
		}
	}
	for _, url := range []string{
		"hunter2", "redis:hunter2", "http://:hunter2@h", "redis://:hunter2@%zz", "redis://:hunter2@h:port", "redis://:hunter2@h:1/x",
		"redis://:hunter2@h:1?dial_timeout=hunter2", "redis://:hunter2@h/0?master_set=x", "redis://:hunter2@h?addr=i:1", "redis://:hun%ter2@h",
		"redis-sentinel://:hunter2@h", "redis-sentinel://:hunter2@#main", "redis-sentinel://:hunter2@h/x#main", "redis-sentinel://:hunter2@h/-1#main",
		"redis-sentinel://:hunter2@h,,i#main", "redis-sentinel://:hunter2@h,:1#main", "redis-sentinel://:hunter2%zz@h#main",
		"redis-cluster://:hunter2@h#main", "redis-cluster://:hunter2@h/1", "redis-cluster://:hunter2@", "redis-cluster://:hunter2@h:1:2",
		"redis-cluster://:hunter2@h:port", "rediss-other://:hunter2@h", "redisss://:hunter2@h",
	} {
		f(Config{URL: url})
	}
	f(Config{URL: "redis://:hunter2@h", TLS: TLS{CA: "ca.crt"}})
	f(Config{URL: "rediss://:hunter2@h", TLS: TLS{CA: "no such file"}})
	f(Config{URL: "rediss://:hunter2@h", TLS: TLS{CA: os.Args[0]}})
	f(Config{URL: "rediss://:hunter2@h", TLS: TLS{Cert: "a.crt"}})
	f(Config{URL: "rediss://:hunter2@h", TLS: TLS{Cert: os.Args[0], Key: os.Args[0]}})

	addr, err := testcluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"redis://:hunter2@" + addr, "redis-sentinel://:hunter2@" + addr + "#main", "redis-cluster://:hunter2@" + addr} {
		c := start(t, Config{URL: url})
		notReady(t, c, "refused")
		if err := c.Ready(); strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func TestTLS(t *testing.T) {
	ca, other := testcluster.NewAuthority(t), testcluster.NewAuthority(t)
	s := testcluster.NewRedisWith(t, testcluster.RedisOptions{TLS: &testcluster.RedisTLS{Authority: ca}})
	c := ready(t, start(t, Config{URL: s.URL(), TLS: TLS{CA: ca.CAFile}}))
	kinds(t, func(t *testing.T, k kind) {
		h, _ := tailOf(t, c, k, allSlots()...)
		publish(t, c, "finals", "1")
		h.wantPayloads("finals", "1")
	})
	bad := func(tls TLS, url string, words ...string) {
		t.Helper()
		c := start(t, Config{URL: url, TLS: tls, OpTimeout: 500 * time.Millisecond})
		notReady(t, c, words...)
		if _, err := c.Publish(t.Context(), Message{Topic: "finals"}); !isUnavailable(err) {
			t.Errorf("publish: got %v, want ErrUnavailable", err)
		}
	}
	bad(TLS{CA: other.CAFile}, s.URL(), "certificate", "unknown authority", "redis-tls-ca")
	bad(TLS{}, s.URL(), "certificate", "unknown authority", "redis-tls-ca")
	bad(TLS{CA: ca.CAFile, ServerName: "redis.example"}, s.URL(), "certificate", "redis.example")
	bad(TLS{CA: ca.CAFile}, "rediss://"+testcluster.NewRedis(t, false).Addr, "TLS")
	bad(TLS{}, "redis://"+s.Addr, "TLS")

	s = testcluster.NewRedisWith(t, testcluster.RedisOptions{TLS: &testcluster.RedisTLS{Authority: ca, ClientCerts: true}})
	cert, key := ca.ClientFiles()
	ready(t, start(t, Config{URL: s.URL(), TLS: TLS{CA: ca.CAFile, Cert: cert, Key: key}}))
	bad(TLS{CA: ca.CAFile}, s.URL(), "certificate required")
	cert, key = other.ClientFiles()
	bad(TLS{CA: ca.CAFile, Cert: cert, Key: key}, s.URL(), "unknown certificate authority")
}

// A server that is named by a URL in the wrong way, or is not ours to use.
func TestRefusedServers(t *testing.T) {
	t.Run("replica", func(t *testing.T) {
		s := testcluster.NewRedis(t, false)
		r := testcluster.NewRedisWith(t, testcluster.RedisOptions{ReplicaOf: s})
		s.WaitReplicas(t, r)
		notReady(t, start(t, Config{URL: r.URL()}), "replica")
		ready(t, start(t, Config{URL: s.URL()})) // which fills it
		s.WaitReplicas(t, r)
		c := start(t, Config{URL: r.URL()})
		notReady(t, c, "replica")
		if _, err := c.Publish(t.Context(), Message{Topic: "finals"}); !isUnavailable(err) || !strings.Contains(err.Error(), "replica") {
			t.Errorf("publish: got %v, want ErrUnavailable", err)
		}
		// Once it is promoted it is taken.
		r.Do(t, "REPLICAOF", "NO", "ONE")
		ready(t, c)
	})
	t.Run("password", func(t *testing.T) {
		s := testcluster.NewRedis(t, false)
		s.SetUser(t, "gate", "secret", "~*", "+@all")
		s.SetUser(t, "default", "secret", "~*", "+@all")
		notReady(t, start(t, Config{URL: "redis://gate:hunter2@" + s.Addr}), "user or password", "WRONGPASS")
		notReady(t, start(t, Config{URL: "redis://:hunter2@" + s.Addr}), "user or password", "WRONGPASS")
		notReady(t, start(t, Config{URL: "redis://" + s.Addr}), "user or password", "NOAUTH")
		ready(t, start(t, Config{URL: "redis://gate:secret@" + s.Addr}))
		ready(t, start(t, Config{URL: "redis://:secret@" + s.Addr}))
	})
	t.Run("silent", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never says a word
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		notReady(t, start(t, Config{URL: "redis://" + ln.Addr().String(), OpTimeout: 200 * time.Millisecond}), "TLS")
	})
	t.Run("socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "redis.sock")
		testcluster.NewRedisWith(t, testcluster.RedisOptions{Config: []string{"unixsocket " + path}})
		ready(t, start(t, Config{URL: "unix://" + path}))
	})
}
