// Command guard holds the hot paths: what their benchmarks allocate is compared with what is written down in allocs.txt, and what they cost
// with the previous release, on this machine and by turns.
//
//	go run ./scripts/guard            all of it
//	go run ./scripts/guard -short     what can be held beside other work: allocations of all, and the cost of those that only compute
//	go run ./scripts/guard -update    writes allocs.txt
//
// It exits with 1 when something is worse than it may be, or allocs.txt is not true any more, and with 2 when it could not measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/ringside-edge/ringside/internal/look"
)

const (
	exitWorse  = 1
	exitFailed = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	worse, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "guard:", err)
		os.Exit(exitFailed)
	case worse:
		os.Exit(exitWorse)
	}
}

// options are what the command line says.
type options struct {
	short, update, json bool
	baseline            string
	only                *regexp.Regexp
	limit               float64
	rounds, trials      int
}

func parseOptions(args []string, errs io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("guard", flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.BoolVar(&o.short, "short", false, "leave out the cost of what goes through sockets")
	fs.BoolVar(&o.update, "update", false, "write scripts/guard/allocs.txt, and compare nothing")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.StringVar(&o.baseline, "baseline", "", "the `commit` to compare with; by default the previous release")
	fs.Float64Var(&o.limit, "limit", pureLimit, "the ratio to the previous release from which on it is a regression; of those with sockets a third more")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds of old, new, new, old")
	fs.IntVar(&o.trials, "noise", 0, "measure the noise instead: compare this tree with itself, linked in another order, so many `times`")
	only := fs.String("only", "", "the benchmarks whose names, such as leg.Seal, match the `expression`")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 || o.rounds < 1 || o.limit <= 1 || o.update && *only != "" {
		return o, errors.New("want flags only, -rounds of 1 or more, a -limit above 1, and -update without -only")
	}
	o.only, err = regexp.Compile(*only)
	return o, err
}

func run(ctx context.Context, args []string, out, errs io.Writer) (worse bool, err error) {
	o, err := parseOptions(args, errs)
	if err != nil {
		return false, err
	}
	top, err := command(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return false, err
	}
	temp, err := os.MkdirTemp("", "guard")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(temp)
	g := &guard{options: o, root: strings.TrimSpace(string(top)), temp: temp, began: time.Now(), progress: errs, targets: named(targets, o.only)}
	if len(g.targets) == 0 {
		return false, errors.New("no benchmark has such a name")
	}
	if o.trials > 0 {
		return false, g.noise(ctx, out)
	}
	rep, err := g.all(ctx)
	if err != nil || o.update {
		return false, err
	}
	if o.json {
		err = rep.writeJSON(out)
	} else {
		err = rep.write(out, look.Of(look.Auto, out, os.Environ()))
	}
	return rep.worse(), err
}

// guard is one run.
type guard struct {
	options
	root, temp string
	began      time.Time
	progress   io.Writer
	targets    []target

	allowed map[string]allowance
	rows    map[string]*row
}

// say tells what is under way, and how long it has been.
func (g *guard) say(format string, args ...any) {
	fmt.Fprintf(g.progress, "%5.1fs  "+format+"\n", append([]any{time.Since(g.began).Seconds()}, args...)...)
}

func (g *guard) file(name string) string { return filepath.Join(g.root, "scripts/guard", name) }

func (g *guard) tree(name, dir string) (tree, error) {
	t := tree{dir, filepath.Join(g.temp, name)}
	return t, os.MkdirAll(t.bin, 0o750)
}

// all does everything.
func (g *guard) all(ctx context.Context) (rep *report, err error) {
	if g.allowed, err = readAllowed(g.file("allowed.txt")); err != nil {
		return nil, err
	}
	g.rows = map[string]*row{}
	now, err := g.tree("new", g.root)
	if err != nil {
		return nil, err
	}
	g.say("building the benchmarks")
	var pkgs []string
	for _, t := range g.targets {
		pkgs = append(pkgs, t.pkg)
	}
	programs, err := now.build(ctx, pkgs...)
	if err != nil {
		return nil, err
	}
	for _, pkg := range pkgs {
		if programs[pkg].programs == nil {
			return nil, fmt.Errorf("%s has no benchmarks", pkg)
		}
	}
	rep = &report{Go: goVersion(), Limit: g.limit}
	if err := g.allocations(ctx, programs, rep); err != nil || g.update {
		return nil, err
	}
	hash, name, err := baseline(ctx, g.root, g.baseline)
	if err == nil {
		rep.Baseline = name
		err = g.costs(ctx, now, programs, hash, name)
	}
	if errors.Is(err, errNoBaseline) {
		rep.Baseline, rep.NoBaseline = "", err.Error()
	} else if err != nil {
		return nil, err
	}
	for _, name := range sorted(g.rows) {
		rep.Benchmarks = append(rep.Benchmarks, *g.rows[name])
	}
	return rep, nil
}

// allocations compares what is allocated with what is written down, or writes it.
func (g *guard) allocations(ctx context.Context, programs map[string]built, rep *report) error {
	found, sockets := map[string]allocs{}, map[string]*withSocket{}
	for _, t := range g.targets {
		g.say("allocations: %s", t.pkg)
		all, err := countAllocs(ctx, t, programs[t.pkg])
		if err != nil {
			return err
		}
		for name, a := range all {
			found[name], sockets[name] = a, t.socket(strings.TrimPrefix(name, t.pkg+"."))
		}
	}
	if g.update {
		return writeAllocs(g.file("allocs.txt"), found)
	}
	written, version, err := readAllocs(g.file("allocs.txt"))
	if err != nil {
		return err
	}
	if version != rep.Go {
		rep.OtherGo = version
	}
	for name, a := range found {
		r := &row{Name: name, Sockets: sockets[name] != nil, Allocs: a.allocs, Bytes: a.bytes}
		g.rows[name] = r
		if was, ok := written[name]; !ok {
			r.fail("not in allocs.txt", "update the file: make bench-guard-update")
		} else {
			r.judgeAllocs(a, was, sockets[name])
		}
	}
	for name := range written {
		if g.rows[name] == nil && g.only.String() == "" {
			g.rows[name] = &row{Name: name}
			g.rows[name].fail("only in allocs.txt", "update the file: make bench-guard-update")
		}
	}
	return nil
}
