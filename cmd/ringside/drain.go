package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

type drainCmd struct {
	Shard   string        `arg:"" help:"ID of the gateway to empty."`
	Of      adminURL      `default:"http://127.0.0.1:8081" help:"Admin port of any router or gateway."`
	Timeout time.Duration `default:"10m" min:"1s" max:"24h" help:"How long to wait for the gateway to leave."`
	NoWait  bool          `help:"Only ask, don't wait."`

	credentials

	every time.Duration // between two looks at the ring; drainEvery when 0
}

const (
	drainEvery = 500 * time.Millisecond
	// drainPatience is how many looks at the ring may fail in a row.
	drainPatience = 10
)

// Run asks for the drain and says how many sessions are left until the gateway is gone.
func (d *drainCmd) Run(ctx context.Context, std stdio) error {
	if _, err := d.ask(ctx, d.Of, http.MethodPost, "/drain?"+url.Values{"shard": {d.Shard}}.Encode(), nil); err != nil {
		return fmt.Errorf("cannot drain %s: %w", d.Shard, err)
	}
	fmt.Fprintf(std.out, "%s drains\n", d.Shard)
	if d.NoWait {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	every := d.every
	if every == 0 {
		every = drainEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	w := drainWatch{cmd: d}
	for last := ""; ; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s has not left after %v: it goes on without us", d.Shard, d.Timeout)
		case <-tick.C:
		}
		line, gone, err := w.look(ctx)
		switch {
		case ctx.Err() != nil: // the look was cut off: the next turn says why
			continue
		case err != nil:
			return err
		}
		if line != last {
			fmt.Fprintln(std.out, line)
			last = line
		}
		if gone {
			return nil
		}
	}
}

// drainWatch follows a drain in the ring.
type drainWatch struct {
	cmd      *drainCmd
	self     bool // the ring is the view of the gateway that drains, which will end
	draining bool // has been seen to drain
	failed   int  // looks in a row
	line     string
}

// look asks for the ring and says how far the drain is.
func (w *drainWatch) look(ctx context.Context) (line string, gone bool, err error) {
	id := w.cmd.Shard
	answer, err := w.cmd.ask(ctx, w.cmd.Of, http.MethodGet, "/ring", nil)
	if err != nil {
		if w.self {
			return id + " has left, and its admin port with it", true, nil
		}
		if w.failed++; w.failed == drainPatience {
			return "", false, fmt.Errorf("cannot see how the drain goes on: %w", err)
		}
		return w.line, false, nil
	}
	var ring struct {
		Node    string `json:"node"`
		Members []struct {
			ID    string `json:"id"`
			Role  string `json:"role"`
			State string `json:"state"`
			Load  uint64 `json:"load"`
		} `json:"members"`
	}
	if err := json.Unmarshal(answer, &ring); err != nil {
		return "", false, errors.New("the answer is not a ring")
	}
	w.failed, w.self = 0, ring.Node == id
	for _, m := range ring.Members {
		if m.ID != id || m.Role != "gateway" || m.State == "left" {
			continue
		}
		if w.draining && m.State != "draining" {
			return id + " has left, and is back: " + m.State, true, nil
		}
		w.draining = m.State == "draining"
		w.line = fmt.Sprintf("%s is %s, %d sessions left", id, m.State, m.Load)
		return w.line, false, nil
	}
	return id + " has left", true, nil
}
