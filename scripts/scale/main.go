// Command scale answers what no machine at hand can be asked: what becomes of crowds of any size that come back at once, by
// simulation, and what gossip costs with hundreds of members, by measurement.
//
//	go run ./scripts/scale storm [-clients N] [-real]    the crowd of one router: naive and obedient clients, with and without admission
//	go run ./scripts/scale gossip [members ...]          members in this process, each with sockets of its own
//	go run ./scripts/scale doc [-out docs/SCALE.md]      all of it: calibrated by real crowds, and with pictures
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
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/admission"
	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/progress"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		if err := load.RunWorker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "scale: clients:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	show.End(err)
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// show is the bar of the whole program.
//
//nolint:gochecknoglobals // there is one terminal
var show = progress.NewSteps()

var errUsage = errors.New("want `storm`, `gossip` or `doc`")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "storm":
		return storms(ctx, args[1:])
	case "gossip":
		return gossips(ctx, args[1:])
	case "doc":
		return doc(ctx, args[1:])
	}
	return errUsage
}

func gossips(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{"25", "50", "100", "200"}
	}
	show.Of(len(args))
	for _, a := range args {
		show.Next("gossip with %s members", a)
		n, err := strconv.Atoi(a)
		if err != nil || n < 4 {
			return fmt.Errorf("%q is no number of members: want 4 or more", a)
		}
		r, err := measureGossip(ctx, n)
		if err != nil {
			return err
		}
		fmt.Fprintln(show.Over(os.Stdout), r)
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
			Queue: 1024, QueueTime: 500 * time.Millisecond, Rate: admission.FirstRate * float64(host.Cores),
		},
		Book: admission.BookConfig{Least: admission.LeastReturn, Horizon: 10 * time.Minute, Grace: admission.ReturnGrace},
		Most: 10 * time.Minute, Seed: 1,
	}
}

// kinds are the storms that are compared.
//
//nolint:gochecknoglobals // a constant in all but name
var kinds = []struct {
	name           string
	policy, limits bool
}{
	{"naive clients, no admission", false, false}, {"naive clients, admission", false, true}, {"obedient clients, admission", true, true},
}

func storms(ctx context.Context, args []string) error {
	var h host
	fs := flag.NewFlagSet("storm", flag.ContinueOnError)
	clients := fs.Int("clients", 50_000, "clients of one router")
	fs.DurationVar(&h.Handshake, "handshake", 400*time.Microsecond, "processor time that opening a session costs")
	fs.DurationVar(&h.Refusal, "refusal", 60*time.Microsecond, "processor time that refusing one costs")
	fs.IntVar(&h.Backlog, "backlog", backlog, "connections that wait to be accepted")
	fs.IntVar(&h.Cores, "cores", runtime.NumCPU(), "cores of the router")
	beside := fs.Bool("real", false, "let the same crowds come to a real cluster too")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *clients < 1 || h.Handshake <= h.Refusal || h.Refusal <= 0 || h.Backlog < 1 || h.Cores < 1 {
		return errors.New("want clients, a backlog, and a handshake that costs more than a refusal")
	}
	show.Of(map[bool]int{false: 1, true: 2}[*beside] * len(kinds))
	for _, kind := range kinds {
		show.Next("%s, simulated", kind.name)
		p := usual(*clients, h)
		p.Policy, p.Limits = kind.policy, kind.limits
		fmt.Fprintf(show.Over(os.Stdout), "%-30s simulated  %v\n", kind.name, simulate(p))
		if !*beside {
			continue
		}
		show.Next("%s, real", kind.name)
		o, err := realStorm(ctx, p)
		if err != nil {
			return err
		}
		fmt.Fprintf(show.Over(os.Stdout), "%-30s real       %v\n", kind.name, o)
	}
	return nil
}

// realStorm has the plan's crowd come to a cluster of its own.
func realStorm(ctx context.Context, p plan) (o outcome, err error) {
	flags := []string{"--per-ip-allow", "192.0.2.1"} // in place of loopback, where the crowd comes from
	if !p.Limits {
		flags = []string{"--per-ip-rate", "0", "--handshakes", "0", "--accept-lag", "0"}
	}
	p.Most = min(p.Most, 2*time.Minute)
	err = onStage(ctx, flags, func(router string) error {
		o, err = runStorm(ctx, p, router)
		return err
	})
	return o, err
}
