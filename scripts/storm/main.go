// Command storm measures what sessions that stand feel of a crowd that comes at once, and when that crowd is in: with the limits
// on, once with clients that come back when they are told and once with clients that come back every second whatever they
// are told, and with the limits off.
//
// It starts everything itself (redis-server, three routers, two gateways, four processes of clients) on loopback, gives every
// client an address of its own out of 127.0.0.0/8, and ends all of it. It needs Linux, redis-server, and 20,000 open files per process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/progress"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

type options struct {
	clients, standing int
	processes         int
	rate              float64
	window            time.Duration
	binary, out       string
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		if err := load.RunWorker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "storm: clients:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.clients, "clients", 20000, "clients that come at once")
	flag.IntVar(&o.standing, "standing", 1000, "sessions that stand, and get messages")
	flag.IntVar(&o.processes, "processes", 4, "processes of clients")
	flag.Float64Var(&o.rate, "rate", 5, "messages per second that the standing sessions get")
	flag.DurationVar(&o.window, "window", 60*time.Second, "how long the storm is watched at most")
	flag.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	flag.StringVar(&o.out, "out", "", "file to write the results to; empty for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	show := progress.NewSteps()
	err := run(ctx, o, show)
	stop()
	show.End(err)
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

// off are the flags of a router without limits. What limits the accept rate is off too.
func off() []string { return []string{"--per-ip-rate=0", "--handshakes=0", "--accept-lag=0s"} }

// on makes loopback count as a client like any other.
func on() []string { return []string{"--per-ip-allow=192.0.2.1"} }

func run(ctx context.Context, o options, show *progress.Steps) error {
	dir, err := os.MkdirTemp("", "ringside-storm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.binary == "" {
		if o.binary, err = testcluster.Build(dir, false); err != nil {
			return err
		}
	}
	var rows []string
	scenarios := []struct {
		name  string
		flags []string
		heed  bool
	}{
		{"limits on, clients that listen", on(), true},
		{"limits on, naive clients", on(), false},
		{"limits off, naive clients", off(), false},
	}
	show.Of(len(scenarios))
	for _, s := range scenarios {
		show.Next("%s", s.name)
		row, err := scenario(ctx, o, dir, s.name, s.flags, s.heed)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintln(show.Over(os.Stdout), row)
		rows = append(rows, row)
	}
	return report(o, rows)
}

// scenario is one storm against a cluster of its own.
func scenario(ctx context.Context, o options, dir, name string, flags []string, heed bool) (row string, err error) {
	s, routers, err := begin(ctx, o, dir, flags)
	if err != nil {
		return "", err
	}
	defer func() { s.End(err) }()
	standing, err := s.stand(ctx, routers)
	if err != nil {
		return "", err
	}
	defer standing.Stop() //nolint:errcheck // it has said what is wrong
	crowd, err := load.NewFleet(o.processes, load.Spawn(niceness, workerArg))
	if err != nil {
		return "", err
	}
	defer crowd.Stop() //nolint:errcheck // likewise
	comers, err := spec(routers, heed)
	if err != nil {
		return "", err
	}
	press, err := load.NewPress(load.PressConfig{URL: "http://" + s.Nodes[0].Admin, Template: comers.Template, Topics: []string{topic}, Size: messageSize})
	if err != nil {
		return "", err
	}
	defer press.Close()
	published, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	if err := standing.Reset(press.Run, false); err != nil {
		cancel()
		return "", err
	}
	go func() {
		b, err := press.Publish(published, o.rate, o.window+time.Hour, false)
		if err == nil {
			err = b.Err()
		}
		done <- err
	}()
	before, all, during, err := watch(ctx, o, standing, crowd, comers, press)
	cancel()
	if err = errors.Join(err, <-done); err != nil {
		return "", err
	}
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("| %s | %d | %s | %s | %d | %d | %s | %s | %s | %d | %s |", name, all.Open, when(all, 50), when(all, 100), load.Busiest(all.Slices),
		all.Attempts().Attempts, millis(before, 99), millis(during, 99), millis(during, 100), during.Lost, strings.Fields(string(average))[0]), nil
}

// watch lets the crowd loose, and looks at what stands before and during that.
func watch(ctx context.Context, o options, standing, crowd *load.Fleet, comers load.Spec, press *load.Press) (before, all, during load.Totals, err error) {
	wait(ctx, 5*time.Second)
	if before, err = standing.Stats(true); err != nil {
		return before, all, during, err
	}
	if err = standing.Reset(press.Run, false); err != nil {
		return before, all, during, err
	}
	if all, err = come(ctx, crowd, comers, o); err != nil {
		return before, all, during, err
	}
	wait(ctx, time.Second)
	during, err = standing.Stats(true)
	return before, all, during, errors.Join(err, ctx.Err())
}

func report(o options, rows []string) error {
	text := fmt.Sprintf(`# A storm

Written by `+"`make storm`"+` (%s): %d clients come at once, each from an address of its own, to three routers and two gateways on the machine that
the clients run on, while %d sessions stand and get %g messages a second each. A client that listens comes back when its refusal says, with the reservation; a naive
one after a second, whatever it was told. "All" is how long it took until the last of those who got in was in, of at most %v. Clients and cluster share the machine's
cores, the clients with a lower priority: the load average is of both.

| | got in | half after | all after | most in a second | attempts | p99 of messages before | during | slowest | standing sessions closed | load average |
|---|---|---|---|---|---|---|---|---|---|---|
%s
`, time.Now().UTC().Format(time.DateOnly), o.clients, o.standing, o.rate, o.window, strings.Join(rows, "\n"))
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644) //nolint:gosec // documentation
}

// stage is the cluster of a scenario.
type stage struct {
	*testcluster.Stage
	o options
}

const routers = 3

// begin starts the routers, and two gateways, and waits until all routers have them.
func begin(ctx context.Context, o options, dir string, flags []string) (s *stage, addrs []string, err error) {
	s = &stage{o: o}
	if s.Stage, err = testcluster.NewStage(ctx, o.binary, dir, false); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			s.End(err)
		}
	}()
	ids := []string{"g1", "g2"}
	for range routers {
		n, err := s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Router, Flags: flags})
		if err != nil {
			return nil, nil, err
		}
		addrs = append(addrs, n.Addr)
	}
	for _, id := range ids {
		if _, err := s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Gateway, ID: id}); err != nil {
			return nil, nil, err
		}
	}
	for _, n := range s.Nodes[:routers] {
		if err := s.Await(ctx, n, ids...); err != nil {
			return nil, nil, err
		}
	}
	return s, addrs, nil
}

const (
	topic       = "standing"
	messageSize = 60
)

// stand opens the sessions that were there before the storm.
func (s *stage) stand(ctx context.Context, addrs []string) (*load.Fleet, error) {
	t, err := load.FindTemplate("ringside")
	if err != nil {
		return nil, err
	}
	f, err := load.NewFleet(load.Processes(s.o.standing), load.Spawn(0, workerArg))
	if err != nil {
		return nil, err
	}
	source := load.Loopback(1) // none of the crowd's addresses
	source.Shared, source.Behind = s.o.standing, 1
	err = f.Open(ctx, load.Spec{Template: t, Targets: addrs, Topics: []string{topic}, Dialers: 1, Back: load.Obedient, Source: source}, s.o.standing)
	if err != nil {
		return nil, errors.Join(err, f.Stop())
	}
	return f, nil
}

// wait lets the cluster run for a while.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
