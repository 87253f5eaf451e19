package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
)

// noise is what comparing the same code has brought.
type noise struct {
	ratios                map[string][]float64 // at first
	pairs, seemed, failed int
}

// noise compares the tree with itself, linked in another order, again and again, and prints how far the ratios are from 1 and how many
// would have been taken for regressions, before and after those were measured again.
func (g *guard) noise(ctx context.Context, out io.Writer) error {
	t, err := g.tree("new", g.root)
	if err != nil {
		return err
	}
	var pkgs []string
	for _, target := range g.targets {
		pkgs = append(pkgs, target.pkg)
	}
	programs, err := t.build(ctx, pkgs...)
	if err != nil {
		return err
	}
	if err := t.layouts(ctx, programs, 1+2*moreLayouts); err != nil {
		return err
	}
	found := noise{ratios: map[string][]float64{}}
	for i := range g.trials {
		g.say("trial %d", i+1)
		g.rows, g.allowed = map[string]*row{}, nil
		for _, target := range g.targets {
			x, y := programs[target.pkg], programs[target.pkg]
			x.programs, y.programs = x.programs[:1+moreLayouts], y.programs[1+moreLayouts:]
			for _, p := range g.pairs(target, x, y) {
				if err := g.same(ctx, target, p, &found); err != nil {
					return err
				}
			}
		}
	}
	return found.write(out, g.limit)
}

// same compares a program with itself.
func (g *guard) same(ctx context.Context, t target, p *pair, found *noise) error {
	if err := p.rounds(ctx, g.rounds, p.bench); err != nil {
		return err
	}
	for name := range p.is {
		r := &row{Name: t.pkg + "." + name, Sockets: t.socket(name) != nil}
		g.rows[r.Name] = r
		found.ratios[r.Name] = append(found.ratios[r.Name], p.ratio(name))
		if found.pairs++; p.ratio(name) > r.limit(g.limit) {
			found.seemed++
		}
	}
	if err := g.judge(ctx, t, p); err != nil {
		return err
	}
	for name := range p.is {
		if r := g.rows[t.pkg+"."+name]; r.Verdict != "" {
			found.failed++
			g.say("FALSE ALARM: %s: %s", r.Name, r.Note)
		}
	}
	return nil
}

func (n *noise) write(out io.Writer, limit float64) error {
	far := 0.0
	for _, name := range sorted(n.ratios) {
		rs := n.ratios[name]
		slices.Sort(rs)
		least, most := rs[0], rs[len(rs)-1]
		far = max(far, math.Abs(math.Log(least)), math.Abs(math.Log(most)))
		fmt.Fprintf(out, "%-36s %.3f … %.3f, median %.3f\n", name, least, most, rs[len(rs)/2])
	}
	_, err := fmt.Fprintf(out, "\n%d pairs of the same code: ratios up to %.2f; %d above the limit of %.2f (with sockets %.2f), %d of them still when measured again\n",
		n.pairs, math.Exp(far), n.seemed, limit, limit*socketShare, n.failed)
	return err
}
