// Command chaos breaks a running cluster on purpose and checks that nobody notices: that every message that was
// acknowledged reaches every session once, in order and intact, that no fault of a gateway closes a client's connection,
// that the nodes agree on the ring again, and that they give their memory back.
//
// It starts everything itself (redis-server, routers and gateways as processes, its own publishers and clients) and runs
// a schedule of faults that follows from the seed alone: the same seed is the same schedule. What Redis holds at the end
// is the truth. It exits with 1 when anything was violated, and names the seed and the command that runs it again.
//
// With -break the nodes are built to do something wrong now and then, and the run has to find it; give it many messages
// (-rate 200 -faults slow) or, for position and epoch, many moves (-rate 200 -sessions 500 -faults kill,term,drain,stop), or
// for stale a Redis that is emptied (-faults flush).
//
// It needs redis-server. On Linux it runs in network namespaces of its own, as far as the machine allows it, and can then
// cut nodes off from each other too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/netlab"
)

// binaryEnv hands the built program on to the run when that starts again elsewhere.
const binaryEnv = "CHAOS_BINARY"

// faultEnv asks nodes that were built with the tag fault to do something wrong.
const faultEnv = "RINGSIDE_FAULT"

// options are the command line.
type options struct {
	duration    time.Duration
	seed        uint64
	seeds       int
	faults      []string
	out         string
	bin         string
	race        bool
	breakBy     string
	allowCloses bool
	sessions    int
	topics      int
	routers     int
	gateways    int
	rate        float64
	agree       time.Duration
	patience    time.Duration
	settle      time.Duration
	logs        string
	showPlan    bool

	command string // what to type to repeat it, without the seed
}

// retention is how long the nodes keep messages: longer than the run.
func (o options) retention() time.Duration { return o.duration + 30*time.Minute }

// breaks are the faults that a binary built for it can have.
//
//nolint:gochecknoglobals // a constant in all but name
var breaks = []string{"drop", "repeat", "position", "ack", "epoch", "stale"}

const usage = `Usage: go run ./scripts/chaos [flags]

Breaks a cluster on purpose and checks that no message is lost and no client notices. Run it from the
root of the repository.

`

func parseOptions(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.DurationVar(&o.duration, "duration", 2*time.Minute, "how long faults are made, per seed")
	fs.Uint64Var(&o.seed, "seed", 1, "first seed")
	fs.IntVar(&o.seeds, "seeds", 1, "how many seeds, one after the other")
	faults := fs.String("faults", strings.Join(allFaults, ","), "faults to make, comma-separated")
	without := fs.String("without", "", "faults to leave out, comma-separated")
	fs.StringVar(&o.out, "out", "", "file to write the report to; - for the standard output")
	fs.StringVar(&o.bin, "bin", "", "ringside program to run; empty builds the one of this tree")
	fs.BoolVar(&o.race, "race", false, "build with the race detector")
	fs.StringVar(&o.breakBy, "break", "", "make the nodes do something wrong and expect to find it: "+strings.Join(breaks, ", "))
	fs.BoolVar(&o.allowCloses, "allow-closes", false, "only count connections that were closed against the rules")
	fs.IntVar(&o.sessions, "sessions", 200, "client sessions")
	fs.IntVar(&o.topics, "topics", 30, "topics that they follow")
	fs.IntVar(&o.routers, "routers", 2, "routers")
	fs.IntVar(&o.gateways, "gateways", 4, "gateways")
	fs.Float64Var(&o.rate, "rate", 60, "messages per second")
	fs.DurationVar(&o.agree, "agree", 5*time.Second, "how soon after a change all nodes have the same ring")
	fs.DurationVar(&o.patience, "patience", 40*time.Second, "how long clients may take to catch up at the end")
	fs.DurationVar(&o.settle, "settle", 150*time.Second, "how long nodes may take to give memory back at the end;\nGo collects an idle heap every two minutes")
	fs.StringVar(&o.logs, "logs", "", "folder for the nodes' logs of a run with violations; empty for a temporary one")
	fs.BoolVar(&o.showPlan, "plan", false, "only print the schedules")
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.command = commandLine(fs)
	if fs.NArg() > 0 {
		return o, fmt.Errorf("an unexpected argument %q", fs.Arg(0))
	}
	var err error
	if o.faults, err = chosen(*faults, *without); err != nil {
		return o, err
	}
	switch {
	case o.seeds < 1 || o.duration <= 0 || o.sessions < 1 || o.rate <= 0:
		return o, errors.New("-seeds, -duration, -sessions and -rate must be positive")
	case o.routers < 2 || o.gateways < 3 || o.topics <= floodTopics:
		return o, fmt.Errorf("at least 2 routers, 3 gateways and %d topics are needed", floodTopics+1)
	case o.breakBy != "" && !slices.Contains(breaks, o.breakBy):
		return o, fmt.Errorf("-break: got %q, want one of %q", o.breakBy, breaks)
	}
	return o, nil
}

