// Command rehome measures what clients feel of a gateway's death, stop, drain and return: how long each session is without
// a gateway, what was lost, repeated or closed, and what sessions of other gateways felt of it.
//
// It starts everything itself (redis-server, a router, three gateways) on free loopback ports, puts all sessions on one
// gateway, and ends all of it. It needs Linux, redis-server, and a limit of open files above twice the number of sessions.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/progress"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

type options struct {
	sessions, events int
	topics           int
	bystanders       int
	rate             float64
	binary           string
	only             string
	flags            string
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		if err := load.RunWorker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "rehome: clients:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.sessions, "sessions", 8000, "WebSocket sessions on the gateway")
	flag.IntVar(&o.events, "events", 500, "Server-Sent Events sessions on it")
	flag.IntVar(&o.topics, "topics", 100, "topics that they follow")
	flag.IntVar(&o.bystanders, "bystanders", 100, "sessions on the other gateways")
	flag.Float64Var(&o.rate, "rate", 1, "messages per second and topic")
	flag.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	flag.StringVar(&o.only, "only", "", "one of kill, stop, drain, takeover; empty for all")
	flag.StringVar(&o.flags, "router-flags", "", "further flags of the router, separated by spaces")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	show := progress.NewSteps()
	err := run(ctx, o, show)
	stop()
	show.End(err)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rehome:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, show *progress.Steps) error {
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
	out := show.Over(os.Stdout)
	fmt.Fprintf(out, "%d WebSocket and %d event stream sessions on one of three gateways, %d topics at %g messages/s each; %d bystanders\n\n",
		o.sessions, o.events, o.topics, o.rate, o.bystanders)
	fmt.Fprintln(out, "| what | closed | lost or repeated | without a gateway: median | 99 % | longest | slowest message before | during | bystanders' p99 before | during |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|")
	all := []string{"kill", "stop", "drain", "takeover"}
	if o.only != "" {
		if !slices.Contains(all, o.only) {
			return fmt.Errorf("-only: got %q, want one of %q", o.only, all)
		}
		all = []string{o.only}
	}
	show.Of(len(all))
	for _, what := range all {
		show.Next("%s of a node with %d sessions", what, o.sessions+o.events)
		if err := scenario(ctx, o, show, dir, what); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// scenario runs one fault in a cluster of its own.
func scenario(ctx context.Context, o options, show *progress.Steps, dir, what string) (err error) {
	s, err := begin(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { s.End(err) }()
	mine, others, err := topics(ctx, s.router, o.topics)
	if err != nil {
		return err
	}
	c, err := open(ctx, s, o, mine, others)
	if err != nil {
		return err
	}
	defer c.end()
	wait(ctx, 10*time.Second)
	before, err := c.look()
	if err != nil {
		return err
	}
	held, err := s.victim.Metric(ctx, "ringside_gateway_sessions")
	if err != nil {
		return err
	}
	if int(held) != o.sessions+o.events {
		return fmt.Errorf("the gateway has %v sessions, want %d", held, o.sessions+o.events)
	}
	if err := s.strike(ctx, show, what, c); err != nil {
		return err
	}
	if err := c.quiet(); err != nil {
		return err
	}
	wait(ctx, 2*time.Second)
	during, err := c.look()
	if err != nil {
		return err
	}
	fmt.Fprintf(show.Over(os.Stdout), "| %s | %d | %d | %s | %s | %s | %s | %s | %s | %s |\n", what, during.closed, during.wrong,
		quantile(during.pongs, 50), quantile(during.pongs, 99), quantile(during.pongs, 100),
		quantile(before.all, 100), quantile(during.all, 100), quantile(before.aside, 99), quantile(during.aside, 99))
	if (what == "kill" || what == "stop") && during.pongs.TotalCount() != int64(o.sessions) {
		return fmt.Errorf("%d of %d sessions were moved", during.pongs.TotalCount(), o.sessions)
	}
	return during.failed()
}

// stage is the cluster of a scenario.
type stage struct {
	*testcluster.Stage
	socket         string // of the router's takeover
	router, victim *testcluster.Node
}

// begin starts everything and waits until the ring is complete.
func begin(ctx context.Context, o options, dir string) (s *stage, err error) {
	s = &stage{socket: filepath.Join(dir, "takeover")}
	if s.Stage, err = testcluster.NewStage(ctx, o.binary, dir, false); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.End(err)
		}
	}()
	// All sessions are to be on one gateway, however many that are.
	flags := append([]string{"--takeover-socket", s.socket, "--load-floor", "1000000"}, strings.Fields(o.flags)...)
	if s.router, err = s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Router, Flags: flags}); err != nil {
		return nil, err
	}
	ids := []string{"g1", "g2", "g3"}
	for _, id := range ids {
		if _, err := s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Gateway, ID: id}); err != nil {
			return nil, err
		}
	}
	s.victim = s.Nodes[1]
	return s, s.Await(ctx, s.router, ids...)
}

// strike does what the scenario is about and waits until it is over.
func (s *stage) strike(ctx context.Context, show *progress.Steps, what string, c *crowd) error {
	began := time.Now()
	say := func(how string) {
		show.Say("%s after %v", how, time.Since(began).Round(time.Millisecond))
	}
	switch what {
	case "kill", "stop":
		sig := syscall.SIGKILL
		if what == "stop" {
			sig = syscall.SIGSTOP
		}
		if err := s.victim.Signal(sig); err != nil {
			return err
		}
		if err := c.ping(began); err != nil {
			return err
		}
		wait(ctx, 10*time.Second)
	case "drain":
		if err := s.victim.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if code, err := s.victim.Wait(2 * time.Minute); code != 0 || err != nil {
			return fmt.Errorf("exit of the drained gateway: %d, %w", code, err)
		}
		say("drained and gone")
	case "takeover":
		if _, err := s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Router, Reuse: s.router, Flags: []string{"--takeover", s.socket}}); err != nil {
			return err
		}
		if code, err := s.router.Wait(time.Minute); code != 0 || err != nil {
			return fmt.Errorf("exit of the predecessor: %d, %w", code, err)
		}
		say("taken over")
		wait(ctx, 5*time.Second)
	}
	return nil
}

// wait lets the cluster run for a while.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func quantile(h *hdr.Histogram, q float64) string {
	if h.TotalCount() == 0 {
		return "–"
	}
	return load.Quantile(h, q).Round(100 * time.Microsecond).String()
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
