package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// secureCluster has TLS on the public port and on the legs.
type secureCluster struct {
	*testcluster.Cluster
	ca             *testcluster.Authority
	routers, nodes []string // flags of routers, and of all nodes
}

func newSecureCluster(t *testing.T, redis *testcluster.RedisServer) *secureCluster {
	t.Helper()
	s := &secureCluster{Cluster: testcluster.New(t, redis.URL()), ca: testcluster.NewAuthority(t)}
	cert, key := s.ca.Issue(t, "edge", net.IPv4(127, 0, 0, 1))
	s.nodes = s.legFlags(t, s.ca)
	s.routers = append([]string{"--tls-cert", cert, "--tls-key", key}, s.nodes...)
	return s
}

// legFlags are those of a node whose certificate is by the authority.
func (s *secureCluster) legFlags(t *testing.T, ca *testcluster.Authority) []string {
	t.Helper()
	cert, key := ca.Issue(t, "node") // for no address: gateways are not believed by name
	return []string{"--leg-tls-cert", cert, "--leg-tls-key", key, "--leg-tls-ca", ca.CAFile}
}

// join opens sessions of all protocols over TLS.
func (s *secureCluster) join(t *testing.T, redis *testcluster.RedisServer, topics []string, n int) *audience {
	t.Helper()
	a := &audience{redis: redis.Dial(t), from: map[string]int{}}
	for i := range n {
		a.subs = append(a.subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name: fmt.Sprintf("s%d", i), Protocol: []testcluster.Protocol{testcluster.V1, testcluster.SSE}[i/len(topics)%2],
			Base: func() string { return "https://" + s.Router(i).Addr }, Topic: topics[i%len(topics)],
			TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.ca.ClientConfig().RootCAs},
		}))
	}
	a.waitOpen(t)
	a.warm(t)
	return a
}

// TestSecureGatewayKilled kills a gateway behind TLS on both sides: no client notices.
func TestSecureGatewayKilled(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := newSecureCluster(t, redis)
	c.AddRouter(c.routers...)
	c.AddGateway("g1", c.nodes...)
	c.AddGateway("g2", c.nodes...)
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(10)
	a := c.join(t, redis, topics, 40)
	tr := publishers(t, c.Cluster, redis, topics, 2, 0)
	if n, err := c.Router(0).Metric(t.Context(), `ringside_bridge_connections{side="leg"}`); err != nil || n < 40 {
		t.Errorf("legs over TLS: got %v, %v, want 40", n, err)
	}
	c.Gateway("g1").Kill()
	c.WaitConverged()
	c.Terminate(c.Gateway("g2")) // and one that leaves in peace, for another
	c.AddGateway("g3", c.nodes...)
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
}

// TestForeignGateway has certificates that do not fit: the router goes on to the next gateway, and both sides say why.
func TestForeignGateway(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := newSecureCluster(t, redis)
	c.AddRouter(c.routers...)
	c.AddGateway("g1", c.nodes...)
	foreign := c.AddGateway("g2", c.legFlags(t, testcluster.NewAuthority(t))...)
	plain := c.AddGateway("g3")
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(30) // of all gateways
	a := c.join(t, redis, topics, 30)
	publishers(t, c.Cluster, redis, topics, 2, 0).end()
	a.verify(t)
	a.nobodyNoticed(t)
	for _, n := range []*testcluster.Node{foreign, plain} {
		if v, err := n.Metric(t.Context(), "ringside_gateway_sessions"); err != nil || v != 0 {
			t.Errorf("%s has %v sessions, %v, want none", n.Name, v, err)
		}
	}
	r := c.Router(0)
	if v, err := r.Metric(t.Context(), `ringside_router_dials_total{outcome="tls"}`); err != nil || v == 0 {
		t.Errorf("dials_total{tls}: got %v, %v, want some", v, err)
	}
	for _, want := range []string{"the gateway's certificate is not believed", "first record does not look like a TLS handshake"} {
		if !strings.Contains(r.Log(), want) {
			t.Errorf("the router's log lacks %q", want)
		}
	}
	if want := "refused a connection: it has to be a router's"; !strings.Contains(foreign.Log(), want) {
		t.Errorf("the log of %s lacks %q", foreign.Name, want)
	}
}

