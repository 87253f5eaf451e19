package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// hotArg as the first argument measures what a hot topic does to the others.
const hotArg = "hot"

// hotOptions are the command line of the measurement.
type hotOptions struct {
	sessions int
	gateways int
	window   time.Duration
	rounds   int
	binary   string
	out      string
	command  string
}

const (
	hotTopic    = "finals"
	quietTopics = 100
	warmTopics  = 90  // what the sessions of the hot topic follow in the control
	quietRate   = 100 // messages per second, over all quiet topics
	hotRate     = 1   // messages per second of the hot one, and of each in the control
	hotShare    = 0.9 // of the sessions follow it
	hotLimit    = 1.3 // times the mean: no gateway may have more
	steadyAfter = 15 * time.Second

	hotConnections = 8   // of a publisher to a router
	hotSize        = 200 // bytes of a message
)

func parseHot(args []string) (hotOptions, error) {
	var o hotOptions
	fs := flag.NewFlagSet("bench hot", flag.ContinueOnError)
	fs.IntVar(&o.sessions, "sessions", 4000, "sessions, of which nine in ten follow one topic")
	fs.IntVar(&o.gateways, "gateways", 4, "gateways; there are two routers")
	fs.DurationVar(&o.window, "window", 10*time.Second, "length of one measurement of latency")
	fs.IntVar(&o.rounds, "rounds", 2, "rounds: without the hot topic, then with it")
	fs.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	fs.StringVar(&o.out, "out", "docs/HOT.md", "file to write; - for the standard output")
	var err error
	if o.command, err = parseFlags(fs, args); err != nil {
		return o, err
	}
	if o.sessions < 40 || o.gateways < 2 || o.rounds < 1 || o.window <= 0 {
		return o, errors.New("want 40 sessions, 2 gateways and a round at least")
	}
	return o, checkLimit(o.sessions)
}

// condition is what there is beside the quiet topics.
type condition int

const (
	alone      condition = iota // nothing
	warm                        // as many sessions as in hot that follow many topics, and get as many messages in the same moments
	hot                         // sessions that follow one topic
	conditions                  // their number
)

//nolint:gochecknoglobals // a constant in all but name
var besides = [conditions]string{"alone", "beside warm ones", "beside the hot one"}

// hotRun is a measurement under way.
type hotRun struct {
	o          hotOptions
	stage      *stage
	quiet, hot []*load.Fleet               // one for each router
	quantiles  [][conditions]time.Duration // p99 of the quiet topics, by round
	dedicated  [][2]time.Duration          // the same alone and beside the hot topic, which has gateways, a router and a processor of its own
	lines      []string
	worst      float64
}

func runHot(ctx context.Context, o hotOptions) error {
	s, err := newStage(ctx, o.binary, cast{routers: 2, gateways: o.gateways})
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return err
	}
	h := &hotRun{o: o, stage: s}
	for range s.routers {
		for _, fs := range []*[]*load.Fleet{&h.quiet, &h.hot} {
			f, err := newFleet(o.sessions)
			if err != nil {
				return err
			}
			defer f.Stop() //nolint:errcheck // the measurement is done, and a process of subscribers that failed has said so
			*fs = append(*fs, f)
		}
	}
	show.Of(o.rounds * (int(conditions) + 1))
	for i := range o.rounds {
		if err := h.round(ctx, i+1); err != nil {
			return err
		}
	}
	if err := h.apart(ctx); err != nil {
		return err
	}
	return h.write()
}

// apart gives the hot topic machines of its own, as operators would: two dedicated gateways and a router, on a processor that nothing else
// runs on. The quiet topics, their clients and Redis have the other.
func (h *hotRun) apart(ctx context.Context) error {
	gateways := h.stage.gateways
	half := len(gateways) / 2
	var ids []string
	for _, g := range gateways[half:] {
		ids = append(ids, g.ID)
	}
	for _, path := range append([]string{"/pins/" + hotTopic + "?shards=" + strings.Join(ids, ",")}, prefixed("/dedicated/", ids)...) {
		r, err := testcluster.Do(ctx, http.MethodPut, "http://"+h.stage.routers[0].Admin+path, "", nil)
		if err != nil || r.Status != http.StatusOK {
			return fmt.Errorf("PUT %s: %d %s, %w", path, r.Status, r.Body, err)
		}
	}
	cores := map[int][]int{0: {os.Getpid(), h.stage.redis.PID(), h.stage.routers[0].PID()}, 1: {h.stage.routers[1].PID()}}
	for i, g := range gateways {
		cores[i/half] = append(cores[i/half], g.PID())
	}
	for core, fs := range [][]*load.Fleet{h.quiet, h.hot} {
		for _, f := range fs {
			if err := f.Close(); err != nil {
				return err
			}
			cores[core] = append(cores[core], f.PIDs()...)
		}
	}
	if err := bind(ctx, cores); err != nil {
		return err
	}
	if err := wait(ctx, steadyAfter); err != nil {
		return err
	}
	quiet, crowd := names("quiet", quietTopics), int(float64(h.o.sessions)*hotShare)
	if err := h.quiet[0].Open(ctx, rawSpec(h.stage.routers[0].Addr, quiet), h.o.sessions-crowd); err != nil {
		return err
	}
	for i := range h.o.rounds {
		show.Next("round %d of %d, the hot topic apart", i+1, h.o.rounds)
		var p99 [2]time.Duration
		var err error
		if p99[0], err = h.latency(ctx, quiet, nil); err != nil {
			return err
		}
		if err := h.hot[0].Open(ctx, rawSpec(h.stage.routers[1].Addr, []string{hotTopic}), crowd); err != nil {
			return err
		}
		if p99[1], err = h.latency(ctx, quiet, []string{hotTopic}); err != nil {
			return err
		}
		say("apart, round %d: quiet topics alone %s ms, beside the hot one %s ms", i+1, millis(p99[0]), millis(p99[1]))
		h.dedicated = append(h.dedicated, p99)
		if err := h.hot[0].Close(); err != nil {
			return err
		}
	}
	return nil
}

