// Package bench measures a server with the load of package load: at a steady rate, at rates that rise up to the one that it does not hold,
// under a storm of subscribers that come back, and by handshakes alone. It returns what it saw as a [Result], and writes that as text, JSON, CSV or
// a page. It starts no servers.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

// Mode is what is measured.
type Mode string

// The modes.
const (
	Steady     Mode = "steady"     // a rate for a while
	Ramp       Mode = "ramp"       // rates that rise until one is not held
	Storm      Mode = "storm"      // all subscribers are cut off and come back
	Handshakes Mode = "handshakes" // nothing but connections
)

// Process is a process whose processor time and memory are told.
type Process struct {
	Name string
	PID  int
}

// Config is a measurement. Spec, Subscribers and Spawn are required, and Publish but for handshakes and storms.
type Config struct {
	Mode        Mode
	Command     string // that repeats it
	Spec        load.Spec
	Subscribers int
	Processes   int           // of subscribers; 0 for as many as are needed
	OpenLimit   time.Duration // that it may take until all are open
	Spawn       load.Spawner

	Publish     string // URL
	Token       string
	Connections int
	Batch       int
	Size        int
	Rate        float64 // messages per second, over all topics
	Duration    time.Duration
	Warmup      time.Duration
	Settle      time.Duration               // that the last messages may take
	Stride      int                         // from the topic of a message to that of the next; 0 for one
	Rest        func(context.Context) error // called between the warm-up and the measurement of a steady rate; nil for nothing

	Step    time.Duration // of a ramp
	Factor  float64       // between its rates
	Limit   time.Duration // p99 that a rate must stay below
	Refine  int           // rates that are tried between the last that held and the first that did not
	MaxRate float64

	Ways   []load.Back   // of storms
	Spread time.Duration // in which all are cut off
	Retry  time.Duration
	Window time.Duration // that a storm is watched

	FailP99  time.Duration // 0 for none
	Watched  []Process
	Progress func(title string, done, total float64, detail string) // nil for nobody
}

// Check says what is wrong with the configuration.
func (c *Config) Check() error {
	publishes := c.Mode == Steady || c.Mode == Ramp
	switch {
	case c.Subscribers < 1:
		return errors.New("want a subscriber at least")
	case c.Processes > 0 && (c.Subscribers+c.Processes-1)/c.Processes > load.PerProcess:
		return fmt.Errorf("%d subscribers are too many for %d processes: want %d at most in each", c.Subscribers, c.Processes, load.PerProcess)
	case publishes && c.Publish == "":
		return errors.New("want to know where to publish, or this one has no messages to measure")
	case (publishes || c.Publish != "") && (c.Rate <= 0 || c.Rate > 1e6):
		return fmt.Errorf("a rate of %g messages per second can't be had", c.Rate)
	case publishes && c.Mode == Steady && c.Duration <= 0, c.Mode == Ramp && c.Step <= 0, c.Mode == Storm && c.Window <= 0:
		return errors.New("want a duration")
	case c.Mode == Ramp && (!(c.Factor > 1) || c.Limit <= 0):
		return errors.New("a ramp wants a factor above 1, and a limit")
	case c.Mode == Storm && len(c.Ways) == 0:
		return errors.New("a storm wants subscribers that come back")
	case c.OpenLimit <= 0:
		return errors.New("want a time for subscribers to be opened")
	case c.Spec.Hot < 0 || c.Spec.Hot > 1:
		return errors.New("the hot share is one of 0 to 1")
	}
	return nil
}

// runner is a measurement under way.
type runner struct {
	cfg   Config
	fleet *load.Fleet
	press *load.Press // nil where nothing is published
	res   *Result
	each  []int // open subscribers of each topic
}

