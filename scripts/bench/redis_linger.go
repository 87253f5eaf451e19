package main

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

//go:embed redis_linger.md.tmpl
var lingerTemplate string

// lingering is one cluster of the comparison, and its outcomes by rate and round.
type lingering struct {
	Linger time.Duration
	stage  *stage
	fleet  *load.Fleet
	press  *load.Press
	idle   clock
	rounds map[float64][]woken
}

// woken is a measurement with what its gateway has counted.
type woken struct {
	way
	reads, entries, lingered float64
}

// Wakes are blocking reads that were answered, per second.
func (w *woken) Wakes() float64    { return w.reads / w.Busy.took.Seconds() }
func (w *woken) PerRead() float64  { return w.entries / w.reads }
func (w *woken) Lingered() float64 { return 1000 * w.lingered / w.Busy.took.Seconds() }
func (w *woken) P50() float64      { return inMillis(load.Quantile(w.total, 50)) }
func (w *woken) P99() float64      { return inMillis(load.Quantile(w.total, 99)) }

type lingerData struct {
	redisHead
	Rows []lingerRow
}

// lingerRow is a cluster at a rate: medians.
type lingerRow struct {
	Rate                               float64
	Linger                             string
	Redis, Gateway                     float64
	Wakes, PerRead, Lingered, P50, P99 float64
	Rounds                             []float64 // Redis
}

func measureLinger(ctx context.Context, o redisOptions, h redisHead) (string, error) {
	arms := []*lingering{{Linger: 0}, {Linger: 2 * time.Millisecond}}
	for _, a := range arms {
		a.rounds = map[float64][]woken{}
		defer a.stop()
		if err := a.start(ctx, o); err != nil {
			return "", err
		}
	}
	for round := range o.rounds {
		for i := range o.rates {
			for turn := range arms {
				a, rate := arms[(turn+round+i)%len(arms)], o.rates[i]
				show.Next("round %d of %d, %g/s, linger %v", round+1, o.rounds, rate, a.Linger)
				if err := a.measure(ctx, o, rate); err != nil {
					return "", fmt.Errorf("%g/s, linger %v: %w", rate, a.Linger, err)
				}
			}
		}
	}
	return reportLinger(h, o.rates, arms)
}

func reportLinger(h redisHead, rates []float64, arms []*lingering) (string, error) {
	d := lingerData{redisHead: h}
	for _, rate := range rates {
		for _, a := range arms {
			list := a.rounds[rate]
			row := lingerRow{Rate: rate, Linger: a.Linger.String(),
				Redis:  of(list, func(w *woken) float64 { return w.Redis() }),
				Rounds: each(list, func(w *woken) float64 { return w.Redis() }), Gateway: of(list, func(w *woken) float64 { return w.AllGateways() }),
				Wakes: of(list, (*woken).Wakes), PerRead: of(list, (*woken).PerRead), Lingered: of(list, (*woken).Lingered),
				P50: of(list, (*woken).P50), P99: of(list, (*woken).P99)}
			messages := 0
			for i := range list {
				messages += list[i].Messages
				d.note([]way{list[i].way})
			}
			if messages < fewestMessages {
				row.Redis, row.Gateway, row.Rounds = math.NaN(), math.NaN(), nil
			}
			d.Rows = append(d.Rows, row)
		}
	}
	return render(lingerTemplate, d)
}

// The CPU time of few messages is lost in that of everything else; a window has so many at least for their latency.
const fewestMessages, windowMessages = 1000, 100

func (a *lingering) start(ctx context.Context, o redisOptions) (err error) {
	if a.stage, err = newStage(ctx, o.binary, cast{routers: 1, gateways: 1, gatewayFlags: []string{"--read-linger", a.Linger.String()}}); err != nil {
		return err
	}
	topics := o.topicNames(partLinger)
	if a.fleet, err = newFleet(len(topics)); err != nil {
		return err
	}
	if err := a.fleet.Open(ctx, rawSpec(a.stage.gateways[0].Addr, topics), len(topics)); err != nil {
		return err
	}
	a.press, err = newPress(redisURL(a.stage.redis.Addr), topics, o.size, 1)
	if err != nil {
		return err
	}
	if _, _, err := deliver(ctx, a.fleet, a.press, o.rate, redisWarmup, 1, false); err != nil {
		return err
	}
	a.idle, err = a.stage.idleLoad(ctx, redisIdle)
	return err
}

func (a *lingering) stop() {
	if a.press != nil {
		a.press.Close()
	}
	if a.fleet != nil {
		_ = a.fleet.Stop() // a process of subscribers that failed has said so
	}
	if a.stage != nil {
		a.stage.stop()
	}
}

// measure publishes at a rate.
func (a *lingering) measure(ctx context.Context, o redisOptions, rate float64) error {
	window := max(o.window, time.Duration(windowMessages/rate*float64(time.Second)))
	w := woken{way: way{Gateways: 1, Via: viaXADD, Idle: a.idle}}
	if _, _, err := deliver(ctx, a.fleet, a.press, rate, redisWarmup, 1, false); err != nil {
		return err
	}
	counts := func(sign float64) error {
		for name, v := range map[string]*float64{"reads_total": &w.reads, "entries_total": &w.entries, "lingered_seconds_total": &w.lingered} {
			n, err := a.stage.counted(ctx, "ringside_stream_"+name)
			if err != nil {
				return err
			}
			*v += sign * n
		}
		return nil
	}
	if err := counts(-1); err != nil {
		return err
	}
	if err := w.busy(ctx, a.stage, a.fleet, a.press, rate, window, 1); err != nil {
		return err
	}
	if err := counts(1); err != nil {
		return err
	}
	a.rounds[rate] = append(a.rounds[rate], w)
	say("%g/s, linger %v: redis %.1f, gateway %.1f µs; %.0f wakes/s, %.2f entries each; p50 %.2f, p99 %.2f ms", rate, a.Linger,
		w.Redis(), w.AllGateways(), w.Wakes(), w.PerRead(), w.P50(), w.P99())
	return nil
}
