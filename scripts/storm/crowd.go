package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

const (
	naiveWait = time.Second
	niceness  = 15 // the clients of a real storm bring their own CPUs; above that of the cluster
)

// workerArg as the only argument makes the program a process of clients.
const workerArg = "worker"

// crowdTopics is how many topics the crowd follows.
const crowdTopics = 100

// spec are clients that come at once, each from an address of its own.
func spec(routers []string, heed bool) (load.Spec, error) {
	t, err := load.FindTemplate("ringside")
	s := load.Spec{Template: t, Targets: routers, Back: load.Naive, Retry: naiveWait, Source: load.Loopback(1)}
	if heed {
		s.Back = load.Obedient
	}
	for i := range crowdTopics {
		s.Topics = append(s.Topics, fmt.Sprintf("storm-%d", i))
	}
	return s, err
}

// come lets a crowd loose, and tells what became of it once all are in, or the window is over.
func come(ctx context.Context, f *load.Fleet, s load.Spec, o options) (load.Totals, error) {
	ctx, cancel := context.WithTimeout(ctx, o.window)
	defer cancel()
	if err := f.Begin(s, o.clients); err != nil {
		return load.Totals{}, err
	}
	return f.Settle(ctx, nil)
}

// when is how long it took until a share of those who got in was in.
func when(t load.Totals, percent float64) string {
	return cmp.Or(map[bool]string{true: "–"}[t.Open == 0], load.Quantile(t.Back, percent).Round(100*time.Millisecond).String())
}

// millis is a quantile in ms.
func millis(t load.Totals, percent float64) string {
	return fmt.Sprintf("%.1f ms", float64(load.Quantile(t.Latency, percent))/float64(time.Millisecond))
}
