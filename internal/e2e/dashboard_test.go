package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// clusterView is as much of /cluster as the test looks at.
type clusterView struct {
	Members []struct {
		ID, Problem string
		Node        *struct {
			Sessions uint64
			Gateway  *struct {
				Hottest []struct {
					Topic    string
					Sessions int
				}
				Tails []struct{ Owned bool }
			}
		}
	}
}

// TestAnyNodeShowsTheCluster asks every node for the whole cluster, kills one, and asks the others again.
func TestAnyNodeShowsTheCluster(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), routers, gateways)
	join(t, c, redis, []string{"final"}, 5)
	look := func(n *testcluster.Node) (v clusterView, err error) {
		r, err := n.Get(t.Context(), "/cluster")
		if err == nil && r.Status != 200 {
			err = fmt.Errorf("status %d: %s", r.Status, r.Body)
		}
		if err == nil {
			err = json.Unmarshal([]byte(r.Body), &v)
		}
		return v, err
	}
	for _, n := range c.Nodes() {
		eventually(t, n.Name+" shows all", func() error {
			v, err := look(n)
			sessions, owned, hot := uint64(0), 0, 0
			for _, m := range v.Members {
				switch {
				case m.Node == nil:
					return fmt.Errorf("nothing of %s: %s", m.ID, m.Problem)
				case m.Node.Gateway == nil:
					continue
				}
				sessions += m.Node.Sessions
				for _, tail := range m.Node.Gateway.Tails {
					if tail.Owned {
						owned++
					}
				}
				for _, h := range m.Node.Gateway.Hottest {
					if h.Topic == "final" {
						hot += h.Sessions
					}
				}
			}
			if err == nil && (len(v.Members) != routers+gateways || sessions != 5 || owned != 256 || hot != 5) {
				err = fmt.Errorf("%d members, %d sessions, %d owned slots, %d sessions of the topic", len(v.Members), sessions, owned, hot)
			}
			return err
		})
	}
	victim := c.Gateway("g1")
	victim.Kill()
	for _, n := range c.Nodes() {
		if n == victim {
			continue
		}
		eventually(t, n.Name+" shows that g1 is gone", func() error {
			v, err := look(n)
			for _, m := range v.Members {
				if m.ID == "g1" && m.Node != nil {
					return fmt.Errorf("it still has numbers: %+v", m)
				}
			}
			return err
		})
	}
}
