package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"
)

//go:embed redis_readers.md.tmpl
var readersTemplate string

// readers is a cluster whose reading is measured.
type readers struct {
	Gateways int
	Acks     bool
}

// readings are what one cluster costs, of all rounds: µs of CPU per message.
type readings struct {
	readers
	owner      []way // each topic has its subscribers where its slot is owned
	everywhere []way // and at every gateway
}

type readersData struct {
	redisHead
	Rate float64
	Rows []*readings
}

func measureReaders(ctx context.Context, o redisOptions, h redisHead) (string, error) {
	var rows []*readings
	for _, n := range o.gateways {
		for _, acks := range []bool{true, false} {
			rows = append(rows, &readings{readers: readers{n, acks}})
		}
	}
	order := slices.Clone(rows)
	for round := range o.rounds {
		for _, r := range order {
			show.Next("round %d of %d, %d gateways, acks %v", round+1, o.rounds, r.Gateways, r.Acks)
			if err := r.measure(ctx, o); err != nil {
				return "", fmt.Errorf("%d gateways, acks %v: %w", r.Gateways, r.Acks, err)
			}
		}
		slices.Reverse(order)
	}
	return reportReaders(h, o.rate, rows)
}

func reportReaders(h redisHead, rate float64, rows []*readings) (string, error) {
	d := readersData{redisHead: h, Rate: rate, Rows: rows}
	for _, r := range rows {
		d.note(slices.Concat(r.owner, r.everywhere))
	}
	return render(readersTemplate, d)
}

// measure starts the cluster and measures it with either kind of subscribers.
func (r *readings) measure(ctx context.Context, o redisOptions) error {
	var flags []string
	if !r.Acks {
		flags = append(flags, "--no-acks")
	}
	s, err := newStage(ctx, o.binary, cast{routers: 1, gateways: r.Gateways, gatewayFlags: flags})
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return err
	}
	w, err := r.at(ctx, o, s, []string{s.router.Addr})
	if err != nil {
		return err
	}
	r.owner = append(r.owner, w)
	var all []string
	for _, g := range s.gateways {
		all = append(all, g.Addr)
	}
	if w, err = r.at(ctx, o, s, all); err == nil {
		r.everywhere = append(r.everywhere, w)
		say("%d gateways, acks %v: redis %.1f µs at the owner, %.1f everywhere; gateways %.1f, %.1f",
			r.Gateways, r.Acks, r.owner[len(r.owner)-1].Redis(), w.Redis(), r.owner[len(r.owner)-1].AllGateways(), w.AllGateways())
	}
	return err
}

// at measures with a subscriber of each topic at each target.
func (r *readings) at(ctx context.Context, o redisOptions, s *stage, targets []string) (w way, err error) {
	topics := o.topicNames(partReaders)
	f, err := newFleet(len(topics) * len(targets))
	if err != nil {
		return w, err
	}
	defer f.Stop() //nolint:errcheck // the measurement is done, and a process of subscribers that failed has said so
	for i, t := range targets {
		if err := f.Open(ctx, rawSpec(t, topics), (i+1)*len(topics)); err != nil {
			return w, err
		}
	}
	p, err := newPress(redisURL(s.redis.Addr), topics, o.size, 1)
	if err != nil {
		return w, err
	}
	defer p.Close()
	w = way{Gateways: r.Gateways, Via: viaXADD}
	if _, _, err := deliver(ctx, f, p, o.rate, redisWarmup, len(targets), false); err != nil {
		return w, err
	}
	if w.Idle, err = s.idleLoad(ctx, redisIdle); err != nil {
		return w, err
	}
	return w, w.busy(ctx, s, f, p, o.rate, o.window, len(targets))
}

const (
	redisWarmup = time.Second     // of publishing before a measurement
	redisIdle   = 3 * time.Second // without any, of which the use of CPU is taken off
)

// Owner and Everywhere are µs of Redis per message.
func (r *readings) Owner() float64      { return of(r.owner, (*way).Redis) }
func (r *readings) Everywhere() float64 { return of(r.everywhere, (*way).Redis) }

// OwnerGateways and EverywhereGateways are µs of all gateways together, and OwnerIdle ms of Redis per second without messages.
func (r *readings) OwnerGateways() float64      { return of(r.owner, (*way).AllGateways) }
func (r *readings) EverywhereGateways() float64 { return of(r.everywhere, (*way).AllGateways) }
func (r *readings) Idle() float64               { return of(r.owner, (*way).RedisIdle) }

// OwnerRounds are the rounds of Owner.
func (r *readings) OwnerRounds() []float64      { return each(r.owner, (*way).Redis) }
func (r *readings) EverywhereRounds() []float64 { return each(r.everywhere, (*way).Redis) }

func each[T any](list []T, f func(*T) float64) (v []float64) {
	for i := range list {
		v = append(v, f(&list[i]))
	}
	return v
}

func of[T any](list []T, f func(*T) float64) float64 { return median(each(list, f)) }

// counted is the sum of a metric of all gateways.
func (s *stage) counted(ctx context.Context, name string) (sum float64, err error) {
	for _, g := range s.gateways {
		v, e := g.Metric(ctx, name)
		sum, err = sum+v, errors.Join(err, e)
	}
	return sum, err
}
