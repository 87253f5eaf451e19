package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// How a run is watched.
const (
	watchEvery = 500 * time.Millisecond
	askLimit   = 2 * time.Second // for asking all nodes once
	// rejoin is how long halves of a cluster may take to find each other again, beyond what any change may take: nodes
	// look for those that they have lost every 15 to 30 seconds.
	rejoin = 45 * time.Second
	// Memory may be above its level before the faults by this share and this much.
	memoryShare = 0.30
	memoryExtra = 20 << 20
)

// watch looks at the nodes while the faults are made.
type watch struct {
	r          *run
	apartSince time.Time // owned by the loop: since when the nodes have been seen to disagree

	mu       sync.Mutex
	metrics  map[*instance]string // guarded by mu, and so is all below: as last seen
	apart    bool                 // gossip is cut
	healed   time.Time            // when it was healed last
	longest  time.Duration        // that they have been seen to disagree
	rejoined time.Duration        // the same after a split
}

func newWatch(r *run) *watch { return &watch{r: r, metrics: map[*instance]string{}} }

// begin starts watching; the function that it returns ends it, waits for it, and looks a last time.
func (w *watch) begin(ctx context.Context) (end func()) {
	own, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-own.Done():
				return
			case <-tick.C:
				w.look(own)
			}
		}
	}()
	return func() { cancel(); <-done; w.count(ctx) }
}

// split notes that gossip is cut, or is no longer.
func (w *watch) split(apart bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart = apart
	w.healed = time.Now()
}

// limit is how long the nodes may disagree after the last change; 0 for as long as they like.
func (w *watch) limit() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.apart:
		return 0
	case !w.healed.IsZero() && time.Since(w.healed) < rejoin:
		return rejoin
	}
	return w.r.o.agree
}

// look compares the rings. A disagreement counts when it lasts for longer than a change may take to pass round.
func (w *watch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	w.count(ctx)
	changed, before := w.r.cluster.lastChange()
	err := w.r.cluster.agree(ctx)
	_, after := w.r.cluster.lastChange()
	limit := w.limit()
	if before != after || limit == 0 || ctx.Err() != nil || w.anyPaused() {
		w.apartSince = time.Time{}
		return
	}
	if err == nil {
		if !w.apartSince.IsZero() {
			w.agreed(time.Since(w.apartSince), limit)
		}
		w.apartSince = time.Time{}
		return
	}
	if w.apartSince.Before(changed) {
		w.apartSince = time.Now()
	}
	// A node that drains or starts changes the ring at moments of its own: what counts is a disagreement that lasts.
	if since := time.Since(w.apartSince); since > limit {
		w.r.violate(badRing, "for %.1f s: %v", since.Seconds(), err)
		w.r.cluster.touched() // once is enough
	}
}

// agreed notes that the nodes agree again, for which they had until limit.
func (w *watch) agreed(took, limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if limit == rejoin {
		w.rejoined = max(w.rejoined, took)
	} else {
		w.longest = max(w.longest, took)
	}
}

// anyPaused reports whether a node is stopped: for how long the others take it for alive is theirs to decide.
func (w *watch) anyPaused() bool {
	for _, p := range w.r.cluster.list("") {
		if i := p.live(); i != nil && i.paused.Load() {
			return true
		}
	}
	return false
}

// count keeps what every node counts, while it still can be asked.
func (w *watch) count(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range w.r.cluster.list("") {
		i := p.live()
		if i == nil || i.paused.Load() {
			continue
		}
		wg.Go(func() {
			resp, err := i.Get(ctx, "/metrics")
			if err == nil && resp.Status == http.StatusOK {
				w.keep(i, resp.Body)
			}
		})
	}
	wg.Wait()
}

// keep keeps what an instance counts. Once another process has taken over the answers are that one's.
func (w *watch) keep(i *instance, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if was := w.metrics[i]; was == "" || startOf(was) == startOf(text) {
		w.metrics[i] = text
	}
}

// startOf is when the process that counts has started.
func startOf(metrics string) string {
	_, rest, _ := strings.Cut(metrics, "\nprocess_start_time_seconds ")
	start, _, _ := strings.Cut(rest, "\n")
	return start
}

// movesMetric counts the sessions that a router has moved to another gateway.
const movesMetric = `ringside_router_moves_total{`

// totals are the sessions moved, over all lives of all routers, and the longest that the nodes disagreed, at other times and
// after a split.
func (w *watch) totals() (moves float64, longest, rejoined time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.metrics {
		moves += sumOf(text, movesMetric, `outcome="moved"`)
	}
	return moves, w.longest, w.rejoined
}

// sumOf adds up the series of a metric that have a label.
func sumOf(text, metric, label string) (sum float64) {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(name, metric) || !strings.Contains(name, label) {
			continue
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			sum += n
		}
	}
	return sum
}

// last is what an instance counted when it was asked last.
func (w *watch) last(i *instance) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.metrics[i]
}

// agreement waits until all nodes agree after the last fault.
func (r *run) agreement(ctx context.Context) error {
	changed, _ := r.cluster.lastChange()
	began := time.Now()
	limit := max(r.watch.limit(), r.o.agree)
	until := changed.Add(limit)
	if soon := time.Now().Add(askLimit); until.Before(soon) {
		until = soon // the change is long ago: they are asked all the same
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if err := testcluster.Poll(ctx, func() error { return r.cluster.agree(ctx) }); err != nil {
		return fmt.Errorf("%v after the last change: %w", limit, err)
	}
	r.watch.agreed(time.Since(began), limit)
	return nil
}

// memoryRow is the memory of a role's processes: the largest of them.
type memoryRow struct {
	Role          string
	Before, After int64 // bytes
	Name          string
	Logs          int64         // bytes that its topics' logs may make it hold: they are bounded, and fill with what is published
	Took          time.Duration // until it was within its limit
	Limit         int64
}

// measure is the memory of the largest process of each role.
func (r *run) measure() map[string]memoryRow {
	rows := map[string]memoryRow{}
	for _, p := range r.cluster.list("") {
		i := p.live()
		if i == nil {
			continue
		}
		n, err := memory(i.PID())
		if row := rows[p.role]; err == nil && n > row.After {
			rows[p.role] = memoryRow{Role: p.role, After: n, Name: p.name, Logs: r.logs(i)}
		}
	}
	return rows
}

// logs is what a gateway's logs may make it hold: as much again is garbage before it is collected.
func (r *run) logs(i *instance) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	n, err := i.Metric(ctx, "ringside_gateway_log_bytes")
	if err != nil {
		return 0 // a router has none
	}
	return 2 * int64(n)
}

// memory waits until every process is back at about the level before the faults.
func (r *run) memory(ctx context.Context, before map[string]memoryRow) []memoryRow {
	ctx, cancel := context.WithTimeout(ctx, r.o.settle)
	defer cancel()
	began := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var list []memoryRow
		over := false
		now := r.measure()
		for _, role := range []string{testcluster.Router, testcluster.Gateway} {
			row := now[role]
			row.Before = before[role].After
			row.Limit = row.Before + int64(memoryShare*float64(row.Before)) + memoryExtra + row.Logs - before[role].Logs
			row.Took = time.Since(began)
			over = over || row.After > row.Limit
			list = append(list, row)
		}
		if !over {
			return list
		}
		select {
		case <-ctx.Done():
			for _, row := range list {
				if row.After > row.Limit {
					r.violate(badMemory, "%s holds %.1f MiB, %.1f before the faults", row.Name, mib(row.After), mib(row.Before))
				}
			}
			return list
		case <-tick.C:
		}
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
