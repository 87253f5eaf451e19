// Command scale answers what no machine at hand can be asked: what becomes of crowds of any size that come back at once, by
// simulation, and what gossip costs with hundreds of members, by measurement.
//
//	go run ./scripts/scale storm [-clients N] [-real]    the crowd of one router: naive and obedient clients, with and without admission
//	go run ./scripts/scale gossip [members ...]          members in this process, each with sockets of its own
//
// The simulation is of discrete events and runs the code of internal/admission as a router does. With -real the same crowd, up to
// some thousands, also comes to a real cluster on this machine, and both are printed side by side.
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

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("want `storm` or `gossip`")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "storm":
		return storms(ctx, args[1:])
	case "gossip":
		return gossips(ctx, args[1:])
	}
	return errUsage
}

func gossips(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{"25", "50", "100", "200"}
	}
	for _, a := range args {
		n, err := strconv.Atoi(a)
		if err != nil || n < 4 {
			return fmt.Errorf("%q is no number of members: want 4 or more", a)
		}
		r, err := measureGossip(ctx, n)
		if err != nil {
			return err
		}
		fmt.Println(r)
	}
	return nil
}

// usual is a storm by the defaults of a router.
func usual(clients int, host host) plan {
	return plan{
		Clients: clients, Shared: 0.3, Behind: 50, Spread: time.Second, Patience: 10 * time.Second, Retry: time.Second, Host: host,
		Rate: admission.LimiterConfig{Rate: 3, Burst: 20, Size: 1 << 17},
		Door: admission.DoorConfig{
			Limit: admission.GradientConfig{Min: 8, Max: 512, Target: 10 * time.Millisecond},
			Queue: 1024, QueueTime: 500 * time.Millisecond, Rate: 1000,
		},
		Book: admission.BookConfig{Least: time.Second, Horizon: 10 * time.Minute, Grace: 10 * time.Second},
		Most: 10 * time.Minute, Seed: 1,
	}
}

func storms(ctx context.Context, args []string) error {
	var h host
	fs := flag.NewFlagSet("storm", flag.ContinueOnError)
	clients := fs.Int("clients", 50_000, "clients of one router")
	fs.DurationVar(&h.Handshake, "handshake", 400*time.Microsecond, "processor time that opening a session costs")
	fs.DurationVar(&h.Refusal, "refusal", 60*time.Microsecond, "processor time that refusing one costs")
	fs.IntVar(&h.Backlog, "backlog", 4096, "connections that wait to be accepted")
	beside := fs.Bool("real", false, "let the same crowds come to a real cluster too")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *clients < 1 || h.Handshake <= h.Refusal || h.Refusal <= 0 || h.Backlog < 1 {
		return errors.New("want clients, a backlog, and a handshake that costs more than a refusal")
	}
	for _, kind := range []struct {
		name           string
		policy, limits bool
	}{
		{"naive clients, no admission", false, false}, {"naive clients, admission", false, true}, {"obedient clients, admission", true, true},
	} {
		p := usual(*clients, h)
		p.Policy, p.Limits = kind.policy, kind.limits
		fmt.Printf("%-30s simulated  %v\n", kind.name, simulate(p))
		if !*beside {
			continue
		}
		o, err := realStorm(ctx, p)
		if err != nil {
			return err
		}
		fmt.Printf("%-30s real       %v\n", kind.name, o)
	}
	return nil
}

// realStorm has the plan's crowd come to a cluster of its own.
func realStorm(ctx context.Context, p plan) (outcome, error) {
	dir, err := os.MkdirTemp("", "ringside-scale-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(dir)
	binary, err := testcluster.Build(dir, false)
	if err != nil {
		return outcome{}, err
	}
	flags := []string{"--per-ip-allow", "192.0.2.1"} // in place of loopback, where the crowd comes from
	if !p.Limits {
		flags = []string{"--per-ip-rate", "0", "--handshakes", "0", "--accept-lag", "0"}
	}
	s, router, err := newStage(ctx, binary, dir, flags)
	if err != nil {
		return outcome{}, err
	}
	p.Most = min(p.Most, 2*time.Minute)
	o, err := runStorm(ctx, p, router.Addr)
	s.End(err)
	return o, err
}
