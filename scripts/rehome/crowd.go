package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringside-edge/ringside/internal/load"
)

// workerArg as the only argument makes the program a process of clients.
const workerArg = "worker"

const (
	dialers     = 64
	messageSize = 200 // bytes
)

// crowd are the clients: those of the gateway that is struck, and bystanders of others.
type crowd struct {
	sockets, events, bystanders *load.Fleet
	press                       *load.Press
	stop                        context.CancelFunc
	published                   chan error
	closed, wrong               int64 // before the last look
}

// open opens all sessions, and begins to publish to them, evenly over time.
func open(ctx context.Context, s *stage, o options, mine, others []string) (c *crowd, err error) {
	c = &crowd{published: make(chan error, 1), stop: func() {}}
	defer func() {
		if err != nil {
			c.published <- nil
			c.end()
		}
	}()
	for _, p := range []struct {
		fleet    **load.Fleet
		template string
		sessions int
		topics   []string
	}{{&c.sockets, "ringside", o.sessions, mine}, {&c.events, "ringside-events", o.events, mine}, {&c.bystanders, "ringside", o.bystanders, others}} {
		t, err := load.FindTemplate(p.template)
		if err != nil {
			return c, err
		}
		if *p.fleet, err = load.NewFleet(load.Processes(p.sessions), load.Spawn(0, workerArg)); err != nil {
			return c, err
		}
		spec := load.Spec{Template: t, Targets: []string{s.router.Addr}, Topics: p.topics, Dialers: dialers}
		if err := (*p.fleet).Open(ctx, spec, p.sessions); err != nil {
			return c, err
		}
	}
	all := append(append([]string(nil), mine...), others...)
	t, err := load.FindTemplate("ringside")
	if err != nil {
		return c, err
	}
	if c.press, err = load.NewPress(load.PressConfig{URL: s.Redis.URL(), Template: t, Topics: all, Size: messageSize}); err != nil {
		return c, err
	}
	for _, f := range c.fleets() {
		if err := f.Reset(c.press.Run, false); err != nil {
			return c, err
		}
	}
	published, cancel := context.WithCancel(ctx)
	c.stop = cancel
	go func() {
		b, err := c.press.Publish(published, o.rate*float64(len(all)), time.Hour, false)
		if err == nil {
			err = b.Err()
		}
		c.published <- err
	}()
	return c, nil
}

func (c *crowd) fleets() (list []*load.Fleet) {
	for _, f := range []*load.Fleet{c.sockets, c.events, c.bystanders} {
		if f != nil {
			list = append(list, f)
		}
	}
	return list
}

// quiet ends the publishing.
func (c *crowd) quiet() error {
	c.stop()
	err := <-c.published
	c.published <- nil
	return err
}

// end ends everything.
func (c *crowd) end() {
	c.stop()
	if err := <-c.published; err != nil { // of a scenario that has failed otherwise
		fmt.Fprintln(os.Stderr, "rehome:", err)
	}
	if c.press != nil {
		c.press.Close()
	}
	for _, f := range c.fleets() {
		_ = f.Stop() // what is wrong has been said
	}
}

// ping has every WebSocket client of the gateway send a ping, which whoever has the session answers.
func (c *crowd) ping(since time.Time) error {
	return c.sockets.Send(`{"type":"ping"}`, `"pong"`, since)
}

// look is what the clients have seen since the last look.
type look struct {
	closed, wrong int64 // since the beginning
	first         string
	pongs         *hdr.Histogram
	aside, all    *hdr.Histogram // latencies of the bystanders, and of the others
}

func (c *crowd) look() (l look, err error) {
	sum := map[string]int64{}
	for _, f := range c.fleets() {
		t, err := f.Stats(true)
		if err == nil {
			err = f.Reset(c.press.Run, false)
		}
		if err != nil {
			return l, err
		}
		c.closed += t.Lost
		c.wrong += t.Missing + t.Repeated + t.Disordered
		for reason, n := range t.Reasons {
			sum[reason] += n
		}
		switch f {
		case c.bystanders:
			l.aside = t.Latency
		case c.sockets:
			l.pongs = t.Echoes
			l.all = t.Latency
		default:
			l.all.Merge(t.Latency)
		}
	}
	l.closed, l.wrong, l.first = c.closed, c.wrong, load.Reasons(sum)
	return l, nil
}

// failed is an error when something has gone wrong.
func (l *look) failed() error {
	if l.closed+l.wrong == 0 {
		return nil
	}
	return errors.New("sessions were closed, or messages lost or repeated: " + l.first)
}
