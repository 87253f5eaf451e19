package main

import (
	"context"
	"errors"
	"time"

	"github.com/ringside-edge/ringside/internal/load"
)

// workerArg as the only argument makes the program a process of subscribers.
const workerArg = "worker"

// newFleet starts as many processes as the number of sessions needs; the caller calls Stop.
func newFleet(sessions int) (*load.Fleet, error) {
	return load.NewFleet(load.Processes(sessions), load.Spawn(0, workerArg))
}

// dialers is how many handshakes of a process are under way at once, and perSource how many of its sessions share an address: no limit by address,
// and no lack of ports, gets in the way.
const dialers, perSource = 64, 16

// rawSpec are subscribers of ringside.raw.
func rawSpec(addr string, topics []string) load.Spec {
	return load.Spec{Template: ringsideTemplate("ringside-raw"), Targets: []string{addr}, Topics: topics, Dialers: dialers, Source: load.Loopback(perSource)}
}

func ringsideTemplate(name string) load.Template {
	t, err := load.FindTemplate(name)
	if err != nil {
		panic("BUG: bench: " + err.Error())
	}
	return t
}

// Ways to publish: the URL of an admin port, or of Redis.
func httpURL(addr string) string  { return "http://" + addr }
func redisURL(addr string) string { return "redis://" + addr }

// newPress publishes to the topics in turn; the caller closes.
func newPress(url string, topics []string, size, connections int) (*load.Press, error) {
	return load.NewPress(load.PressConfig{URL: url, Template: ringsideTemplate("ringside-raw"), Topics: topics, Size: size, Connections: connections})
}

// deliveryLimit is how long the last frame may take; what has not come by then counts as missing.
const deliveryLimit = 15 * time.Second

// arrivedEvery is how often the processes of subscribers are asked.
const arrivedEvery = 200 * time.Millisecond

// deliver publishes what the fleet counts from then on, and waits until so many frames have come. What has not come in time is missing in the report;
// a connection that was lost, or a message that was not taken, is an error.
func deliver(ctx context.Context, f *load.Fleet, p *load.Press, rate float64, d time.Duration, each int, keep bool) (*load.Batch, load.Totals, error) {
	b, t, err := publishAll(ctx, f, p, rate, d, each, keep)
	if err == nil && t.Lost > 0 {
		err = errors.New("subscribers lost their connection: " + load.Reasons(t.Reasons))
	}
	return b, t, err
}

// publishAll is deliver where connections may be lost.
func publishAll(ctx context.Context, f *load.Fleet, p *load.Press, rate float64, d time.Duration, each int, keep bool) (*load.Batch, load.Totals, error) {
	if err := f.Reset(p.Run, keep); err != nil {
		return nil, load.Totals{}, err
	}
	b, err := p.Publish(ctx, rate, d, keep)
	if err == nil {
		err = errors.Join(ctx.Err(), b.Err())
	}
	if err != nil {
		return nil, load.Totals{}, err
	}
	for limit := time.Now().Add(deliveryLimit); ; {
		t, err := f.Stats(false)
		switch {
		case err != nil:
			return nil, t, err
		case t.Frames >= int64(b.Published)*int64(each), time.Now().After(limit):
			t, err = f.Stats(true)
			return b, t, err
		}
		if err := wait(ctx, arrivedEvery); err != nil {
			return nil, t, err
		}
	}
}
