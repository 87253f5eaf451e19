package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// store is the Redis of a run. When Redis is to fail it writes everything to its disk before it answers, and for failovers
// there are a second server, which copies the first, and a sentinel, which tells the nodes who the master is. The sentinel
// takes nobody for dead by itself: it acts when it is told to, so that the schedule says when.
type store struct {
	stage    *stage
	dir      string
	durable  bool
	servers  []*server
	sentinel *server // nil without failovers

	fault  sync.Mutex             // held by the fault that works on it
	master atomic.Pointer[server] // who it is at present
	shots  []*shot                // owned by faults: what stood there before something was lost
	quiet  []outage               // owned by faults
}

// server is a redis-server at its address.
type server struct {
	name, addr, dir string
	*process
}

// masterName is what the sentinel calls what it watches.
const masterName = "chaos"

// startStore starts what the faults of a run need.
func startStore(ctx context.Context, s *stage, dir string, faults []string) (*store, error) {
	r := &store{stage: s, dir: dir, durable: slices.ContainsFunc(faults, ofRedis)}
	names := []string{"redis-a"}
	failovers := slices.Contains(faults, faultFailover)
	if failovers {
		names = append(names, "redis-b", "sentinel")
	}
	for i, name := range names {
		one := &server{name: name, addr: fmt.Sprintf("%s:%d", redisIP, 6379+i), dir: filepath.Join(dir, name)}
		if err := os.Mkdir(one.dir, 0o700); err != nil {
			return nil, err
		}
		if s.why != "" {
			var err error
			if one.addr, err = testcluster.FreeAddr(); err != nil {
				return nil, err
			}
		}
		r.servers = append(r.servers, one)
	}
	r.master.Store(r.servers[0])
	if failovers {
		r.servers, r.sentinel = r.servers[:2], r.servers[2]
	}
	if err := r.launch(ctx); err != nil {
		r.Kill()
		return nil, err
	}
	return r, nil
}

// launch starts all.
func (r *store) launch(ctx context.Context) error {
	for i, one := range r.servers {
		var of *server
		if i > 0 {
			of = r.servers[0]
		}
		if err := r.start(ctx, one, of); err != nil {
			return err
		}
	}
	if r.sentinel == nil {
		return nil
	}
	if err := r.startSentinel(ctx); err != nil {
		return err
	}
	return r.waitReplica(ctx)
}