// TestSecureTakeover replaces a router whose clients and legs speak TLS, twice: no client notices, and the old processes go on
// as long as they carry somebody.
func TestSecureTakeover(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := newSecureCluster(t, redis)
	socket := filepath.Join(t.TempDir(), "s")
	flags := append(c.routers, "--takeover-socket", socket)
	c.AddRouter(flags...)
	c.AddGateway("g1", c.nodes...)
	c.AddGateway("g2", c.nodes...)
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(10)
	a := c.join(t, redis, topics, 40)
	tr := publishers(t, c.Cluster, redis, topics, 2, 0)
	var olds []*testcluster.Node
	for range 2 {
		old := c.Router(len(olds))
		next := c.Add(testcluster.NodeSpec{Role: testcluster.Router, Reuse: old, Flags: append(flags, "--takeover", socket)})
		eventually(t, "it has taken over", func() error {
			if !strings.Contains(next.Log(), "has taken over") {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		olds = append(olds, old)
		eventually(t, "its sessions are carried by predecessors", func() error {
			if n, err := next.Metric(t.Context(), "ringside_router_sessions_carried"); err != nil || n != 40 {
				return fmt.Errorf("%v are, %v, want 40", n, err)
			}
			return nil
		})
	}
	next := c.Router(len(olds))
	eventually(t, "the legs are its own", func() error {
		if n, err := next.Metric(t.Context(), `ringside_bridge_connections{side="leg"}`); err != nil || n < 40 {
			return fmt.Errorf("it has %v, %v", n, err)
		}
		return nil
	})
	// Also by the new process sessions are moved.
	c.Gateway("g1").Kill()
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
	if olds[0].Exited() {
		t.Error("the first router has ended, though it carries clients")
	}
	for _, s := range a.subs {
		s.Stop()
	}
	for _, old := range olds {
		if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
			t.Errorf("exit of %s: got %d, %v, want 0", old.Name, code, err)
		}
	}
}

// TestSecureLingerEnds ends the time that a succeeded process has: its clients are told to come back, and do.
func TestSecureLingerEnds(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := newSecureCluster(t, redis)
	socket := filepath.Join(t.TempDir(), "s")
	flags := append(c.routers, "--takeover-socket", socket, "--takeover-linger", "4s", "--drain-window", "1s")
	c.AddRouter(flags...)
	c.AddGateway("g1", c.nodes...)
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(4)
	a := c.join(t, redis, topics, 8)
	old := c.Router(0)
	c.Add(testcluster.NodeSpec{Role: testcluster.Router, Reuse: old, Flags: append(flags, "--takeover", socket)})
	if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit of the predecessor: got %d, %v, want 0", code, err)
	}
	a.waitOpen(t) // all are back
	for _, s := range a.subs {
		if closes := s.Closes(); len(closes) != 1 || closes[0].Reconnect < 0 || s.Protocol() == testcluster.V1 && closes[0].Code != 1012 {
			t.Errorf("%v: got %+v, want one close with word when to come back", s, closes)
		}
	}
	a.verify(t)
}

// TestSecureCommands follow and publish over TLS.
func TestSecureCommands(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := newSecureCluster(t, redis)
	r := c.AddRouter(c.routers...)
	c.AddGateway("g1", c.nodes...)
	c.WaitReady()
	c.WaitConverged()
	url := "https://" + r.Addr + "/t/finals"
	if out, code := command(t, "subscribe", url, "--once"); code == 0 || !strings.Contains(out, "certificate") {
		t.Errorf("a certificate of nobody: got %d, %q", code, out)
	}
	sub := background(t, "subscribe", url, "--once", "--tls-ca", c.ca.CAFile)
	says(t, sub, "following finals")
	if out, code := command(t, "publish", "--to", "http://"+r.Admin, "--tls-ca", c.ca.CAFile, "finals", `"hello"`); code != 0 {
		t.Errorf("publish: got %d, %q", code, out)
	}
	if code, err := sub.Wait(testcluster.Limit()); code != 0 || err != nil || !strings.Contains(sub.Log(), `"hello"`) {
		t.Errorf("subscribe: got %d, %v, %q", code, err, sub.Log())
	}
}

// TestSecureLingerIsToldToEnd has the old process stopped with the rest of its service: it leaves its clients the time of a drain, in which
// the new one may still speak to them, and no more.
func TestSecureLingerIsToldToEnd(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := newSecureCluster(t, redis)
	socket := filepath.Join(t.TempDir(), "s")
	flags := append(c.routers, "--takeover-socket", socket, "--drain-window", "500ms")
	c.AddRouter(flags...)
	c.AddGateway("g1", c.nodes...)
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(4)
	a := c.join(t, redis, topics, 8)
	old := c.Router(0)
	next := c.Add(testcluster.NodeSpec{Role: testcluster.Router, Reuse: old, Flags: append(flags, "--takeover", socket)})
	says(t, next.Process, "has taken over")
	says(t, old.Process, "carries TLS connections on")
	signal(t, old, syscall.SIGTERM)
	if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Errorf("exit of the predecessor: got %d, %v, want 0", code, err)
	}
	a.verify(t) // all are back, at the new one
}

// TestSecureRotation puts new certificates in the place of those in use: new connections get them, and nobody else notices.
func TestSecureRotation(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := newSecureCluster(t, redis)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	put := func(name string) {
		t.Helper()
		newCert, newKey := c.ca.Issue(t, name, net.IPv4(127, 0, 0, 1))
		if err := errors.Join(os.Rename(newCert, cert), os.Rename(newKey, key)); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	r := c.AddRouter(append([]string{"--tls-cert", cert, "--tls-key", key}, c.nodes...)...)
	c.AddGateway("g1", c.nodes...)
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(4)
	a := c.join(t, redis, topics, 8)
	tr := publishers(t, c.Cluster, redis, topics, 1, 0)
	put("new")
	eventually(t, "the new certificate is shown", func() error {
		conn, err := tls.Dial("tcp", r.Addr, c.ca.ClientConfig())
		if err != nil {
			return err
		}
		defer conn.Close()
		if name := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; name != "new" {
			return fmt.Errorf("it is %q", name)
		}
		return nil
	})
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
}
