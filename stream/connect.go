package stream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// topology is how the servers are arranged that a URL names.
type topology uint8

const (
	single   topology = iota // one server
	sentinel                 // one master, which Sentinels know
	cluster                  // a Redis Cluster
)

// TLS is how the servers are believed and how we are, for the rediss schemes. Files are PEM.
type TLS struct {
	CA         string // file with the authorities to believe; the system's when empty
	Cert, Key  string // files of the client's certificate; none when empty
	ServerName string // in the servers' certificates; each server's host when empty
}

// errURL does not repeat the URL, which may hold a password.
var errURL = errors.New("the Redis URL is not understood: want redis://[user:password@]host:port[/db], unix:///path, " +
	"redis-sentinel://host:port,host:port[/db]#master or redis-cluster://host:port,host:port; rediss for TLS")

// options reads a URL. The forms with several hosts are those of Lettuce and others:
//
//	redis://[user:password@]host:port[/db]
//	unix://[user:password@]/path[?db=1]
//	redis-sentinel://[user:password@]host:port,host:port[/db][?sentinel_user=…&sentinel_password=…]#master
//	redis-cluster://[user:password@]host:port,host:port
//
// rediss, rediss-sentinel and rediss-cluster are the same over TLS.
func options(cfg *Config) (opt rueidis.ClientOption, top topology, err error) {
	scheme, rest, ok := strings.Cut(cfg.URL, "://")
	if !ok {
		return opt, top, errURL
	}
	secure := strings.HasPrefix(scheme, "rediss")
	switch strings.Replace(scheme, "rediss", "redis", 1) {
	case "redis", "unix":
		opt, err = rueidis.ParseURL(cfg.URL)
		if err != nil || opt.Sentinel.MasterSet != "" || len(opt.InitAddress) != 1 {
			return opt, top, errURL
		}
		opt.ForceSingleClient = true
	case "redis-sentinel":
		top = sentinel
	case "redis-cluster":
		top = cluster
	default:
		return opt, top, errURL
	}
	if top != single {
		if err := several(&opt, top, rest); err != nil {
			return opt, top, err
		}
	}
	if secure {
		if opt.TLSConfig, err = cfg.TLS.config(opt.TLSConfig); err != nil {
			return opt, top, err
		}
		opt.Sentinel.TLSConfig = opt.TLSConfig
	} else if cfg.TLS != (TLS{}) {
		return opt, top, errors.New("files for TLS are set, and the Redis URL does not begin with rediss")
	}
	return opt, top, nil
}

// several reads what stands behind :// of a URL with several hosts.
func several(opt *rueidis.ClientOption, top topology, rest string) error {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	hosts := strings.Split(rest[at:end], ",")
	u, err := url.Parse("redis://" + rest[:at] + "several" + rest[end:]) // a list of hosts is no URL's authority
	if err != nil {
		return errURL
	}
	port := "6379"
	if top == sentinel {
		port = "26379"
	}
	for _, h := range hosts {
		addr, ok := hostPort(h, port)
		if !ok {
			return errURL
		}
		opt.InitAddress = append(opt.InitAddress, addr)
	}
	opt.Username = u.User.Username()
	opt.Password, _ = u.User.Password()
	db := strings.TrimPrefix(u.Path, "/")
	if db != "" {
		if opt.SelectDB, err = strconv.Atoi(db); err != nil || opt.SelectDB < 0 || top == cluster && opt.SelectDB != 0 {
			return errURL
		}
	}
	opt.Sentinel.MasterSet = u.Fragment
	opt.Sentinel.Username, opt.Sentinel.Password = u.Query().Get("sentinel_user"), u.Query().Get("sentinel_password")
	if (top == sentinel) != (u.Fragment != "") {
		return errURL
	}
	return nil
}

// hostPort is a host as a URL names it, with the port or the usual one.
func hostPort(s, usual string) (addr string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, usual
		if v6, ok := strings.CutPrefix(s, "["); ok {
			host, ok = strings.CutSuffix(v6, "]")
			if !ok {
				return "", false
			}
		} else if strings.Contains(s, ":") {
			return "", false
		}
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return net.JoinHostPort(host, port), host != "" && err == nil
}

// config is c with what t says. Without a server name each server has to prove its own host.
func (t *TLS) config(c *tls.Config) (*tls.Config, error) {
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("the authorities of Redis: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the authorities of Redis: %s holds no certificate", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("a client's certificate for Redis needs a key, and the other way round")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("the certificate for Redis: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
