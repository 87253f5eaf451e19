package tlscert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/ringside-edge/ringside/internal/certs"
)

// ACMEConfig says which certificates are fetched from where.
type ACMEConfig struct {
	Hosts     []string // whose certificates; no others are ever asked for
	Email     string   // of the account; may be empty
	Cache     string   // folder for account, keys and certificates; shared by all routers that clients may reach
	Directory string   // URL of the server's directory
	CA        string   // file of the authorities that the server is believed by; empty for the system's
	Log       *zap.Logger
}

// ACME has the certificates of an ACME server (RFC 8555), which it proves its names to by TLS-ALPN-01 (RFC 8737) on the public
// port. Clients never wait for it: they get what is there. Its methods are safe for concurrent use; those that say nothing else
// may be called on nil.
type ACME struct {
	cfg     ACMEConfig
	manager *autocert.Manager
	ended   context.Context //nolint:containedctx // the library gives its requests one of its own
	stop    context.CancelFunc

	mu         sync.RWMutex
	by         map[string]*tls.Certificate // by host; guarded by mu
	ok, failed atomic.Uint64
}

// ErrForeignName says that somebody asks for a name that is not among the hosts.
var ErrForeignName = errors.New("that name is not ours")

const (
	// renewEvery is how often certificates that are there are looked after. The library renews them by itself.
	renewEvery = time.Minute
	// retryLeast and retryMost are the time between two tries of one that is not there. The library gives no second try within a
	// minute, and servers bound how often one may ask.
	retryLeast, retryMost = 65 * time.Second, 20 * time.Minute
)

// NewACME makes it; nothing is asked for before Run.
func NewACME(cfg ACMEConfig) (*ACME, error) {
	if len(cfg.Hosts) == 0 || cfg.Cache == "" {
		return nil, errors.New("BUG: tlscert: ACME without hosts or cache")
	}
	a := &ACME{cfg: cfg, by: make(map[string]*tls.Certificate)}
	a.ended, a.stop = context.WithCancel(context.Background())
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second}
	if cfg.CA != "" {
		pool, err := certs.Authorities(cfg.CA)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: stoppable{a.ended, transport}}
	for i, h := range cfg.Hosts {
		cfg.Hosts[i] = strings.ToLower(h)
	}
	a.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(cfg.Cache), HostPolicy: autocert.HostWhitelist(cfg.Hosts...), Email: cfg.Email,
		Client: &acme.Client{DirectoryURL: cfg.Directory, HTTPClient: client, UserAgent: "ringside"},
	}
	return a, nil
}

// stoppable ends its requests with ctx.
type stoppable struct {
	ctx context.Context //nolint:containedctx // of all requests
	t   *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (s stoppable) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(s.ctx, cancel)
	resp, err := s.t.RoundTrip(req.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	resp.Body = &stoppableBody{resp.Body, func() { stop(); cancel() }}
	return resp, nil
}

// stoppableBody frees its request's context when it is closed.
type stoppableBody struct {
	io.ReadCloser
	free func()
}

// Close implements io.Closer.
func (b *stoppableBody) Close() error {
	defer b.free()
	return b.ReadCloser.Close()
}

// Run fetches certificates and keeps them fresh until ctx ends. It must not be called on nil.
func (a *ACME) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, host := range a.cfg.Hosts {
		wg.Go(func() { a.keep(ctx, host) })
	}
	<-ctx.Done()
	a.stop()
	wg.Wait()
	return nil
}

// keep looks after one host's certificate.
func (a *ACME) keep(ctx context.Context, host string) {
	for pause := retryLeast; ; {
		wait := renewEvery
		if err := a.fetch(host); err != nil {
			a.failed.Add(1)
			a.cfg.Log.Error("no certificate from the ACME server: trying on", zap.String("host", host), zap.Duration("after", pause), zap.Error(err))
			wait, pause = pause, min(2*pause, retryMost)
		} else {
			pause = retryLeast
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// fetch asks the library, which has the certificate, finds it in the cache, or asks the server.
func (a *ACME) fetch(host string) error {
	c, err := a.manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName: host, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedVersions: []uint16{tls.VersionTLS13},
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	before := a.by[host]
	a.by[host] = c
	a.mu.Unlock()
	if before == nil || before.Leaf != nil && c.Leaf != nil && !before.Leaf.Equal(c.Leaf) {
		a.ok.Add(1)
		a.cfg.Log.Info("has a certificate from the ACME server", zap.String("host", host), zap.Time("until", c.Leaf.NotAfter))
	}
	return nil
}

// isChallenge reports whether it is the server who looks whether a name is ours.
func (a *ACME) isChallenge(hello *tls.ClientHelloInfo) bool {
	return slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto})
}

// challenge answers it, when there is one for the name: otherwise the library refuses at once.
func (a *ACME) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !slices.Contains(a.cfg.Hosts, strings.ToLower(hello.ServerName)) { // the cache is not for everybody to look into
		return nil, fmt.Errorf("ACME: %w", ErrForeignName)
	}
	c, err := a.manager.GetCertificate(hello)
	if err != nil {
		return nil, fmt.Errorf("ACME: %w", err)
	}
	return c, nil
}

func (a *ACME) lookUp(name string) *tls.Certificate {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.by[strings.ToLower(strings.TrimSuffix(name, "."))]
}

// until is when the first certificate expires.
func (a *ACME) until() (t time.Time) {
	if a == nil {
		return t
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, c := range a.by {
		if c.Leaf != nil {
			t = earliest(t, c.Leaf.NotAfter)
		}
	}
	return t
}

func (a *ACME) counts() (ok, failed uint64, missing int) {
	if a == nil {
		return 0, 0, 0
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.ok.Load(), a.failed.Load(), len(a.cfg.Hosts) - len(a.by)
}
