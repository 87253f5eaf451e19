package auth

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
)

// caller asks an application, within bounds. A call takes a place, for which it waits, unless too many wait already. After a
// row of failures nobody asks for a while, and then a few try. Safe for concurrent use.
type caller struct {
	name    string // label: rpc or webhook
	app     application
	cfg     CallConfig
	places  chan struct{}
	waiting atomic.Int64
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	metrics *callMetrics
}

// trials is how many calls may try whether the application is back.
const trials = 2

func newCaller(name string, app application, cfg CallConfig, log *zap.Logger) *caller {
	c := &caller{name: name, app: app, cfg: cfg, places: make(chan struct{}, cfg.Concurrency), metrics: newCallMetrics(name)}
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: trials,
		Timeout:     cfg.Pause,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= uint32(cfg.Failures) },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				log.Warn("the application does not answer: new sessions that need it are refused", zap.String("via", name), zap.Duration("for", cfg.Pause))
			case gobreaker.StateClosed:
				log.Info("the application answers again", zap.String("via", name))
			case gobreaker.StateHalfOpen:
			}
		},
	})
	return c
}

// do makes one call. f gets a context that ends in time.
func (c *caller) do(ctx context.Context, what call, f func(ctx context.Context) (verdict, error)) (verdict, *Refusal) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	v, r := c.ask(ctx, f)
	c.metrics.count(what, r, time.Since(began))
	switch r {
	case resultYes:
		return v, nil
	case resultNo:
		if v.message == "" {
			v.message = "the application says no"
		}
		return v, unauthorized(Denied, "%.200s", v.message)
	case resultError:
		return v, unavailable(AppError, "the application failed")
	case resultBusy:
		return v, unavailable(AppBusy, "the application is asked as much as it may be")
	case resultTimeout, resultDown, resultOpen, resultCanceled, results:
	}
	return v, unavailable(AppDown, "the application does not answer")
}

func (c *caller) ask(ctx context.Context, f func(ctx context.Context) (verdict, error)) (verdict, result) {
	if c.breaker.State() == gobreaker.StateOpen {
		return verdict{}, resultOpen
	}
	if !c.enter(ctx) {
		return verdict{}, resultBusy
	}
	defer func() { <-c.places }()
	done, err := c.breaker.Allow()
	if err != nil {
		return verdict{}, resultOpen
	}
	v, err := f(ctx)
	switch {
	case err == nil:
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = context.DeadlineExceeded
	case errors.Is(ctx.Err(), context.Canceled):
		err = context.Canceled
	}
	var strange *strangeError
	if errors.As(err, &strange) {
		done(nil) // it is there, and answers
		return v, resultError
	}
	done(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return v, resultTimeout
	case errors.Is(err, context.Canceled):
		return v, resultCanceled
	case err != nil:
		return v, resultDown
	case v.status == statusYes:
		return v, resultYes
	case v.status == statusNo:
		return v, resultNo
	}
	return v, resultError
}

// enter takes a place, which has to be given back.
func (c *caller) enter(ctx context.Context) bool {
	select {
	case c.places <- struct{}{}:
		return true
	default:
	}
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > int64(c.cfg.Waiting) {
		return false
	}
	select {
	case c.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// strangeError is an answer that is none.
type strangeError struct{ cause string }

func (e *strangeError) Error() string { return "the application's answer: " + e.cause }
