package testcluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// RedisOptions say how a server is set up. The zero value is a master that keeps everything in memory only.
type RedisOptions struct {
	// Dir is where its files stand, such as [SmallDisk.Dir]; empty: [NewRedisWith] makes a directory and removes it.
	Dir string
	// Fsync is appendfsync, "always" or "everysec", of a server with an append-only file; empty: it has none. With always
	// SIGKILL loses nothing that was answered. With everysec it can lose the last two seconds: while a sync is under way,
	// as on a busy disk, Redis answers and writes the file later (flushAppendOnlyFile). To lose a tail on purpose:
	// [RedisServer.Snapshot] and [RedisServer.Restore].
	Fsync string
	// Save is when a snapshot is written, as "60 1": after 60 seconds with a change. With it [RedisServer.Stop] writes one
	// too, and a snapshot that failed makes writes fail. Empty: never.
	Save string
	// MaxMemory is maxmemory, as "8mb"; above it writes are refused, and nothing is evicted. Empty: no limit.
	MaxMemory string
	// TLS makes the server speak TLS and nothing else.
	TLS *RedisTLS
	// ReplicaOf is the master that the server copies; nil: it is one itself.
	ReplicaOf *RedisServer
	// Config is further lines of redis.conf.
	Config []string

	cluster bool         // a node of a cluster
	monitor *RedisServer // a sentinel that watches this master
}

// RedisTLS is how a server speaks TLS.
type RedisTLS struct {
	Authority *Authority
	// ClientCerts makes the server refuse clients without a certificate of the authority.
	ClientCerts bool
}

// withAOF is a server as [StartRedis] starts it.
func withAOF(aof bool) RedisOptions {
	if aof {
		return RedisOptions{Fsync: "always"}
	}
	return RedisOptions{}
}

// configFile is in the server's own hands from its start on: CONFIG REWRITE, a failover or a sentinel change it.
func (s *RedisServer) configFile() string { return filepath.Join(s.Dir, "redis.conf") }

// configure writes the configuration file that the server starts with.
func (s *RedisServer) configure() error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	lines := []string{"bind 127.0.0.1", "dir " + strconv.Quote(s.Dir)}
	if s.options.monitor != nil {
		lines = append(lines, "port "+port)
		lines = append(lines, watch(s.options.monitor)...)
	} else {
		lines = append(lines, s.options.lines(port, s.Bus)...)
	}
	text := strings.Join(append(lines, s.options.Config...), "\n") + "\n"
	if err := os.WriteFile(s.configFile(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot configure redis-server: %w", err)
	}
	return nil
}

// lines are those of a server that is no sentinel.
func (o RedisOptions) lines(port, bus string) []string {
	save := o.Save
	if save == "" {
		save = `""`
	}
	// A replica is served at once: Redis waits five seconds for others that may come.
	lines := []string{"save " + save, "repl-diskless-sync-delay 0"}
	if o.Fsync != "" {
		lines = append(lines, "appendonly yes", "appendfsync "+o.Fsync)
	}
	if o.MaxMemory != "" {
		lines = append(lines, "maxmemory "+o.MaxMemory, "maxmemory-policy noeviction")
	}
	if o.TLS == nil {
		lines = append(lines, "port "+port)
	} else {
		lines = append(lines, o.TLS.lines(port)...)
	}
	if o.ReplicaOf != nil {
		host, port, _ := net.SplitHostPort(o.ReplicaOf.Addr)
		lines = append(lines, "replicaof "+host+" "+port)
	}
	if o.cluster {
		_, port, _ := net.SplitHostPort(bus)
		lines = append(lines, "cluster-enabled yes", "cluster-port "+port)
	}
	return lines
}

func (o *RedisTLS) lines(port string) []string {
	clients := "no"
	if o.ClientCerts {
		clients = "yes"
	}
	cert, key := o.Authority.serverFiles()
	return []string{
		"port 0", "tls-port " + port, "tls-replication yes", "tls-auth-clients " + clients,
		"tls-cert-file " + strconv.Quote(cert), "tls-key-file " + strconv.Quote(key),
		"tls-ca-cert-file " + strconv.Quote(o.Authority.CAFile),
	}
}