// Run measures. When ctx ends it stops early, and the result tells what there is, with Interrupted set.
func Run(ctx context.Context, cfg Config) (res *Result, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Processes == 0 {
		cfg.Processes = load.Processes(cfg.Subscribers)
	}
	r := &runner{cfg: cfg, res: newResult(cfg)}
	if r.fleet, err = load.NewFleet(cfg.Processes, cfg.Spawn); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.fleet.Stop()) }()
	if cfg.Publish != "" {
		r.press, err = load.NewPress(load.PressConfig{URL: cfg.Publish, Template: cfg.Spec.Template, Topics: cfg.Spec.Topics, Size: cfg.Size,
			Connections: cfg.Connections, Batch: cfg.Batch, Stride: cfg.Stride, Token: cfg.Token})
		if err != nil {
			return nil, err
		}
		defer r.press.Close()
	}
	mode := map[Mode]func(context.Context) error{Steady: r.steady, Ramp: r.ramp, Storm: r.storm, Handshakes: r.handshakes}[cfg.Mode]
	if err = mode(ctx); err != nil {
		return nil, err
	}
	r.res.Took = time.Since(r.res.Started).Seconds()
	r.res.Interrupted = ctx.Err() != nil
	return r.res, nil
}

// say tells how far what goes on is.
func (r *runner) say(title string, done, total float64, format string, args ...any) {
	if r.cfg.Progress != nil {
		r.cfg.Progress(title, done, total, fmt.Sprintf(format, args...))
	}
}

// open opens all subscribers, and tells how that went.
func (r *runner) open(ctx context.Context) (Connects, error) {
	began := time.Now()
	if err := r.fleet.Begin(r.cfg.Spec, r.cfg.Subscribers); err != nil {
		return Connects{}, err
	}
	limit, cancel := context.WithTimeout(ctx, r.cfg.OpenLimit)
	defer cancel()
	t, err := r.fleet.Settle(limit, func(t load.Totals) {
		if t.Open == 0 && !(r.cfg.Spec.Leave && t.Settled > 0) && time.Since(began) > r.cfg.OpenLimit/4 {
			cancel() // nobody is there
		}
		r.say("subscribers open", float64(t.Settled), float64(r.cfg.Subscribers), "%d of %d", t.Settled, r.cfg.Subscribers)
	})
	if err != nil {
		return Connects{}, err
	}
	if r.each, err = r.fleet.Topics(); err != nil {
		return Connects{}, err
	}
	sum := t.Attempts()
	c := Connects{
		Wanted: r.cfg.Subscribers, Open: t.Open, Opened: sum.Opened, Attempts: sum.Attempts, Refused: sum.Refused, Failed: sum.Abandoned,
		Seconds: t.Last.Seconds(), Percentiles: load.PercentilesOf(t.Connect), Reasons: t.Reasons, hist: t.Connect, slices: t.Slices,
	}
	if c.Seconds > 0 {
		c.Rate = float64(sum.Opened) / c.Seconds
	}
	if sum.Opened == 0 && ctx.Err() == nil {
		return c, fmt.Errorf("not one subscriber could be opened: %s", load.Reasons(t.Reasons))
	}
	return c, nil
}

// use is what processes have used so far.
type use struct {
	at        time.Time
	watched   []time.Duration
	publisher time.Duration
	fleet     []time.Duration
	unused    time.Duration
}

// usage reads the clocks. Where the system does not tell, nothing is told.
func (r *runner) usage() (u use, err error) {
	u.at = time.Now()
	for _, p := range r.cfg.Watched {
		d, err := load.CPUTime(p.PID)
		if err != nil {
			return u, fmt.Errorf("cannot watch %s: %w", p.Name, err)
		}
		u.watched = append(u.watched, d)
	}
	all, err := load.CPUTime(os.Getpid()) // with the processes that it has started
	if err != nil {
		return u, nil //nolint:nilerr // there is no /proc here
	}
	for _, pid := range r.fleet.PIDs() {
		d, err := load.CPUTime(pid)
		if err != nil {
			return u, err
		}
		u.fleet = append(u.fleet, d)
		all -= d
	}
	u.publisher = all
	u.unused, err = load.UnusedTime()
	return u, err
}