// start starts a server, as a copy of another or by itself, and waits until it has read its files.
func (r *store) start(ctx context.Context, one, of *server) error {
	host, port, err := net.SplitHostPort(one.addr)
	if err != nil {
		return err
	}
	args := []string{"--bind", host, "--port", port, "--protected-mode", "no", "--dir", one.dir, "--save", "", "--repl-diskless-sync-delay", "0"}
	if r.durable { // nothing that was answered is lost by a kill; everysec can delay a write for two seconds
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	if of != nil {
		host, port, _ := net.SplitHostPort(of.addr)
		args = append(args, "--replicaof", host, port)
	}
	return one.launch(ctx, r.log(one), args...)
}

func (r *store) log(one *server) string { return filepath.Join(r.dir, one.name+".log") }

func (s *server) launch(ctx context.Context, log string, args ...string) error {
	var err error
	if s.process, err = startProcess(s.name, log, "redis-server", args...); err != nil {
		return fmt.Errorf("%w (apt-get install redis-server)", err)
	}
	err = testcluster.Poll(ctx, func() error {
		if s.Exited() {
			return nil
		}
		_, err := s.ask("PING")
		return err
	})
	if err == nil && s.Exited() {
		err = errors.New("it ended")
	}
	if err != nil {
		return fmt.Errorf("cannot start %s: %w\n%s", s.name, err, s.LogTail(10))
	}
	return nil
}

// startSentinel starts the sentinel and has it look around often.
func (r *store) startSentinel(ctx context.Context) error {
	one := r.sentinel
	host, port, err := net.SplitHostPort(one.addr)
	if err != nil {
		return err
	}
	mhost, mport, err := net.SplitHostPort(r.servers[0].addr)
	if err != nil {
		return err
	}
	file := filepath.Join(one.dir, "sentinel.conf")
	lines := []string{
		"bind " + host, "port " + port, "protected-mode no", "dir " + one.dir,
		fmt.Sprintf("sentinel monitor %s %s %s 1", masterName, mhost, mport),
		"sentinel down-after-milliseconds " + masterName + " 86400000",
		"sentinel failover-timeout " + masterName + " 3000",
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if err := one.launch(ctx, r.log(one), file, "--sentinel"); err != nil {
		return err
	}
	_, err = one.ask("SENTINEL", "DEBUG", "info-period", "200", "publish-period", "250", "ask-period", "250", "tilt-period", "1000")
	return err
}

// ask runs one command on a connection of its own.
func (s *server) ask(args ...string) (any, error) {
	c, err := testcluster.DialRedis(s.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(args...)
}

// info is what INFO tells of replication.
func (s *server) info() (map[string]string, error) {
	v, err := s.ask("INFO", "replication")
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for line := range strings.Lines(fmt.Sprint(v)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = value
		}
	}
	return m, nil
}

// URL is what the nodes are given.
func (r *store) URL() string {
	if r.sentinel != nil {
		return "redis-sentinel://" + r.sentinel.addr + "#" + masterName
	}
	return "redis://" + r.servers[0].addr
}

// dial connects to the master.
func (r *store) dial() (*testcluster.Redis, error) {
	return testcluster.DialRedis(r.master.Load().addr)
}

// other is the server that is not the master.
func (r *store) other() *server {
	i := slices.Index(r.servers, r.master.Load())
	return r.servers[1-i]
}

// Kill ends all.
func (r *store) Kill() {
	for _, one := range append(slices.Clone(r.servers), r.sentinel) {
		if one != nil && one.process != nil {
			one.process.Kill()
		}
	}
}

// writer is a publisher's connection to the master, made anew when that was lost or is another one. It is for one goroutine.
type writer struct {
	r    *store
	to   *server
	conn *testcluster.Redis
}

// write runs a command that writes. It says what the writer knows of it, and the answer.
func (w *writer) write(args ...string) (outcome, any) {
	if w.conn != nil && w.to != w.r.master.Load() {
		w.Close()
	}
	if w.conn == nil {
		w.to = w.r.master.Load()
		conn, err := testcluster.DialRedis(w.to.addr)
		if err != nil {
			return outcomeFailed, nil // nothing was sent
		}
		w.conn = conn
	}
	v, err := w.conn.Do(args...)
	var no testcluster.RedisError
	switch {
	case err == nil:
		return outcomeOK, v
	case errors.As(err, &no): // it reads its files, or is no master any more
		return outcomeFailed, nil
	}
	w.Close()
	return outcomeAmbiguous, nil
}

// Close ends the connection.
func (w *writer) Close() {
	if w.conn != nil {
		w.conn.Close()
	}
	w.conn = nil
}

// add publishes as any Redis client would.
func (p *press) add(w *writer, name, topic string, body []byte) publication {
	pub := p.begin(name, topic, body)
	var v any
	if pub.Outcome, v = w.write("XADD", testcluster.StreamKey(topic), "*", "topic", topic, "payload", string(body), "id", name); pub.Outcome == outcomeOK {
		text, _ := v.(string)
		var err error
		if pub.ID, err = position.ParseID(text); err != nil {
			pub.Outcome = outcomeAmbiguous
		}
	}
	p.note(pub)
	return pub
}

// silent notes an outage that began then and is over now.
func (r *run) silent(since time.Duration, s step) {
	r.cluster.redis.quiet = append(r.cluster.redis.quiet, outage{since, r.crowd.now(), strings.TrimSpace(s.String())})
}
