package testcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Roles of a node, as the command line names them.
const (
	Router  = "router"
	Gateway = "gateway"
)

// NodeSpec is how a node is to be started.
type NodeSpec struct {
	Binary string
	Role   string // Router or Gateway
	ID     string // of a gateway
	Join   string // gossip address of a node that runs; empty for the first
	Redis  string // redis://host:port
	Flags  []string
	Env    []string // further variables, NAME=value
	// Reuse starts the node on the addresses of one that has ended, as a restart does.
	Reuse *Node
}

// Node is a running router or gateway.
type Node struct {
	*Process
	Role   string
	ID     string // empty for a router
	Addr   string // host:port for clients
	Admin  string // host:port of the admin port
	Gossip string // host:port of gossip
}

// startTries is how often a node gets new ports when another process was quicker.
const startTries = 5

// StartNode starts a node and waits until its admin port answers; it need not be ready then. The caller ends
// it.
func StartNode(ctx context.Context, spec NodeSpec) (*Node, error) {
	for try := 1; ; try++ {
		n, err := startNode(spec)
		if err != nil {
			return nil, err
		}
		err = n.waitAlive(ctx)
		if err == nil {
			return n, nil
		}
		n.Kill()
		taken := strings.Contains(n.Log(), "address already in use")
		if !taken || spec.Reuse != nil || try == startTries {
			return nil, fmt.Errorf("%w\n%s", err, n.LogTail(20))
		}
	}
}

func startNode(spec NodeSpec) (*Node, error) {
	n := &Node{Role: spec.Role, ID: spec.ID}
	if old := spec.Reuse; old != nil {
		n.Addr, n.Admin, n.Gossip = old.Addr, old.Admin, old.Gossip
	} else {
		for _, addr := range []*string{&n.Addr, &n.Admin, &n.Gossip} {
			var err error
			if *addr, err = FreeAddr(); err != nil {
				return nil, err
			}
		}
	}
	args := []string{spec.Role, "--listen", n.Addr, "--admin", n.Admin, "--gossip", n.Gossip, "--redis", spec.Redis}
	name := spec.Role
	if spec.ID != "" {
		name = spec.ID
		args = append(args, "--id", spec.ID)
	}
	if spec.Join != "" {
		args = append(args, "--join", spec.Join)
	}
	var err error
	n.Process, err = startProcess(name, spec.Binary, func(c *exec.Cmd) {
		if len(spec.Env) > 0 {
			c.Env = append(os.Environ(), spec.Env...)
		}
	}, append(args, spec.Flags...)...)
	return n, err
}

// waitAlive waits until the admin port answers or the process ends.
func (n *Node) waitAlive(ctx context.Context) error {
	err := Poll(ctx, func() error {
		if n.Exited() {
			return nil
		}
		_, err := n.Get(ctx, "/healthz")
		return err
	})
	if err == nil && n.Exited() {
		err = errors.New("it ended")
	}
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", n.Name, err)
	}
	return nil
}

// Ready asks /readyz; nil when the node says that it is ready.
func (n *Node) Ready(ctx context.Context) error {
	r, err := n.Get(ctx, "/readyz")
	if err != nil {
		return err
	}
	if r.Status != 200 {
		return fmt.Errorf("%s is not ready: %d %s", n.Name, r.Status, r.Body)
	}
	return nil
}

// HTTP is the base URL of the port for clients.
func (n *Node) HTTP() string { return "http://" + n.Addr }