// bind lets processes run on one core each: the PIDs of each core.
func bind(ctx context.Context, cores map[int][]int) error {
	for core, pids := range cores {
		for _, pid := range pids {
			if out, err := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", strconv.Itoa(core), strconv.Itoa(pid)).CombinedOutput(); err != nil {
				return fmt.Errorf("taskset: %w: %s", err, out)
			}
		}
	}
	return nil
}

func prefixed(prefix string, ids []string) (paths []string) {
	for _, id := range ids {
		paths = append(paths, prefix+id)
	}
	return paths
}

// open opens half of the sessions at each router, all at once.
func (h *hotRun) open(ctx context.Context, fs []*load.Fleet, topics []string, sessions int) error {
	errs := make([]error, len(fs))
	var wg sync.WaitGroup
	for i, f := range fs {
		wg.Go(func() { errs[i] = f.Open(ctx, rawSpec(h.stage.routers[i].Addr, topics), sessions/len(fs)) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// round measures the quiet topics alone, beside sessions that follow many topics, and beside the hot one, whose sessions come as a burst.
func (h *hotRun) round(ctx context.Context, n int) error {
	quiet, others := names("quiet", quietTopics), names("warm", warmTopics)
	crowd := int(float64(h.o.sessions) * hotShare)
	if n == 1 {
		if err := h.open(ctx, h.quiet, quiet, h.o.sessions-crowd); err != nil {
			return err
		}
	}
	var p99 [conditions]time.Duration
	for c, topics := range [conditions][]string{warm: others, hot: {hotTopic}} {
		show.Next("round %d of %d, quiet topics %s", n, h.o.rounds, besides[c])
		if err := h.beside(ctx, n, condition(c), topics, crowd); err != nil {
			return err
		}
		var err error
		if p99[c], err = h.latency(ctx, quiet, topics); err != nil {
			return err
		}
		say("round %d, quiet topics %v: p99 %s ms", n, besides[c], millis(p99[c]))
		for _, f := range h.hot {
			if err := f.Close(); err != nil {
				return err
			}
		}
		if err := wait(ctx, 5*time.Second); err != nil { // until everybody knows that they have gone
			return err
		}
	}
	h.quantiles = append(h.quantiles, p99)
	return nil
}

// beside opens the sessions of a condition, and notes where those of the hot topic are.
func (h *hotRun) beside(ctx context.Context, n int, c condition, topics []string, crowd int) error {
	if c == alone {
		return nil
	}
	begun := time.Now()
	if err := h.open(ctx, h.hot, topics, crowd); err != nil || c != hot {
		return err
	}
	if err := h.balance(ctx, n, fmt.Sprintf("burst, %d sessions in %.1f s", crowd, time.Since(begun).Seconds())); err != nil {
		return err
	}
	if err := wait(ctx, steadyAfter); err != nil {
		return err
	}
	return h.balance(ctx, n, fmt.Sprintf("steady, %.0f s later", steadyAfter.Seconds()))
}

func names(kind string, n int) []string {
	topics := make([]string, n)
	for i := range topics {
		topics[i] = fmt.Sprintf("%s-%d", kind, i)
	}
	return topics
}

// balance notes how the sessions are spread over the gateways.
func (h *hotRun) balance(ctx context.Context, n int, when string) error {
	var counts []string
	var sum, most float64
	for _, g := range h.stage.gateways {
		v, err := g.Metric(ctx, "ringside_gateway_sessions")
		if err != nil {
			return err
		}
		counts = append(counts, fmt.Sprintf("%.0f", v))
		sum, most = sum+v, max(most, v)
	}
	ratio := most / (sum / float64(len(counts)))
	h.worst = max(h.worst, ratio)
	h.lines = append(h.lines, fmt.Sprintf("| %d | %s | %s | %.2f |", n, when, strings.Join(counts, ", "), ratio))
	say("round %d, %s: %s, largest %.2f times the mean", n, when, strings.Join(counts, ", "), ratio)
	return nil
}

// latency publishes for a window, to the quiet topics and to all others in the same moments, and returns the p99 of the quiet ones. The others are
// published at the last router: where the hot topic has one of its own, at that.
func (h *hotRun) latency(ctx context.Context, quiet, others []string) (p99 time.Duration, err error) {
	p, err := newPress(httpURL(h.stage.routers[0].Admin), quiet, hotSize, hotConnections)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	var wg sync.WaitGroup
	if len(others) > 0 {
		louder, err := newPress(httpURL(h.stage.routers[len(h.stage.routers)-1].Admin), others, hotSize, hotConnections)
		if err != nil {
			return 0, err
		}
		defer louder.Close()
		defer wg.Wait()
		wg.Go(func() { _, _ = louder.Publish(ctx, hotRate*float64(len(others)), h.o.window, false) }) // its loss shows in nothing that is measured
	}
	for _, f := range h.quiet {
		if err := f.Reset(p.Run, false); err != nil {
			return 0, err
		}
	}
	b, err := p.Publish(ctx, quietRate, h.o.window, false)
	if err == nil {
		err = errors.Join(ctx.Err(), b.Err())
	}
	if err == nil {
		err = wait(ctx, time.Second)
	}
	if err != nil {
		return 0, err
	}
	frames := int64(0)
	for _, f := range h.quiet {
		t, err := f.Stats(true)
		if err != nil {
			return 0, err
		}
		frames += t.Frames
		if t.Lost > 0 {
			return 0, fmt.Errorf("%d quiet sessions were closed", t.Lost)
		}
		p99 = max(p99, load.Quantile(t.Latency, 99))
	}
	if frames == 0 {
		return 0, errors.New("the quiet topics got nothing")
	}
	return p99, nil
}

// write writes the report, and fails when a gateway had too much.
func (h *hotRun) write() error {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# One hot topic\n\nWritten by `%s` on %s, with %s; load average of the machine at the end: %s.\n\n", h.o.command,
		time.Now().UTC().Format("2 January 2006"), machine(), strings.Join(strings.Fields(string(load))[:3], ", "))
	fmt.Fprintf(&b, "%d sessions at two routers and %d gateways, of which %.0f %% follow one topic and the others %d quiet ones. All run on one machine.\n\n",
		h.o.sessions, h.o.gateways, 100*hotShare, quietTopics)
	fmt.Fprintf(&b, "## Sessions of each gateway\n\n| round | when | sessions | largest over mean |\n|---|---|---|---|\n%s\n\n", strings.Join(h.lines, "\n"))
	fmt.Fprintf(&b, "The largest is %.2f times the mean; %.1f is allowed.\n\n", h.worst, hotLimit)
	fmt.Fprintf(&b, "## Latency of the quiet topics\n\np99 from the publish to the subscriber's socket, %d messages per second over all of them, %d per second to the hot one.\n\n"+
		"| round | alone | beside as many sessions of %d topics | beside the hot topic |\n|---|---|---|---|\n", quietRate, hotRate, warmTopics)
	for i, q := range h.quantiles {
		fmt.Fprintf(&b, "| %d | %s ms | %s ms | %s ms |\n", i+1, millis(q[alone]), millis(q[warm]), millis(q[hot]))
	}
	b.WriteString("\nThe column in the middle is the control: as many further sessions, which get as many messages in the same moments, but from many topics. What lies between it and the first is " +
		"what that many deliveries at once take of two shared CPUs, of which gateways, routers and clients live; what lies between it and the last is what one hot topic does to the others.\n")
	b.WriteString("\n## A hot topic with machines of its own\n\n`ringside dedicate` and `ringside pin` give it half of the gateways; they, a router and its clients run on one processor, " +
		"the quiet topics with Redis on the other, as they would on machines of their own. p99 of the quiet topics:\n\n| round | without the hot topic | with it |\n|---|---|---|\n")
	for i, q := range h.dedicated {
		fmt.Fprintf(&b, "| %d | %s ms | %s ms |\n", i+1, millis(q[0]), millis(q[1]))
	}
	if h.o.out == "-" {
		fmt.Print(b.String())
	} else if err := os.WriteFile(h.o.out, []byte(b.String()), 0o644); err != nil {
		return err
	}
	if h.worst > hotLimit {
		return fmt.Errorf("a gateway had %.2f times the mean", h.worst)
	}
	return nil
}
