package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	pureLimit   = 1.3 // as a ratio to the previous release; see docs/decisions/029-bench-guard.md
	socketShare = 1.33

	// What seems slower is measured again, so many rounds at a time and so many times: the least that it costs can only fall, and what the
	// machine did meanwhile goes away.
	againRounds = 6
	againTimes  = 3
)

// The windows of those that only compute are short, so that some of them lie between two other programs' turns on the processor, however many there are.
//
//nolint:gochecknoglobals // constants in all but name
var (
	pureWindow   = window{"1ms", 8}
	socketWindow = window{"100ms", 2}
)

// costs compares what the benchmarks cost with the earlier release.
func (g *guard) costs(ctx context.Context, now tree, is map[string]built, hash, name string) error {
	old, err := g.tree("old", filepath.Join(g.temp, "checkout"))
	if err != nil {
		return err
	}
	if err := checkout(ctx, g.root, hash, old.dir); err != nil {
		return err
	}
	g.say("building those of %s", name)
	was := map[string]built{}
	for _, t := range g.targets {
		b, ok, err := old.buildOld(ctx, t.pkg, g.root)
		switch {
		case err != nil && g.short && ctx.Err() == nil: // where its libraries can't be had, for example; allocations are held all the same
			return fmt.Errorf("%w: %s can't be built: %w", errNoBaseline, name, err)
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case !ok: // all of its benchmarks are new
			delete(is, t.pkg)
		case b.sum == is[t.pkg].sum:
			g.say("%s: the same program as in %s", t.pkg, name)
			for n, r := range g.rows {
				if strings.HasPrefix(n, t.pkg+".") && r.Verdict == "" {
					r.Note = "the same program"
				}
			}
			delete(is, t.pkg)
		default:
			was[t.pkg] = b
		}
	}
	g.say("linking in %d orders", 1+moreLayouts)
	if err := errors.Join(old.layouts(ctx, was, moreLayouts), now.layouts(ctx, is, moreLayouts)); err != nil {
		return err
	}
	for _, t := range g.targets {
		if _, ok := was[t.pkg]; !ok {
			continue
		}
		for _, p := range g.pairs(t, was[t.pkg], is[t.pkg]) {
			g.say("cost: %s, beside %s", t.pkg, name)
			if err := p.rounds(ctx, g.rounds, p.bench); err != nil {
				return err
			}
			if err := g.judge(ctx, t, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// pairs are what is measured of a target.
func (g *guard) pairs(t target, was, is built) (list []*pair) {
	if len(t.pure) > 0 {
		list = append(list, newPair(was, is, pattern(t.pure), pureWindow))
	}
	if len(t.sockets) > 0 && !g.short {
		list = append(list, newPair(was, is, pattern(t.socketNames()), socketWindow))
	}
	return list
}

// judge notes the ratios, and measures again what seems slower.
func (g *guard) judge(ctx context.Context, t target, p *pair) error {
	for name := range p.was {
		if p.is[name] == nil {
			g.rows[t.pkg+"."+name] = &row{Name: t.pkg + "." + name, Note: "gone"}
		}
	}
	for name := range p.is {
		r := g.rows[t.pkg+"."+name]
		if r == nil {
			return fmt.Errorf("BUG: guard: %s.%s has shown no allocations", t.pkg, name)
		}
		if p.was[name] == nil {
			continue
		}
		r.Limit = r.limit(g.limit)
		if a, ok := g.allowed[r.Name]; ok {
			r.Limit = a.ratio
			r.remark("allowed: " + a.why)
		}
		for i := 0; i < againTimes && p.ratio(name) > r.Limit; i++ {
			g.say("cost: %s seems to cost %.2f times as much: again", r.Name, p.ratio(name))
			if err := p.rounds(ctx, againRounds, exactly(name)); err != nil {
				return err
			}
		}
		if r.Ratio, r.Was, r.Is = p.ratio(name), p.was[name].cost(), p.is[name].cost(); r.Ratio > r.Limit {
			r.fail("slower", fmt.Sprintf("%.2f times what it cost; %.2f is the most", r.Ratio, r.Limit))
		}
	}
	return nil
}

// exactly is the expression for one benchmark.
func exactly(name string) string {
	parts := strings.Split("Benchmark"+name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
