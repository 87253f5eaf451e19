package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/ringside-edge/ringside/internal/look"
	"github.com/ringside-edge/ringside/internal/progress"
)

type drainCmd struct {
	Shard   string        `arg:"" optional:"" help:"ID of the gateway to empty; the one whose admin port is asked when none is given."`
	Of      adminURL      `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`
	Timeout time.Duration `default:"10m" min:"1s" max:"24h" help:"How long to wait for the gateway to leave."`
	NoWait  bool          `help:"Only ask, don't wait."`

	asJSON
	credentials

	every time.Duration // between two looks at the ring; drainEvery when 0
}

const (
	drainEvery = 500 * time.Millisecond
	// drainPatience is how many looks at the ring may fail in a row.
	drainPatience = 10
)

// How a drain has ended, as `ringside drain --json` has it.
const (
	drainAsked       = "asked" // with --no-wait
	drainLeft        = "left"
	drainBack        = "back" // it has left, and was started again
	drainTimeout     = "timeout"
	drainInterrupted = "interrupted"
	drainLost        = "unknown" // nobody could be asked any more
)

// drainOutcome is what `ringside drain --json` prints, whatever the end.
type drainOutcome struct {
	Shard    string  `json:"shard"`
	Outcome  string  `json:"outcome"`
	Sessions uint64  `json:"sessions"` // left, when last seen
	Seconds  float64 `json:"seconds"`
}

// Run asks for the drain and shows how many sessions are left until the gateway is gone.
func (d *drainCmd) Run(ctx context.Context, std stdio) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	if d.Shard == "" {
		var err error
		if d.Shard, err = d.nodeOf(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	answer, err := d.ask(ctx, d.Of, http.MethodPost, "/drain?"+url.Values{"shard": {d.Shard}}.Encode(), nil)
	if err != nil {
		return fmt.Errorf("cannot drain %s: %w", d.Shard, err)
	}
	var begun struct {
		Sessions uint64 `json:"sessions"`
	}
	if err := json.Unmarshal(answer, &begun); err != nil {
		return notRingside(string(d.Of), string(answer))
	}
	if !d.JSON {
		fmt.Fprintf(std.out, "%s drains\n", d.Shard)
	}
	out := drainOutcome{Shard: d.Shard, Outcome: drainAsked, Sessions: begun.Sessions}
	text := ""
	if !d.NoWait {
		bar := progress.New(progress.Config{Out: std.err, Env: std.env, Style: std.style(std.err), Unit: "sessions"})
		text, err = d.wait(ctx, bar, &out)
		bar.End()
	}
	out.Seconds = time.Since(began).Seconds()
	if d.JSON {
		return errors.Join(printJSON(std.out, out), err)
	}
	if text != "" {
		fmt.Fprintln(std.out, text)
	}
	return err
}

// wait looks until the gateway has left, and returns what there is to say then.
func (d *drainCmd) wait(parent context.Context, bar *progress.Bar, out *drainOutcome) (text string, err error) {
	ctx, cancel := context.WithTimeout(parent, d.Timeout)
	defer cancel()
	tick := time.NewTicker(cmp.Or(d.every, drainEvery))
	defer tick.Stop()
	w := drainWatch{cmd: d, left: out.Sessions, most: out.Sessions}
	w.show(bar)
	for {
		select {
		case <-ctx.Done():
			out.Sessions = w.left
			if err := interrupted(parent); err != nil {
				out.Outcome = drainInterrupted
				return "", fmt.Errorf("%w: %s goes on draining", err, d.Shard)
			}
			out.Outcome = drainTimeout
			return "", &failure{
				code: exitUnfinished, err: fmt.Errorf("%s has not left after %v: it goes on without us", d.Shard, d.Timeout),
				advice: fmt.Sprintf("%d sessions were left. The same command waits again.", w.left),
			}
		case <-tick.C:
		}
		text, gone, err := w.look(ctx)
		switch {
		case ctx.Err() != nil: // the look was cut off: the next turn says why
			continue
		case err != nil:
			out.Outcome, out.Sessions = drainLost, w.left
			return "", err
		case gone:
			out.Outcome, out.Sessions = drainLeft, 0
			if w.back {
				out.Outcome = drainBack
			}
			bar.Set(d.Shard+" drains", 1, 1, "0 sessions left")
			return text, nil
		}
		w.show(bar)
	}
}

// nodeOf is the ID of the gateway that is asked.
func (d *drainCmd) nodeOf(ctx context.Context) (string, error) {
	answer, err := d.ask(ctx, d.Of, http.MethodGet, "/ring", nil)
	if err != nil {
		return "", err
	}
	var ring ringAnswer
	if err := json.Unmarshal(answer, &ring); err != nil {
		return "", notRingside(string(d.Of), string(answer))
	}
	for _, m := range ring.Members {
		if m.ID == ring.Node && m.Role == "gateway" {
			return m.ID, nil
		}
	}
	return "", usage(fmt.Errorf("%s is no gateway: name the one to empty", ring.Node))
}

// ringAnswer is what a drain needs of a ring.
type ringAnswer struct {
	Node    string `json:"node"`
	Members []struct {
		ID    string `json:"id"`
		Role  string `json:"role"`
		State string `json:"state"`
		Load  uint64 `json:"load"`
	} `json:"members"`
}

// drainWatch follows a drain in the ring.
type drainWatch struct {
	cmd      *drainCmd
	self     bool // the ring is the view of the gateway that drains, which will end
	draining bool // has been seen to drain
	back     bool // it has left, and is another one now
	failed   int  // looks in a row

	left, most uint64 // sessions, at the last look and ever
}

// show draws how far it is.
func (w *drainWatch) show(bar *progress.Bar) {
	bar.Set(w.cmd.Shard+" drains", float64(w.most-w.left), float64(max(w.most, 1)), fmt.Sprintf("%d sessions left", w.left))
}

// look asks for the ring; gone is whether the drain is over, and text what to say of it then.
func (w *drainWatch) look(ctx context.Context) (text string, gone bool, err error) {
	id := w.cmd.Shard
	answer, err := w.cmd.ask(ctx, w.cmd.Of, http.MethodGet, "/ring", nil)
	if err != nil {
		if w.self {
			return id + " has left, and its admin port with it", true, nil
		}
		if w.failed++; w.failed == drainPatience {
			return "", false, fmt.Errorf("cannot see how the drain goes on: %w", err)
		}
		return "", false, nil
	}
	var ring ringAnswer
	if err := json.Unmarshal(answer, &ring); err != nil {
		return "", false, notRingside(string(w.cmd.Of), string(answer))
	}
	w.failed, w.self = 0, ring.Node == id
	for _, m := range ring.Members {
		if m.ID != id || m.Role != "gateway" || m.State == "left" {
			continue
		}
		if w.draining && m.State != "draining" {
			w.back = true
			return look.Printable(id + " has left, and is back: " + m.State), true, nil
		}
		w.draining = m.State == "draining"
		w.left, w.most = m.Load, max(w.most, m.Load)
		return "", false, nil
	}
	return id + " has left", true, nil
}
