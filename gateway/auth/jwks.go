package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// jwks is a set of keys behind a URL. The last set that could be read is good until there is another one, however long that
// takes. A token that names an unknown key makes it look again, but not more often than MinRefresh: who invents names
// costs the server behind the URL nothing. Safe for concurrent use.
type jwks struct {
	cfg    JWTConfig
	family family
	log    *zap.Logger
	client *http.Client
	keys   atomic.Pointer[keySet] // nil: none could be read yet
	read   atomic.Int64           // when they were, in ms since 1970
	kick   chan struct{}

	ok, failed atomic.Uint64

	mu   sync.Mutex
	last time.Time     // guarded by mu: when the last reading began
	next chan struct{} // guarded by mu: closed when the reading that is under way, or asked for, is over; nil when none is
}

func newJWKS(cfg JWTConfig, f family, log *zap.Logger) (*jwks, error) {
	if err := checkURL("jwt-jwks-url", cfg.JWKSURL, cfg.AllowHTTP); err != nil {
		return nil, err
	}
	return &jwks{
		cfg: cfg, family: f, log: log, kick: make(chan struct{}, 1),
		client: &http.Client{
			Timeout:       cfg.Timeout,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// checkURL takes https, and http to this machine, or to any when that is allowed.
func checkURL(setting, raw string, allowHTTP bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("%s: want a URL like https://login.example/keys", setting)
	case u.Scheme == "https", u.Scheme == "http" && (allowHTTP || loopback(u.Hostname())):
		return nil
	}
	return fmt.Errorf("%s: want https: what comes over %.10s can be anybody's", setting, u.Scheme)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// find implements keySource.
func (j *jwks) find(ctx context.Context, kid string) (any, error) {
	set := j.keys.Load()
	if set != nil {
		if key, err := set.find(ctx, kid); err == nil {
			return key, nil
		}
	}
	if wait := j.again(); wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
		}
		set = j.keys.Load()
	}
	if set == nil {
		return nil, unavailable(KeysMissing, "the keys for tokens could not be read yet")
	}
	return set.find(ctx, kid)
}

// again asks for another reading. It returns what is closed when that is over, nil when it would come too soon.
func (j *jwks) again() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next != nil {
		return j.next
	}
	if time.Since(j.last) < j.cfg.MinRefresh {
		return nil
	}
	j.next = make(chan struct{})
	select {
	case j.kick <- struct{}{}:
	default:
	}
	return j.next
}

// run reads the set until ctx ends.
func (j *jwks) run(ctx context.Context) {
	defer j.client.CloseIdleConnections()
	for {
		j.refresh(ctx)
		wait := j.cfg.Refresh
		if j.keys.Load() == nil || j.stale() {
			wait = min(wait, max(j.cfg.MinRefresh, time.Second))
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			j.over()
			return
		case <-j.kick:
			t.Stop()
		case <-t.C:
		}
	}
}

// stale reports whether the last reading failed.
func (j *jwks) stale() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.read.Load() < j.last.UnixMilli()
}

func (j *jwks) refresh(ctx context.Context) {
	j.mu.Lock()
	j.last = time.Now()
	if j.next == nil {
		j.next = make(chan struct{})
	}
	j.mu.Unlock()
	defer j.over()
	set, err := j.get(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		j.failed.Add(1)
		j.log.Warn("cannot read the keys for tokens; the ones that are known stay good", zap.Bool("known", j.keys.Load() != nil), zap.Error(err))
	default:
		j.ok.Add(1)
		j.keys.Store(set)
		j.read.Store(time.Now().UnixMilli())
	}
}

// over lets go of those who wait for a reading.
func (j *jwks) over() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next != nil {
		close(j.next)
		j.next = nil
	}
}

func (j *jwks) get(ctx context.Context) (*keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.cfg.JWKSURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := j.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxSet+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxSet:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxSet)
	}
	return parseSet(b, j.family)
}

// withoutURL is what an error of an HTTP client wraps: a URL can hold a secret.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var oe *net.OpError
	if errors.As(err, &oe) {
		return oe
	}
	return err
}

func unmarshalStrictly(b []byte, v any) error {
	if !json.Valid(b) {
		return errors.New("it is not JSON")
	}
	return json.Unmarshal(b, v)
}

// readSet reads a JWKS file.
func readSet(file string, f family) (*keySet, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("jwt-jwks-file: %w", err)
	}
	s, err := parseSet(b, f)
	if err != nil {
		return nil, fmt.Errorf("jwt-jwks-file: %s: %w", file, err)
	}
	return s, nil
}
