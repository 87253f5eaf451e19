package e2e

import (
	"crypto/x509"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestSecureCounts has TLS on legs with certificates that are good for what they have to be and no more: gateways show theirs, which are for servers,
// to each other.
func TestSecureCounts(t *testing.T) {
	c := testcluster.New(t, testcluster.NewRedis(t, false).URL())
	ca := testcluster.NewAuthority(t)
	flags := func(name string, usage x509.ExtKeyUsage) []string {
		cert, key := ca.IssueFor(t, name, []x509.ExtKeyUsage{usage})
		return []string{"--leg-tls-cert", cert, "--leg-tls-key", key, "--leg-tls-ca", ca.CAFile}
	}
	router := c.AddRouter(flags("r", x509.ExtKeyUsageClientAuth)...)
	for _, id := range []string{"g1", "g2"} {
		c.AddGateway(id, flags(id, x509.ExtKeyUsageServerAuth)...)
	}
	c.WaitReady()
	c.WaitConverged()
	names := topicNames(6) // of slots of both
	for _, name := range names {
		s := testcluster.Subscribe(t, testcluster.SubscriberConfig{Name: name, Topic: name, More: []string{"finals"}, Base: router.HTTP})
		eventually(t, "it is there", s.Open)
	}
	if got := allCount(t, c, "finals", len(names)); len(got.Shards) != 2 {
		t.Errorf("got %+v, want sessions at both gateways", got)
	}
}
