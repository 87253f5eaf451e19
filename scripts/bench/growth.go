package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// growthArg as the first argument measures what a delivery and a session cost, against all that can grow.
const growthArg = "growth"

// growthOptions are the command line of `bench growth`.
type growthOptions struct {
	only   []string
	window time.Duration
	idle   time.Duration
	shrink int
	binary string
	out    string
	write  bool
	note   string

	command string // what to type to repeat it
}

func parseGrowth(args []string) (growthOptions, error) {
	var o growthOptions
	var all []string
	for _, a := range growthAxes() {
		all = append(all, a.Name)
	}
	fs := flag.NewFlagSet("bench "+growthArg, flag.ContinueOnError)
	only := fs.String("only", "", "axes to measure, comma-separated: "+strings.Join(all, ", ")+"; empty for all.\nWhat is not measured stays in the document as it was")
	fs.DurationVar(&o.window, "window", 10*time.Second, "length of the measurement of a point")
	fs.DurationVar(&o.idle, "idle", 25*time.Second, "length of a measurement without messages; sessions have a heartbeat every 25 s")
	fs.IntVar(&o.shrink, "shrink", 1, "divide numbers of sessions by this, to try it out")
	fs.StringVar(&o.binary, "binary", "", "ringside program to measure; empty builds the one of this tree")
	fs.StringVar(&o.out, "out", "docs/GROWTH.md", "file to write; results and pictures are kept in the folder bench beside it")
	fs.StringVar(&o.note, "note", "", "what is to be known of the run, for the document")
	fs.BoolVar(&o.write, "write", false, "measure nothing, and write the document of the results that are there")
	var err error
	if o.command, err = parseFlags(fs, args); err != nil {
		return o, err
	}
	for f := range strings.SplitSeq(*only, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		if !slices.Contains(all, f) {
			return o, fmt.Errorf("-only: there is no axis %q: want some of %s", f, strings.Join(all, ", "))
		}
		o.only = append(o.only, f)
	}
	if o.window <= 0 || o.idle <= 0 || o.shrink < 1 {
		return o, errors.New("-window, -idle and -shrink must be positive")
	}
	return o, nil
}

// runGrowth measures the axes that are asked for, and keeps each as soon as it is done.
func runGrowth(ctx context.Context, o growthOptions) error {
	if o.write {
		kept, err := readGrowth(growthFile(o.out))
		if err != nil {
			return err
		}
		return writeGrowth(o.out, kept)
	}
	var done func()
	var err error
	if o.binary, done, err = buildOnce(o.binary); err != nil {
		return err
	}
	defer done()
	var axes []axis
	steps := 0
	for _, a := range growthAxes() {
		if len(o.only) == 0 || slices.Contains(o.only, a.Name) {
			axes = append(axes, a)
			steps += len(a.Points)
		}
	}
	show.Of(steps)
	for _, a := range axes {
		r := &axisResult{Measured: time.Now().UTC(), Version: version(ctx), Machine: machine(), Versions: versions(), Command: o.command, Window: o.window, Note: o.note}
		var err error
		if r.Points, err = a.measure(ctx, o, a); err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		kept, err := readGrowth(growthFile(o.out))
		if err != nil {
			return err
		}
		kept.Axes[a.Name] = r
		if err := kept.save(growthFile(o.out)); err != nil {
			return err
		}
		if err := writeGrowth(o.out, kept); err != nil {
			return err
		}
	}
	return nil
}

// version is the state of the tree that the program is built from.
func version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "log", "-1", "--format=%h of %cs").Output()
	if err != nil {
		return "unknown"
	}
	v := strings.TrimSpace(string(out))
	if out, err = exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", "*.go", "go.mod").Output(); err == nil && len(out) > 0 {
		v += ", and changes"
	}
	return v
}

// measureAxis measures the points of an axis, each on a stage of its own.
func measureAxis(ctx context.Context, o growthOptions, a axis) (list []pointResult, err error) {
	for _, p := range a.Points {
		for i, sessions := range p.Sessions {
			if i == 0 {
				show.Next("%s, %s %s", a.Name, p.Series, count(p.X))
			}
			p.Sessions = []int{max(1, sessions/o.shrink)}
			r, err := measurePoint(ctx, o, p)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", p.Series, count(p.X), err)
			}
			say("%s, %s %s: %v", a.Name, p.Series, count(p.X), r)
			list = append(list, r)
			if !r.saturated() {
				break
			}
		}
	}
	return list, nil
}
