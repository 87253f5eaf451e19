package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// TestSecretRotation goes through the rotation that docs/OPERATIONS.md tells, every node restarted at each step, one after the other:
// no client notices. What has the old secret only is refused then, says so, is not ready, and disturbs nobody.
func TestSecretRotation(t *testing.T) {
	const before, after = "the secret before the rotation", "the secret after the rotation"
	file := filepath.Join(t.TempDir(), "secrets")
	write := func(secrets ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(secrets, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(t.TempDir(), "takeover")
	write(before)
	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	c.AddRouter("--secret-file", file, "--takeover-socket", socket)
	c.AddGateway("g1", "--secret-file", file, drainWindow)
	c.AddGateway("g2", "--secret-file", file, drainWindow)
	c.WaitReady()
	c.WaitConverged()
	topics := topicNames(10)
	a := join(t, c, redis, topics, 30)
	tr := publishers(t, c, redis, topics, 2, 0)

	for _, step := range [][]string{{before, after}, {after, before}, {after}} {
		write(step...)
		for _, id := range []string{"g1", "g2"} {
			old := c.Gateway(id)
			c.Terminate(old)
			if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
				t.Fatalf("exit of %s: %d, %v", id, code, err)
			}
			c.AddGateway(id, "--secret-file", file, drainWindow)
			c.WaitReady()
			c.WaitConverged()
		}
		old := c.Running(testcluster.Router)[0]
		c.Add(testcluster.NodeSpec{Role: testcluster.Router, Reuse: old, Flags: []string{"--secret-file", file, "--takeover", socket, "--takeover-socket", socket}})
		if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
			t.Fatalf("exit of the router: %d, %v", code, err)
		}
		c.WaitReady()
		c.WaitConverged()
	}

	router := c.Running(testcluster.Router)[0]
	for id, flags := range map[string][]string{"stranger": {"--secret", before}, "open": nil} {
		n, err := testcluster.StartNode(t.Context(), testcluster.NodeSpec{
			Binary: testcluster.Binary(t), Role: testcluster.Gateway, ID: id, Redis: redis.URL(), Join: router.Gossip, Flags: flags,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Kill)
		eventually(t, n.ID+" says that it is not taken", func() error {
			r, err := n.Get(t.Context(), "/readyz")
			if err == nil && (r.Status == 200 || !strings.Contains(r.Body, "the seeds don't take this node")) {
				return statusError{r}
			}
			return err
		})
		if got := strings.Count(n.Log(), "the seeds don't take this node"); got == 0 {
			t.Errorf("%s: no clear line", n.ID)
		}
		n.Kill()
	}
	if v, err := router.Metric(t.Context(), "ringside_gossip_rejected_total", `reason="secret"`); err != nil || v == 0 {
		t.Errorf("who refuses has counted %v, %v", v, err)
	}
	if got := strings.Count(router.Log(), "refused gossip of a node with another secret"); got == 0 {
		t.Errorf("who refuses: no clear line")
	}
	tr.end()
	a.verify(t)
	a.nobodyNoticed(t)
}