// chosen are the faults of a list without those of another, in the order of the tables.
func chosen(with, without string) ([]string, error) {
	var list []string
	for _, part := range []string{with, without} {
		for f := range strings.SplitSeq(part, ",") {
			f = strings.TrimSpace(f)
			if f != "" && !slices.Contains(allFaults, f) {
				return nil, fmt.Errorf("-faults: got %q, want some of %q", f, allFaults)
			}
		}
	}
	for _, f := range allFaults {
		if slices.Contains(strings.Split(with, ","), f) && !slices.Contains(strings.Split(without, ","), f) {
			list = append(list, f)
		}
	}
	return list, nil
}

// commandLine is the command without the seed and what does not change the result.
func commandLine(fs *flag.FlagSet) string {
	line := "go run ./scripts/chaos"
	fs.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "out", "bin", "logs", "seed", "seeds", "plan":
		default:
			line += fmt.Sprintf(" -%s=%s", f.Name, f.Value)
		}
	})
	return line
}

func main() {
	o, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	code := 1
	if err == nil {
		code, err = start(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	os.Exit(code)
}

// start prepares the program to run, moves into a network of its own, and runs all seeds.
func start(o options) (int, error) {
	if o.showPlan {
		for i := range o.seeds {
			fmt.Printf("seed %d\n", o.seed+uint64(i))
			for _, s := range plan(o.plan(o.seed + uint64(i))) {
				fmt.Println(s)
			}
		}
		return 0, nil
	}
	if path := os.Getenv(binaryEnv); path != "" {
		o.bin = path
		return runAll(o)
	}
	if o.bin == "" {
		dir, err := os.MkdirTemp("", "ringside-chaos-")
		if err != nil {
			return 1, err
		}
		defer os.RemoveAll(dir)
		if o.bin, err = build(dir, o); err != nil {
			return 1, err
		}
	}
	path, err := filepath.Abs(o.bin)
	if err != nil {
		return 1, err
	}
	if code, started := netlab.Enter(binaryEnv + "=" + path); started {
		return code, nil
	}
	o.bin = path
	return runAll(o)
}

// build builds the program; one that can do wrong has a tag of its own.
func build(dir string, o options) (string, error) {
	path := filepath.Join(dir, "ringside")
	args := []string{"build", "-o", path}
	if o.race {
		args = append(args, "-race")
	}
	if o.breakBy != "" {
		args = append(args, "-tags", "fault")
	}
	cmd := exec.Command("go", append(args, "github.com/ringside-edge/ringside/cmd/ringside")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the program: %w\n%s", err, out)
	}
	return path, nil
}

// runAll runs the seeds one after the other and returns the exit code.
func runAll(o options) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if o.breakBy != "" {
		if err := os.Setenv(faultEnv, o.breakBy); err != nil {
			return 1, err
		}
	}
	net := newStage()
	shown := make(chan struct{})
	drawing, over := context.WithCancel(ctx)
	show.duration, show.seeds = o.duration, o.seeds
	go func() { defer close(shown); show.run(drawing) }()
	results, err := seeds(ctx, o, net)
	over()
	<-shown
	show.end(err == nil)
	if err != nil {
		return 1, err
	}
	return verdictOf(o, results)
}

// seeds runs the seeds one after the other.
func seeds(ctx context.Context, o options, net *stage) (results []*result, err error) {
	for i := range o.seeds {
		r, err := runSeed(ctx, o, net, o.seed+uint64(i))
		if err != nil {
			return nil, fmt.Errorf("seed %d: %w", o.seed+uint64(i), err)
		}
		results = append(results, r)
		show.violations.Add(int64(r.verdict.bad() - r.seen))
		r.print(show.bar.Over(os.Stdout))
	}
	return results, nil
}

// verdictOf writes the report and returns the exit code.
func verdictOf(o options, results []*result) (int, error) {
	bad, found := 0, 0
	for _, r := range results {
		if r.verdict.bad() > 0 {
			bad++
		}
		found += r.verdict.wrong()
	}
	if o.out != "" {
		if err := writeReport(o, results); err != nil {
			return 1, err
		}
	}
	if o.breakBy != "" {
		if found == 0 {
			return 1, fmt.Errorf("the nodes did wrong (%s) and nothing of it was found", o.breakBy)
		}
		fmt.Printf("found: %s, by %d violations\n", o.breakBy, found)
		return 0, nil
	}
	for _, r := range results {
		if n := r.verdict.bad(); n > 0 {
			fmt.Printf("FAILED: seed %d, %d violations. To run it again: %s\n", r.seed, n, r.replay)
		}
	}
	return min(bad, 1), nil
}
