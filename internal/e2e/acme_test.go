package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// pebbleVersion is the ACME server of the tests, that of Let's Encrypt for this purpose. It is built by the go command, so that it
// stays out of go.mod.
const pebbleVersion = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// pebble is an ACME server that runs.
type pebble struct {
	directory, ca string
	management    string
	client        *http.Client
}

// startPebble runs the server; it proves names at tlsPort of this machine.
func startPebble(t *testing.T, tlsPort string) *pebble {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // the first time it is fetched
	defer cancel()
	build := exec.CommandContext(ctx, "go", "install", pebbleVersion)
	build.Dir = dir // not in our module
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the ACME server of this test, without which nothing is tested: %v\n%s", err, out)
	}
	ca := testcluster.NewAuthority(t)
	cert, key := ca.Issue(t, "pebble", net.IPv4(127, 0, 0, 1))
	listen, management := freeAddr(t), freeAddr(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management, "certificate": cert, "privateKey": key,
		"httpPort": 1, "tlsPort": json.Number(tlsPort), "ocspResponderURL": "", "externalAccountBindingRequired": false,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
	}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	p, err := testcluster.StartProcess("pebble", filepath.Join(dir, "pebble"), "-config", filepath.Join(dir, "config.json"), "-dnsserver", answerDNS(t), "-strict")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("---- pebble\n%s", p.LogTail(30))
		}
	})
	s := &pebble{
		directory: "https://" + listen + "/dir", ca: ca.CAFile, management: "https://" + management,
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: ca.ClientConfig(), DisableKeepAlives: true}},
	}
	eventually(t, "the ACME server answers", func() error { _, err := s.get(s.directory); return err })
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := testcluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func (s *pebble) get(url string) ([]byte, error) {
	resp, err := s.client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return b, err
}

// roots are what certificates of the server are believed by.
func (s *pebble) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	b, err := s.get(s.management + "/roots/0")
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(b) {
		t.Fatalf("the root: %v, %q", err, b)
	}
	return pool
}

// answerDNS serves names that all are this machine, over TCP, and returns where.
func answerDNS(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for answerOne(c) == nil {
				}
			}()
		}
	}()
	return l.Addr().String()
}

// answerOne answers a question; messages have their length in front.
func answerOne(c net.Conn) error {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil || len(m.Questions) != 1 {
		return fmt.Errorf("%d questions, %w", len(m.Questions), err)
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	b, err := m.AppendPack([]byte{0, 0})
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-len(size)))
	_, err = c.Write(b)
	return err
}

// TestACME gets a certificate from a real ACME server, which asks for the proof on the public port. A router elsewhere, which could prove
// nothing, finds the certificate in the folder.
func TestACME(t *testing.T) {
	const host = "edge.example.test"
	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	proof := freeAddr(t) // where the server looks
	_, port, err := net.SplitHostPort(proof)
	if err != nil {
		t.Fatal(err)
	}
	server := startPebble(t, port)
	cache := filepath.Join(t.TempDir(), "acme")
	flags := []string{"--acme-hosts", host, "--acme-cache", cache, "--acme-directory", server.directory, "--acme-ca", server.ca, "--acme-email", "ops@example.test"}
	r := c.Add(testcluster.NodeSpec{Role: testcluster.Router, Flags: flags, Reuse: &testcluster.Node{Addr: proof, Admin: freeAddr(t), Gossip: freeAddr(t)}})
	c.AddGateway("g1")
	eventually(t, "the certificate is there", func() error {
		if n, err := r.Metric(t.Context(), "ringside_tlscert_acme_missing"); err != nil || n != 0 {
			return fmt.Errorf("%v are missing, %v", n, err)
		}
		return nil
	})
	c.WaitReady()
	c.WaitConverged()
	trust := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: server.roots(t), ServerName: host}
	redisConn := redis.Dial(t)
	a := &audience{redis: redisConn, from: map[string]int{}}
	for i, p := range []testcluster.Protocol{testcluster.V1, testcluster.SSE} {
		a.subs = append(a.subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name: fmt.Sprintf("s%d", i), Protocol: p, Base: func() string { return "https://" + r.Addr }, Topic: "finals", TLS: trust,
		}))
	}
	a.waitOpen(t)
	publishers(t, c, redis, []string{"finals"}, 1, 20).wait()
	a.verify(t)
	a.nobodyNoticed(t)
	if n, err := r.Metric(t.Context(), `ringside_tlscert_expiry_timestamp_seconds{use="public"}`); err != nil || n < float64(time.Now().Unix()) {
		t.Errorf("expiry: got %v, %v, want a time to come", n, err)
	}
	// Another name is neither ours nor asked for.
	if conn, err := tls.Dial("tcp", r.Addr, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "other.example.test"}); err == nil {
		conn.Close()
		t.Error("a handshake for another name went well")
	}
	eventually(t, "it is counted", func() error {
		if n, err := r.Metric(t.Context(), `ringside_bridge_handshakes_total{outcome="no_certificate",side="client"}`); err != nil || n != 1 {
			return fmt.Errorf("got %v, %v, want 1", n, err)
		}
		return nil
	})
	later := c.AddRouter(flags...)
	eventually(t, "another router has it from the folder", func() error {
		conn, err := tls.Dial("tcp", later.Addr, trust)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if n := strings.Count(later.Log(), "no certificate from the ACME server"); n > 0 {
		t.Errorf("the router failed %d times to get what was there", n)
	}
}
