package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Addr is a host:port to listen on. The host may be empty for every address of the machine, the port 0 for any
// that is free.
type Addr string

// UnmarshalText takes host:port with a numeric port.
func (a *Addr) UnmarshalText(text []byte) error {
	if _, _, err := splitAddr(string(text)); err != nil {
		return fmt.Errorf("%w: want host:port to listen on, for example 127.0.0.1:8080, [::1]:8080 or :8080", err)
	}
	*a = Addr(text)
	return nil
}

// Host is the part before the port, without brackets.
func (a Addr) Host() string {
	host, _, _ := net.SplitHostPort(string(a)) // checked when it was set
	return host
}

// Loopback reports whether only this machine can reach the address. A name other than localhost counts as
// reachable from outside.
func (a Addr) Loopback() bool {
	host := a.Host()
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Wildcard reports whether the address stands for every address of the machine.
func (a Addr) Wildcard() bool {
	host := a.Host()
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// Peer is the host:port of another node. The host may be a DNS name that stands for many.
type Peer string

// UnmarshalText takes host:port with a host and a numeric port that is not 0.
func (p *Peer) UnmarshalText(text []byte) error {
	host, port, err := splitAddr(string(text))
	if err == nil && (host == "" || port == 0) {
		err = fmt.Errorf("%q lacks a host or a port", text)
	}
	if err != nil {
		return fmt.Errorf("%w: want host:port of another node, for example 10.0.0.7:7946", err)
	}
	*p = Peer(text)
	return nil
}

func splitAddr(s string) (host string, port uint64, err error) {
	host, service, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", s)
	}
	if strings.ContainsAny(host, "/ @") {
		return "", 0, fmt.Errorf("%q has no valid host", s)
	}
	if port, err = strconv.ParseUint(service, 10, 16); err != nil {
		return "", 0, fmt.Errorf("%q has no valid port (0 to 65535)", s)
	}
	return host, port, nil
}

// Host is a name or an IP address without a port.
type Host string

// UnmarshalText takes a name or an IP address.
func (h *Host) UnmarshalText(text []byte) error {
	s := string(text)
	if ip, err := netip.ParseAddr(s); err == nil {
		if ip.IsUnspecified() {
			return fmt.Errorf("%q is not an address that another node can dial: want a name or an IP address", s)
		}
	} else if s == "" || strings.ContainsAny(s, ":/[]@ ,") {
		return fmt.Errorf("%q is not a host: want a name or an IP address without a port, for example 10.0.0.7", s)
	}
	*h = Host(s)
	return nil
}

// RedisURL says where Redis is and how to log in. It can hold a password: print [RedisURL.Redacted].
type RedisURL string

const redisForm = "want redis://[user:password@]host:port[/database], unix:///path, redis-sentinel://host:port,host:port#master or " +
	"redis-cluster://host:port,host:port; rediss for TLS"

// UnmarshalText takes a URL of one of the schemes. Its errors never repeat the URL. What stands in it is the stream package's to judge.
func (r *RedisURL) UnmarshalText(text []byte) error {
	scheme, rest, ok := strings.Cut(string(text), "://")
	switch {
	case !ok:
		return fmt.Errorf("not a URL: %s", redisForm)
	case !slices.Contains([]string{"redis", "unix", "redis-sentinel", "redis-cluster"}, strings.Replace(scheme, "rediss", "redis", 1)):
		return fmt.Errorf("scheme %.20q: %s", scheme, redisForm)
	case strings.Trim(rest[strings.LastIndexByte(rest, '@')+1:], "/") == "", scheme != "unix" && strings.HasPrefix(rest[strings.LastIndexByte(rest, '@')+1:], ":"):
		return fmt.Errorf("names no server: %s", redisForm)
	}
	*r = RedisURL(text)
	return nil
}

// Redacted is the URL with its passwords replaced, for logs.
func (r RedisURL) Redacted() string {
	scheme, rest, _ := strings.Cut(string(r), "://")
	user := ""
	if at := strings.LastIndexByte(rest, '@'); at >= 0 { // whatever stands before it, a password may be part of it
		name, _, secret := strings.Cut(rest[:at], ":")
		if user = name; secret {
			user += ":xxxxx"
		}
		user, rest = user+"@", rest[at+1:]
	}
	if server, _, query := strings.Cut(rest, "?"); query {
		rest = server + "?…"
	}
	return scheme + "://" + user + rest
}

// Static is a shard that configuration names instead of gossip: any server of the client's protocol.
type Static struct {
	Name string // the shard's ID
	Addr Peer   // where it takes connections
}

// UnmarshalText takes name=host:port.
func (s *Static) UnmarshalText(text []byte) error {
	name, addr, ok := strings.Cut(string(text), "=")
	if !ok {
		return fmt.Errorf("%q: want name=host:port, for example legacy=10.0.0.9:8080", text)
	}
	if err := checkID(name); err != nil {
		return err
	}
	s.Name = name
	return s.Addr.UnmarshalText([]byte(addr))
}

// ID names a member of the cluster.
type ID string

// maxID is how long a member's ID may be: it travels in the 512 bytes of a node's gossip metadata.
const maxID = 64

// UnmarshalText takes 1 to 64 letters, digits, dots, dashes and underscores.
func (id *ID) UnmarshalText(text []byte) error {
	*id = ID(text)
	return checkID(string(text))
}

func checkID(s string) error {
	ok := s != "" && len(s) <= maxID
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		ok = ok && (letter || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_')
	}
	if !ok {
		return fmt.Errorf("%q is not an ID: want 1 to %d letters, digits, dots, dashes and underscores, for example g1", s, maxID)
	}
	return nil
}
