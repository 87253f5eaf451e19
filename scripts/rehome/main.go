// Command rehome measures what clients feel of a gateway's death, stop, drain and return: how long each session is without
// a gateway, what was lost, repeated or closed, and what sessions of other gateways felt of it.
//
// It starts everything itself (redis-server, a router, three gateways) on free loopback ports, puts all sessions on one
// gateway, and ends all of it. It needs Linux, redis-server, and a limit of open files above twice the number of sessions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

type options struct {
	sessions, events int
	topics           int
	bystanders       int
	rate             float64
	binary           string
	only             string
}

func main() {
	var o options
	flag.IntVar(&o.sessions, "sessions", 8000, "WebSocket sessions on the gateway")
	flag.IntVar(&o.events, "events", 500, "Server-Sent Events sessions on it")
	flag.IntVar(&o.topics, "topics", 100, "topics that they follow")
	flag.IntVar(&o.bystanders, "bystanders", 100, "sessions on the other gateways")
	flag.Float64Var(&o.rate, "rate", 1, "messages per second and topic")
	flag.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	flag.StringVar(&o.only, "only", "", "one of kill, stop, drain; empty for all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "rehome:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "ringside-rehome-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.binary == "" {
		if o.binary, err = testcluster.Build(dir, false); err != nil {
			return err
		}
	}
	fmt.Printf("%d WebSocket and %d event stream sessions on one of three gateways, %d topics at %g messages/s each; %d bystanders\n\n",
		o.sessions, o.events, o.topics, o.rate, o.bystanders)
	fmt.Println("| what | closed | lost or repeated | without a gateway: median | 99 % | longest | bystanders' p99 before | during |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, what := range []string{"kill", "stop", "drain"} {
		if o.only != "" && o.only != what {
			continue
		}
		if err := scenario(ctx, o, dir, what); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

const secret = "no secret at all, for a measurement"

// scenario runs one fault in a cluster of its own.
func scenario(ctx context.Context, o options, dir, what string) (err error) {
	redis, err := testcluster.StartRedis(ctx, dir, false)
	if err != nil {
		return err
	}
	defer redis.Kill()
	var nodes []*testcluster.Node
	defer func() {
		for _, n := range nodes {
			n.Kill()
			if err != nil {
				fmt.Fprintf(os.Stderr, "---- %s\n%s\n", n.Name, n.LogTail(10))
			}
		}
	}()
	start := func(role, id string) error {
		spec := testcluster.NodeSpec{
			Binary: o.binary, Role: role, ID: id, Redis: "redis://" + redis.Addr,
			Flags: []string{"--secret", secret, "--log-level=warn"},
		}
		if len(nodes) > 0 {
			spec.Join = nodes[0].Gossip
		}
		n, err := testcluster.StartNode(ctx, spec)
		if err == nil {
			nodes = append(nodes, n)
		}
		return err
	}
	for _, spec := range [][2]string{{testcluster.Router, ""}, {testcluster.Gateway, "g1"}, {testcluster.Gateway, "g2"}, {testcluster.Gateway, "g3"}} {
		if err := start(spec[0], spec[1]); err != nil {
			return err
		}
	}
	router, victim := nodes[0], nodes[1]
	if err := testcluster.Poll(ctx, func() error {
		r, err := router.Ring(ctx)
		if err != nil {
			return err
		}
		for _, id := range []string{"g1", "g2", "g3"} {
			if m, ok := r.Member(id); !ok || m.State != "active" {
				return errors.New(id + " is not active")
			}
		}
		return router.Ready(ctx)
	}); err != nil {
		return err
	}
	mine, others, err := topics(ctx, router, o.topics)
	if err != nil {
		return err
	}
	c, err := newCrowd()
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.open(ctx, router.Addr, o, mine, others); err != nil {
		return err
	}
	pub, err := publish(ctx, redis.Addr, append(append([]string(nil), mine...), others...), o.rate)
	if err != nil {
		return err
	}
	defer pub.end()
	time.Sleep(10 * time.Second)
	before := c.bystanders()
	held, _ := victim.Metric(ctx, "ringside_gateway_sessions")
	if int(held) != o.sessions+o.events {
		return fmt.Errorf("the gateway has %v sessions, want %d", held, o.sessions+o.events)
	}
	began := time.Now()
	switch what {
	case "kill":
		err = victim.Signal(syscall.SIGKILL)
		c.ping(began)
	case "stop":
		err = victim.Signal(syscall.SIGSTOP)
		c.ping(began)
	case "drain":
		err = victim.Signal(syscall.SIGTERM)
	}
	if err != nil {
		return err
	}
	if what == "drain" {
		if code, err := victim.Wait(2 * time.Minute); code != 0 || err != nil {
			return fmt.Errorf("exit of the drained gateway: %d, %w", code, err)
		}
		fmt.Fprintf(os.Stderr, "drained and gone after %v\n", time.Since(began).Round(time.Millisecond))
	} else {
		time.Sleep(10 * time.Second)
	}
	pub.end()
	time.Sleep(2 * time.Second)
	during := c.bystanders()
	r := c.result()
	fmt.Printf("| %s | %d | %d | %s | %s | %s | %s | %s |\n", what, r.closed, r.wrong,
		quantile(r.pongs, 50), quantile(r.pongs, 99), quantile(r.pongs, 100), quantile(before, 99), quantile(during, 99))
	if what != "drain" && r.pongs.TotalCount() != int64(o.sessions) {
		return fmt.Errorf("%d of %d sessions were moved", r.pongs.TotalCount(), o.sessions)
	}
	if r.closed+r.wrong > 0 {
		return errors.New(r.first)
	}
	return nil
}

func quantile(h *hdr.Histogram, q float64) string {
	if h.TotalCount() == 0 {
		return "–"
	}
	return (time.Duration(h.ValueAtQuantile(q)) * time.Microsecond).Round(100 * time.Microsecond).String()
}

// topics finds n topics of g1 and some of the others.
func topics(ctx context.Context, router *testcluster.Node, n int) (mine, others []string, err error) {
	for i := 0; len(mine) < n || len(others) < 20; i++ {
		name := "match-" + strconv.Itoa(i)
		p, err := router.Place(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case p.Owner == "g1" && len(mine) < n:
			mine = append(mine, name)
		case p.Owner != "g1" && len(others) < 20:
			others = append(others, name)
		}
	}
	return mine, others, nil
}
