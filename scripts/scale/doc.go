package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
	"time"
)

//go:embed scale.md.tmpl
var docTemplate string

const (
	realCrowd     = 8000 // clients that come both in truth and in the simulation
	storyRouters  = 50   // of the simulated cluster
	storyCores    = 8    // of each of its routers, and as many of gateways for each
	storyMemory   = 16 << 30
	storyFiles    = 1 << 20
	storyBusy     = 0.6
	storyPorts    = 65535 - 1024 // with net.ipv4.ip_local_port_range as wide as can be
	defaultPorts  = 60999 - 32768
	gossipMembers = 200 // at least, of the largest crowd
)

//nolint:gochecknoglobals // constants in all but name
var (
	crowds = []struct {
		Name    string
		File    string
		Clients int
	}{
		{"500,000", "500k", 500_000}, {"2,200,000", "2.2m", 2_200_000}, {"10,000,000", "10m", 10_000_000},
	}
	members = []int{25, 50, 100, gossipMembers}
)

// document is what the template gets.
type document struct {
	Date, Machine, Load string
	Host                host
	Socket              float64
	Agreement           []agreement
	Crowds              []crowdStory
	Routers, Cores      int
	Gossip              []gossipResult
	Costs               costs
	Limits              limits
	DefaultPorts        int
	Need                need
	Nodes               []nodesFor
}

// agreement is one storm, simulated and in truth.
type agreement struct {
	Name            string
	Simulated, Real outcome
}

// crowdStory is what becomes of one crowd.
type crowdStory struct {
	Name, Picture string
	PerRouter     int
	Names         []string
	Outcomes      []outcome
}

// nodesFor is how many nodes a crowd needs, at one message per session and second and at a tenth of that.
type nodesFor struct {
	Name                                           string
	Routers, Gateways, QuietRouters, QuietGateways int
}

func doc(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("doc", flag.ContinueOnError)
	out := fs.String("out", "docs/SCALE.md", "file to write; its pictures go to the folder `scale` beside it")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return errors.New("want no arguments")
	}
	d := document{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: fmt.Sprintf("%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH),
		Routers: storyRouters, Cores: storyCores, DefaultPorts: defaultPorts,
	}
	show.Of(1 + len(kinds) + len(members) + len(crowds))
	for _, part := range []func(context.Context, *document) error{calibrated, agreements, gossiped} {
		if err := part(ctx, &d); err != nil {
			return err
		}
	}
	d.plan()
	if err := d.stories(filepath.Join(filepath.Dir(*out), "scale")); err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	d.Load = strings.Join(strings.Fields(string(load))[:3], ", ")
	return d.write(*out)
}

func calibrated(ctx context.Context, d *document) (err error) {
	show.Next("what a session costs here")
	d.Host, d.Socket, err = calibrate(ctx)
	say("a session costs %v to open, %v to refuse; an idle socket %.0f bytes of the kernel", d.Host.Handshake, d.Host.Refusal, d.Socket)
	return err
}

func agreements(ctx context.Context, d *document) error {
	for _, k := range kinds {
		p := usual(realCrowd, d.Host)
		p.Policy, p.Limits = k.policy, k.limits
		show.Next("%s, simulated and real", k.name)
		a := agreement{Name: k.name, Simulated: simulate(p)}
		var err error
		if a.Real, err = realStorm(ctx, p); err != nil {
			return err
		}
		say("%s: simulated %v; real %v", k.name, a.Simulated, a.Real)
		d.Agreement = append(d.Agreement, a)
	}
	return nil
}

func gossiped(ctx context.Context, d *document) error {
	for _, n := range members {
		show.Next("gossip with %d members", n)
		r, err := measureGossip(ctx, n)
		if err != nil {
			return err
		}
		say("%v", r)
		d.Gossip = append(d.Gossip, r)
	}
	return nil
}

// plan fills in the model of capacity.
func (d *document) plan() {
	d.Costs = measured
	d.Costs.Socket, d.Costs.Handshake = d.Socket, d.Host.Handshake.Seconds()*float64(runtime.NumCPU())
	d.Limits = limits{Cores: storyCores, Busy: storyBusy, Memory: storyMemory, Descriptors: storyFiles, Ports: storyPorts, Rate: 1}
	d.Need = capacity(d.Costs, d.Limits)
	quiet := d.Limits
	quiet.Rate = 0.1
	for _, c := range crowds {
		n := nodesFor{Name: c.Name}
		n.Routers, n.Gateways = d.Need.nodes(float64(c.Clients), d.Limits)
		n.QuietRouters, n.QuietGateways = capacity(d.Costs, quiet).nodes(float64(c.Clients), quiet)
		d.Nodes = append(d.Nodes, n)
	}
}

// stories simulates the crowds and draws them.
func (d *document) stories(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	h := d.Host
	h.Cores = storyCores
	h.Handshake = h.Handshake * time.Duration(runtime.NumCPU()) / storyCores
	h.Refusal = h.Refusal * time.Duration(runtime.NumCPU()) / storyCores
	for _, c := range crowds {
		show.Next("%s clients, simulated", c.Name)
		s := crowdStory{Name: c.Name, Picture: "scale/storm-" + c.File + ".svg", PerRouter: c.Clients / storyRouters}
		for _, k := range kinds {
			p := usual(s.PerRouter, h)
			p.Policy, p.Limits, p.Resume = k.policy, k.limits, true
			o := simulate(p)
			say("%s, %s: %v", c.Name, k.name, o)
			s.Names, s.Outcomes = append(s.Names, k.name), append(s.Outcomes, o)
		}
		title := fmt.Sprintf("%s clients come back to %d routers", c.Name, storyRouters)
		if err := picture(filepath.Join(dir, filepath.Base(s.Picture)), title, s.Names, s.Outcomes, storyRouters); err != nil {
			return err
		}
		d.Crowds = append(d.Crowds, s)
	}
	return nil
}

func (d *document) write(path string) error {
	t, err := template.New("scale").Funcs(template.FuncMap{
		"back": func(d time.Duration) string {
			if d == 0 {
				return "not in 10 min"
			}
			return fmt.Sprintf("%.2f s", d.Seconds())
		},
		"micros": func(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d)/1e3) },
		"ms":     func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/1e6) },
		"secs":   func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) },
		"times":  func(f, by float64) float64 { return f * by },
		"whole":  thousands,
	}).Parse(docTemplate)
	if err != nil {
		return fmt.Errorf("scale.md.tmpl: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, d); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// thousands is a number without its fraction, with commas.
func thousands(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func say(format string, args ...any) { show.Say(format, args...) }
