package testcluster

import (
	"context"
	"fmt"
	"os"
)

// Stage is a redis-server and the nodes on it, for programs that measure; tests have [Cluster]. It is not safe for concurrent use.
type Stage struct {
	Redis *RedisServer
	Nodes []*Node // in the order of their start; those that have ended too

	binary string
}

// stageSecret is what the nodes of a stage share.
const stageSecret = "no secret at all, for a measurement"

// NewStage starts the redis-server; its files go to dir, and with aof it can be killed and started again without loss. The caller calls End.
func NewStage(ctx context.Context, binary, dir string, aof bool) (*Stage, error) {
	redis, err := StartRedis(ctx, dir, aof)
	if err != nil {
		return nil, err
	}
	return &Stage{Redis: redis, binary: binary}, nil
}

// Start starts a node and waits until its admin port answers. Program, Redis, a secret and the node to join, which is the last
// that runs, are filled in.
func (s *Stage) Start(ctx context.Context, spec NodeSpec) (*Node, error) {
	spec.Binary, spec.Redis = s.binary, "redis://"+s.Redis.Addr
	spec.Flags = append([]string{"--secret", stageSecret, "--log-level=warn"}, spec.Flags...)
	for _, n := range s.Nodes {
		if !n.Exited() {
			spec.Join = n.Gossip
		}
	}
	n, err := StartNode(ctx, spec)
	if err == nil {
		s.Nodes = append(s.Nodes, n)
	}
	return n, err
}

// Await waits until the router is ready and has the gateways in its ring.
func (s *Stage) Await(ctx context.Context, router *Node, gateways ...string) error {
	return Poll(ctx, func() error {
		r, err := router.Ring(ctx)
		if err != nil {
			return err
		}
		for _, id := range gateways {
			if m, ok := r.Member(id); !ok || m.State != "active" {
				return fmt.Errorf("%s is not active", id)
			}
		}
		return router.Ready(ctx)
	})
}

// End ends everything, and shows what the nodes said when something went wrong.
func (s *Stage) End(err error) {
	for _, n := range s.Nodes {
		n.Kill()
		if err != nil {
			fmt.Fprintf(os.Stderr, "---- %s\n%s\n", n.Name, n.LogTail(10))
		}
	}
	s.Redis.Kill()
}
