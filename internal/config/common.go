package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// File names the file that the other settings may stand in.
type File struct {
	Config string `placeholder:"FILE" help:"YAML file with these settings; a flag --some-name is its key some-name, and the variable RINGSIDE_SOME_NAME."`
}

// Logging is what is logged and how.
type Logging struct {
	// Entries below this level are left out.
	LogLevel string `group:"Logging" enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: debug, info, warn or error."`
	// auto writes lines for people to a terminal and JSON to anything else.
	LogFormat string `group:"Logging" enum:"auto,text,json" default:"auto" help:"text, json, or auto: text on a terminal and JSON otherwise."`
}

// Cluster is how a node takes part in the cluster. All nodes of a cluster share its name, secret and static
// shards.
type Cluster struct {
	// Seeds. Names are resolved anew at every try, and seeds are joined again now and then, so that a split heals.
	Join []Peer `group:"Cluster" placeholder:"HOST:PORT" example:"[10.0.0.7:7946, seeds.example:7946]" help:"Gossip addresses of nodes to join, separated by commas; none for the first node."`
	// Gossip of another cluster is refused by this label.
	Cluster string `group:"Cluster" default:"ringside" help:"Name of the cluster: nodes of differently named clusters don't mix."`
	// Needed when the listen addresses are wildcards and the machine has several networks, or behind NAT.
	Advertise Host `group:"Cluster" placeholder:"HOST" example:"10.0.0.8" help:"Host by which other nodes reach this one; by default that of each address, and for 0.0.0.0 or [::] the machine's first private address."`
	// Shown in the ring. Placement does not look at it yet.
	Zone string `group:"Cluster" placeholder:"NAME" example:"zone-a" help:"Failure zone of this node."`
	// Upstreams without a leg are spliced raw. A shard that only some nodes know makes their rings differ.
	Static []Static `group:"Cluster" placeholder:"NAME=HOST:PORT" example:"[legacy=10.0.0.9:8080]" help:"Shards outside of gossip: any WebSocket server; the same on every node."`

	// Encrypts gossip and signs what a router tells a gateway about a client.
	Secret Secret `group:"Cluster" placeholder:"SECRET" example:"the-output-of-openssl-rand-hex-32" help:"Secret of the cluster, 16 bytes or more; other users of the machine can see it in the process list: --secret-file is better."`
	// For rotation: put the new secret below the old one on every node, then above it, then take the old one out, and restart the nodes
	// one after the other each time.
	SecretFile string `group:"Cluster" placeholder:"FILE" example:"ringside.secret" help:"File with a secret per line: the first one signs and encrypts gossip, any of them is accepted."`
}

// Streams is how Redis is used.
type Streams struct {
	// One server, the master that Sentinels know (redis-sentinel://host:port,host:port#master), or a Cluster
	// (redis-cluster://host:port,host:port). rediss, rediss-sentinel and rediss-cluster are the same over TLS.
	Redis RedisURL `group:"Redis" default:"redis://127.0.0.1:6379" help:"Redis: a redis://, unix://, redis-sentinel:// or redis-cluster:// URL; rediss for TLS."`
	// For the rediss schemes. Files are PEM.
	RedisTLSCA         string `name:"redis-tls-ca" group:"Redis" placeholder:"FILE" example:"redis-ca.pem" help:"Authorities that Redis is believed by; the system's when none is given."`
	RedisTLSCert       string `name:"redis-tls-cert" group:"Redis" placeholder:"FILE" example:"ringside.pem" help:"Certificate that is shown to Redis."`
	RedisTLSKey        string `name:"redis-tls-key" group:"Redis" placeholder:"FILE" example:"ringside-key.pem" help:"Its key."`
	RedisTLSServerName string `name:"redis-tls-server-name" group:"Redis" placeholder:"NAME" example:"redis.internal" help:"Name in the certificate of Redis, where it is not its host."`
	// For a single command; blocking reads have a deadline of their own.
	RedisTimeout time.Duration `group:"Redis" default:"2s" min:"50ms" max:"1m" help:"How long Redis may take to answer."`
	// The replay window. Trimming happens at publish, with the next whole node of the stream.
	Retention time.Duration `group:"Redis" default:"10m" min:"1s" max:"168h" help:"How long messages are kept for replay."`
	// Counted when it bites: it breaks the promise of the retention.
	StreamMaxLen int `group:"Redis" default:"100000" min:"100" help:"Emergency brake: messages kept of one stream."`
	// A publish that too few replicas have in time is answered as ambiguous: it was written, and may be lost with its master.
	MinReplicas int `group:"Redis" default:"0" min:"0" max:"16" help:"Replicas that must have a message before its publish is acknowledged."`
	// Beside the time that Redis may take to answer.
	WaitTimeout time.Duration `group:"Redis" default:"1s" min:"1ms" max:"1m" help:"How long replicas may take to have a message."`
	// Larger ones are refused at publish, and passed over when something else has put them into a stream.
	MaxPayload Size `group:"Redis" default:"1MiB" min:"1KiB" max:"8MiB" help:"Largest payload of a message."`
}

// Secret is a secret of the cluster. It prints as stars.
type Secret string

// minSecret is the least length of a secret in bytes: what 128 random bits need.
const minSecret = 16

// UnmarshalText takes 16 bytes or more.
func (s *Secret) UnmarshalText(text []byte) error {
	if len(text) < minSecret {
		return fmt.Errorf("a secret of %d bytes is too short: want %d or more, for example from `openssl rand -hex 32`", len(text), minSecret)
	}
	*s = Secret(text)
	return nil
}

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Secrets are the secrets of the cluster, the one that signs first; none when none is set. It reads the file
// of --secret-file.
func (c *Cluster) Secrets() ([]string, error) {
	if c.SecretFile == "" {
		if c.Secret == "" {
			return nil, nil
		}
		return []string{string(c.Secret)}, nil
	}
	text, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("secret-file: %w", err)
	}
	var secrets []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		var s Secret
		if err := s.UnmarshalText([]byte(line)); err != nil {
			return nil, fmt.Errorf("secret-file: %s: %w", c.SecretFile, err)
		}
		secrets = append(secrets, line)
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("secret-file: %s: holds no secret", c.SecretFile)
	}
	return secrets, nil
}

// maxName bounds names that travel in the 512 bytes of a node's gossip metadata.
const maxName = 64

func (c *Cluster) validate() error {
	if c.Secret != "" && c.SecretFile != "" {
		return errors.New("secret and secret-file are both set: want one of them")
	}
	if len(c.Cluster) == 0 || len(c.Cluster) > maxName {
		return fmt.Errorf("cluster: want 1 to %d bytes", maxName)
	}
	if len(c.Zone) > maxName {
		return fmt.Errorf("zone: want at most %d bytes", maxName)
	}
	seen := map[string]bool{}
	for _, s := range c.Static {
		if seen[s.Name] {
			return fmt.Errorf("static: %s is named twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// distinct refuses two ports on the same address; names and addrs belong together.
func distinct(names []string, addrs []Addr) error {
	for i, a := range addrs {
		for j, b := range addrs[:i] {
			if a == b && !strings.HasSuffix(string(a), ":0") {
				return fmt.Errorf("%s and %s are both %s: want different addresses", names[j], names[i], a)
			}
		}
	}
	return nil
}
