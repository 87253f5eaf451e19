//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/netlab"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

const (
	topicCount = 6
	perTopic   = 2 // sessions of each protocol
	pressEvery = 10 * time.Millisecond
)

// audience are clients on a host of their own, and a publisher.
type audience struct {
	w     *world
	redis string // host:port
	host  *netlab.Host
	subs  []*testcluster.Subscriber

	mu        sync.Mutex
	published int // guarded by mu

	cancel context.CancelFunc
	done   chan struct{}
}

// gather has the clients come, to the addresses that front names at that moment, and publishes.
func gather(ctx context.Context, w *world, redis string, front func() []string) (*audience, error) {
	host, err := w.newHost()
	if err != nil {
		return nil, err
	}
	a := &audience{w: w, redis: redis, host: host, done: make(chan struct{})}
	for i := range topicCount * perTopic * 2 {
		turn := i
		a.subs = append(a.subs, testcluster.Follow(testcluster.SubscriberConfig{
			Name: fmt.Sprintf("client %d", i), Topic: topic(i % topicCount), Dial: a.dial,
			Protocol: []testcluster.Protocol{testcluster.V1, testcluster.SSE}[i/topicCount%2],
			Base: func() string {
				turn++
				if list := front(); len(list) > 0 {
					return "http://" + list[turn%len(list)]
				}
				return "http://" + net.JoinHostPort(netlab.Middle, "9") // where nobody is
			},
		}))
	}
	ctx, a.cancel = context.WithCancel(ctx)
	if err := w.await(ctx, "clients are in", a.open); err != nil {
		return a, err
	}
	go a.publish(ctx)
	return a, a.more(ctx)
}

func topic(i int) string { return "match/" + strconv.Itoa(i) }

// dial connects from the clients' host.
func (a *audience) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	return dialFrom(ctx, a.w, a.host, network, addr)
}

func dialFrom(ctx context.Context, w *world, h *netlab.Host, network, addr string) (c net.Conn, err error) {
	err = w.lab.In(h, func() (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr) // of a numeric address: in this goroutine
		return err
	})
	return c, err
}

func (a *audience) open() error {
	var errs []error
	for _, s := range a.subs {
		errs = append(errs, s.Open())
	}
	return errors.Join(errs...)
}

// publish adds numbered messages by plain XADD, again when it is not known whether one was added: what stands in Redis is the truth.
func (a *audience) publish(ctx context.Context) {
	defer close(a.done)
	var conn *testcluster.Redis
	tick := time.NewTicker(pressEvery)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close() // nothing is on its way
			}
			return
		case <-tick.C:
		}
		var err error
		if conn == nil {
			if conn, err = testcluster.DialRedis(a.redis); err != nil {
				continue
			}
		}
		if _, err = conn.Add(topic(n%topicCount), strconv.Itoa(n), ""); err != nil {
			_ = conn.Close() // it is of no use any more
			conn = nil
			continue
		}
		n++
		a.mu.Lock()
		a.published = n
		a.mu.Unlock()
	}
}

func (a *audience) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.published
}

// more waits until everybody has had messages that were published from now on.
func (a *audience) more(ctx context.Context) error {
	goal := a.count() + 2*topicCount
	return a.w.await(ctx, "messages come", func() error {
		for _, s := range a.subs {
			n, _ := strconv.Atoi(s.LastData(s.Topics()[0])) // none is 0
			if n < goal {
				return fmt.Errorf("%v has had messages up to %d, %d are published (%w)", s, n, a.count(), connected(s))
			}
		}
		return nil
	})
}

func connected(s *testcluster.Subscriber) error {
	if err := s.Open(); err != nil {
		return err
	}
	return errors.New("it is connected")
}

// connections is how often each client has connected.
func (a *audience) connections() (list []int) {
	for _, s := range a.subs {
		list = append(list, s.Connections())
	}
	return list
}

// unnoticed does something that no client may notice: none connects anew.
func (a *audience) unnoticed(ctx context.Context, f func() error) error {
	before := a.connections()
	if err := f(); err != nil {
		return err
	}
	if err := a.more(ctx); err != nil {
		return err
	}
	if after := a.connections(); !slices.Equal(before, after) {
		return fmt.Errorf("clients noticed: connections were %v and are %v", before, after)
	}
	return nil
}

// finish ends the publishing, waits until all have had everything, and checks that it was once and in order.
func (a *audience) finish(ctx context.Context) error {
	a.cancel()
	<-a.done
	conn, err := testcluster.DialRedis(a.redis)
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range topicCount {
		truth, err := conn.Truth(topic(i))
		if err != nil {
			return err
		}
		for _, s := range a.subs {
			if s.Topics()[0] != topic(i) {
				continue
			}
			if err := a.w.await(ctx, "everything has come", func() error { return testcluster.Complete(s, topic(i), truth) }); err != nil {
				return err
			}
			if err := testcluster.Check(s, topic(i), truth, 0); err != nil {
				return err
			}
		}
	}
	a.w.say("%d messages, each to %d clients of its topic, once and in order", a.count(), 2*perTopic)
	return nil
}

func (a *audience) leave() {
	a.cancel()
	for _, s := range a.subs {
		s.Stop()
	}
}

// ask makes a request from a host.
func ask(ctx context.Context, w *world, from *netlab.Host, target string, header http.Header) (int, error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialFrom(ctx, w, from, network, addr)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, err
	}
	if header != nil {
		req.Header = header
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
