// Package tlscert has the certificates that a process shows, and the authorities that it believes. Those in files are read anew when
// the files change; those of an ACME server are fetched and renewed.
//
// It listens nowhere and makes no handshakes: its [tls.Config]s are for who does.
package tlscert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/certs"
)

// Pair names the files of a certificate with its chain, and of its key; PEM.
type Pair struct{ Cert, Key string }

// Config says where certificates come from.
type Config struct {
	Use   string // a word for the log and the metrics: "public", "leg"
	Pairs []Pair
	CA    string // file of the authorities that peers are believed by; empty for none
	Log   *zap.Logger
}

// pollEvery is how often the files are looked at. Looking works on every file system and with every way of replacing a file,
// that of Kubernetes included, which changes a link two folders away.
const pollEvery = 2 * time.Second

// Files are certificates in files. Its methods are safe for concurrent use.
type Files struct {
	cfg Config

	now   atomic.Pointer[set]
	seen  []stamp // of the files, in order, when they were last read; owned by Run
	loads [2]atomic.Uint64
}

// set is what the files held when they were last good.
type set struct {
	certs []*tls.Certificate
	pool  *x509.CertPool
	until time.Time // when the first of the certificates expires
}

// stamp tells one state of a file from another.
type stamp struct {
	info fs.FileInfo
	err  error
}

func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == nil && o.info == nil
	}
	return os.SameFile(s.info, o.info) && s.info.ModTime().Equal(o.info.ModTime()) && s.info.Size() == o.info.Size()
}

// Open reads the files. One that is not good is an error now, and later none: the last good ones stay.
func Open(cfg Config) (*Files, error) {
	f := &Files{cfg: cfg}
	f.seen = f.stamps()
	s, err := f.read()
	if err != nil {
		return nil, err
	}
	if until := s.until; !until.IsZero() && time.Now().After(until) { // better than nothing, for who looks the other way
		cfg.Log.Error("a certificate has expired", zap.String("use", cfg.Use), zap.Time("at", until))
	}
	f.now.Store(s)
	return f, nil
}

func (f *Files) names() (names []string) {
	for _, p := range f.cfg.Pairs {
		names = append(names, p.Cert, p.Key)
	}
	if f.cfg.CA != "" {
		names = append(names, f.cfg.CA)
	}
	return names
}

func (f *Files) stamps() (list []stamp) {
	for _, name := range f.names() {
		info, err := os.Stat(name) // of what a link leads to
		list = append(list, stamp{info, err})
	}
	return list
}

func (f *Files) read() (*set, error) {
	s := &set{}
	for _, p := range f.cfg.Pairs {
		c, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", p.Cert, p.Key, err)
		}
		if c.Leaf == nil {
			return nil, fmt.Errorf("certificate %s: it is not understood", p.Cert)
		}
		s.certs = append(s.certs, &c)
		if until := c.Leaf.NotAfter; s.until.IsZero() || until.Before(s.until) {
			s.until = until
		}
	}
	if f.cfg.CA != "" {
		var err error
		if s.pool, err = certs.Authorities(f.cfg.CA); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run reads the files anew when they change, until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.look()
		}
	}
}

// look reads the files when they have changed. What is not good is told once for each state of the files.
func (f *Files) look() {
	now, changed := f.stamps(), false
	for i, s := range now {
		changed = changed || !s.same(f.seen[i])
	}
	if !changed {
		return
	}
	f.seen = now
	s, err := f.read()
	if err == nil && !s.until.IsZero() && time.Now().After(s.until) && time.Now().Before(f.now.Load().until) {
		err = errors.New("the new certificate has expired, and the old one has not")
	}
	if err != nil {
		f.loads[1].Add(1)
		f.cfg.Log.Error("the new certificates are not good: the old ones stay", zap.String("use", f.cfg.Use), zap.Error(err))
		return
	}
	f.loads[0].Add(1)
	f.now.Store(s)
	f.cfg.Log.Info("read certificates anew", zap.String("use", f.cfg.Use), zap.Time("until", s.until))
}

// For is the first certificate that fits what the client asks for; nil when none does.
func (f *Files) For(hello *tls.ClientHelloInfo) *tls.Certificate {
	for _, c := range f.now.Load().certs {
		if hello.SupportsCertificate(c) == nil {
			return c
		}
	}
	return nil
}

// first is the one for clients that name no server, or one that nobody knows.
func (f *Files) first() *tls.Certificate {
	if list := f.now.Load().certs; len(list) > 0 {
		return list[0]
	}
	return nil
}

//nolint:gochecknoglobals // descriptors are constants in all but name
var (
	descExpiry = prometheus.NewDesc("ringside_tlscert_expiry_timestamp_seconds", "When the first of the certificates in use expires, by what they are for; 0 without any.", []string{"use"}, nil)
	descLoads  = prometheus.NewDesc("ringside_tlscert_reloads_total", "Times that changed certificate files were read, by what they are for; failed: the old ones stay.", []string{"use", "outcome"}, nil)
	descACME   = prometheus.NewDesc("ringside_tlscert_acme_total", "Certificates asked of the ACME server, by outcome.", []string{"outcome"}, nil)
	descNone   = prometheus.NewDesc("ringside_tlscert_acme_missing", "Host names without a certificate of the ACME server.", nil, nil)
)

// Uses are what certificates are for.
var Uses = []string{"public", "leg"} //nolint:gochecknoglobals // a constant

// Metrics are those of all certificates of a process. A nil part has no certificates.
type Metrics struct {
	Files map[string]*Files // by use
	ACME  *ACME
}

// Describe implements prometheus.Collector.
func (m Metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, use := range Uses {
		var until time.Time
		var loads [2]uint64
		if f := m.Files[use]; f != nil {
			until = f.now.Load().until
			loads = [2]uint64{f.loads[0].Load(), f.loads[1].Load()}
		}
		if use == "public" {
			until = earliest(until, m.ACME.until())
		}
		expiry := 0.0
		if !until.IsZero() {
			expiry = float64(until.Unix())
		}
		ch <- prometheus.MustNewConstMetric(descExpiry, prometheus.GaugeValue, expiry, use)
		for i, outcome := range []string{"ok", "failed"} {
			ch <- prometheus.MustNewConstMetric(descLoads, prometheus.CounterValue, float64(loads[i]), use, outcome)
		}
	}
	ok, failed, missing := m.ACME.counts()
	ch <- prometheus.MustNewConstMetric(descACME, prometheus.CounterValue, float64(ok), "ok")
	ch <- prometheus.MustNewConstMetric(descACME, prometheus.CounterValue, float64(failed), "failed")
	ch <- prometheus.MustNewConstMetric(descNone, prometheus.GaugeValue, float64(missing))
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
