// Command storm measures what sessions that stand feel of a crowd that comes at once, and when that crowd is in: with the limits
// on, once with clients that come back when they are told and once with clients that come back every second whatever they
// are told, and with the limits off.
//
// It starts everything itself (redis-server, three routers, two gateways, four processes of clients) on loopback, gives every
// client an address of its own out of 127.0.0.0/8, and ends all of it. It needs Linux, redis-server, and 20,000 open files per process.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

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
	if len(os.Args) > 1 && os.Args[1] == "crowd" {
		if err := crowd(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "storm: crowd:", err)
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
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

// off are the flags of a router without limits. What limits the accept rate is off too.
func off() []string { return []string{"--per-ip-rate=0", "--handshakes=0", "--accept-lag=0s"} }

// on makes loopback count as a client like any other.
func on() []string { return []string{"--per-ip-allow=192.0.2.1"} }

func run(ctx context.Context, o options) error {
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
	for _, s := range []struct {
		name  string
		flags []string
		heed  bool
	}{
		{"limits on, clients that listen", on(), true},
		{"limits on, naive clients", on(), false},
		{"limits off, naive clients", off(), false},
	} {
		row, err := scenario(ctx, o, dir, s.name, s.flags, s.heed)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Println(row)
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
	defer func() { s.end(err) }()
	st, err := stand(ctx, routers, o.standing)
	if err != nil {
		return "", err
	}
	defer st.end()
	crowds, err := s.crowds(ctx, routers, heed)
	if err != nil {
		return "", err
	}
	pub := publish(ctx, s.Nodes[0].Admin, o.rate)
	defer pub.end()
	wait(ctx, 5*time.Second)
	before := st.take()
	for _, c := range crowds {
		if _, err := io.WriteString(c.in, "go\n"); err != nil {
			return "", err
		}
	}
	var all outcome
	for _, c := range crowds {
		var one outcome
		if err := json.NewDecoder(c.out).Decode(&one); err != nil {
			return "", fmt.Errorf("a process of clients: %w", err)
		}
		all.add(one)
	}
	wait(ctx, time.Second)
	during := st.take()
	if pub.failed.Load() > 0 {
		return "", fmt.Errorf("%d messages could not be published", pub.failed.Load())
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("| %s | %d | %s | %s | %d | %d | %s | %s | %s | %d | %s |", name, all.In, all.when(0.5), all.when(1), all.busiest(),
		all.Attempts, before.p99, during.p99, during.worst, st.closed.Load(), strings.Fields(string(load))[0]), nil
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
	o     options
	procs []*exec.Cmd
}

const routers = 3

// begin starts the routers, and two gateways, and waits until all routers have them.
func begin(ctx context.Context, o options, dir string, flags []string) (s *stage, addrs []string, err error) {
	s = &stage{o: o}
	if s.Stage, err = testcluster.NewStage(ctx, o.binary, dir); err != nil {
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

// process is a process of clients.
type process struct {
	in  io.WriteCloser
	out io.Reader
}

func (s *stage) crowds(ctx context.Context, addrs []string, heed bool) (list []process, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	each := s.o.clients / s.o.processes
	for i := range s.o.processes {
		c := exec.CommandContext(ctx, self, "crowd", "-routers", strings.Join(addrs, ","), "-first", strconv.Itoa(i*each),
			"-clients", strconv.Itoa(each), "-heed="+strconv.FormatBool(heed), "-window", s.o.window.String())
		c.Stderr = os.Stderr
		var p process
		if p.in, err = c.StdinPipe(); err != nil {
			return nil, err
		}
		if p.out, err = c.StdoutPipe(); err != nil {
			return nil, err
		}
		if err := c.Start(); err != nil {
			return nil, err
		}
		s.procs = append(s.procs, c)
		list = append(list, p)
	}
	return list, nil
}

// end ends the clients and the cluster.
func (s *stage) end(err error) {
	for _, c := range s.procs {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	s.End(err)
}

// wait lets the cluster run for a while.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
