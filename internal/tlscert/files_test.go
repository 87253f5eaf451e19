package tlscert

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// pair makes files with a certificate for names, which are not checked by anybody here.
func pair(t *testing.T, name string) Pair {
	t.Helper()
	cert, key := testcluster.NewAuthority(t).Issue(t, name, net.IPv4(127, 0, 0, 1))
	return Pair{cert, key}
}

func open(t *testing.T, cfg Config) (*Files, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	cfg.Use, cfg.Log = "public", zap.New(core)
	f, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f, logs
}

// shown is the common name of the first certificate.
func (f *Files) shown() string { return f.first().Leaf.Subject.CommonName }

func put(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to+".new", b, 0o600)
	}
	if err = errors.Join(err, os.Rename(to+".new", to)); err != nil {
		t.Fatal(err)
	}
}

// metric is the value of a metric with a label.
func metric(t *testing.T, m Metrics, name, label string) float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "ringside_tlscert_"+name && l.GetValue() == label {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	t.Fatalf("no %s with %s", name, label)
	return 0
}

// TestReload replaces files in the ways that people and programs do.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	one, two := pair(t, "one"), pair(t, "two")
	p := Pair{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	put(t, p.Cert, one.Cert)
	put(t, p.Key, one.Key)
	f, logs := open(t, Config{Pairs: []Pair{p}})
	want := func(what, name string, good, bad float64) {
		t.Helper()
		f.look()
		f.look() // nothing is told or counted twice
		if got := f.shown(); got != name {
			t.Errorf("%s: shows %q, want %q", what, got, name)
		}
		if g, b := f.loads[0].Load(), f.loads[1].Load(); float64(g) != good || float64(b) != bad {
			t.Errorf("%s: %d good and %d bad reloads, want %v and %v", what, g, b, good, bad)
		}
		if n := logs.FilterMessage("the new certificates are not good: the old ones stay").Len(); float64(n) != bad {
			t.Errorf("%s: told %d times, want %v", what, n, bad)
		}
	}
	want("nothing", "one", 0, 0)
	put(t, p.Cert, two.Cert)
	want("the certificate first, which is not the key's", "one", 0, 1)
	put(t, p.Key, two.Key)
	want("and then the key", "two", 1, 1)
	if err := os.WriteFile(p.Cert, []byte("half of a cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("broken", "two", 1, 2)
	if err := os.Remove(p.Key); err != nil {
		t.Fatal(err)
	}
	want("gone", "two", 1, 3)
	put(t, p.Cert, one.Cert)
	put(t, p.Key, one.Key)
	want("good again", "one", 2, 3)
}

// TestReloadOfLinks swaps the folder that the files' links lead to, as Kubernetes does.
func TestReloadOfLinks(t *testing.T) {
	dir := t.TempDir()
	for name, p := range map[string]Pair{"..v1": pair(t, "one"), "..v2": pair(t, "two")} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name, "tls.crt"), p.Cert)
		put(t, filepath.Join(dir, name, "tls.key"), p.Key)
	}
	data := filepath.Join(dir, "..data")
	link := func(to, at string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, at+".new"), os.Rename(at+".new", at)); err != nil {
			t.Fatal(err)
		}
	}
	link("..v1", data)
	p := Pair{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	link(filepath.Join("..data", "tls.crt"), p.Cert)
	link(filepath.Join("..data", "tls.key"), p.Key)
	f, _ := open(t, Config{Pairs: []Pair{p}})
	if got := f.shown(); got != "one" {
		t.Fatalf("shows %q", got)
	}
	link("..v2", data)
	f.look()
	if got := f.shown(); got != "two" {
		t.Errorf("after the swap it shows %q, want two", got)
	}
}

// TestChoice looks which certificate a client gets.
func TestChoice(t *testing.T) {
	a, b := pair(t, "a"), pair(t, "b")
	f, _ := open(t, Config{Pairs: []Pair{a, b}})
	cfg := Public(f, nil, errors.New("none"))
	c, err := cfg.GetCertificate(&tls.ClientHelloInfo{ServerName: "unknown.example", SupportedVersions: []uint16{tls.VersionTLS13}})
	if err != nil || c.Leaf.Subject.CommonName != "a" {
		t.Errorf("an unknown name: got %v, %v, want the first", c, err)
	}
	if got := cfg.NextProtos; len(got) != 1 || got[0] != "http/1.1" {
		t.Errorf("protocols: got %q", got)
	}
}

// TestExpiry is told as a metric, also when there is nothing.
func TestExpiry(t *testing.T) {
	f, _ := open(t, Config{Pairs: []Pair{pair(t, "a")}})
	m := Metrics{Files: map[string]*Files{"public": f}}
	if got := metric(t, m, "expiry_timestamp_seconds", "public"); got < float64(time.Now().Unix()) {
		t.Errorf("got %v, want a time to come", got)
	}
	if got := metric(t, m, "expiry_timestamp_seconds", "leg"); got != 0 {
		t.Errorf("without a certificate: got %v, want 0", got)
	}
}

// TestOpenFails names the file.
func TestOpenFails(t *testing.T) {
	good := pair(t, "a")
	f := func(cfg Config, want string) {
		t.Helper()
		cfg.Log = zap.NewNop()
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(Config{Pairs: []Pair{{"/nowhere/a.crt", good.Key}}}, "/nowhere/a.crt")
	f(Config{Pairs: []Pair{{good.Cert, pair(t, "b").Key}}}, good.Cert)
	f(Config{Pairs: []Pair{good}, CA: good.Key}, "no certificate in PEM")
}
