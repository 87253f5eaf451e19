package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// balancer is what stands in front of routers: it hands each connection to the first of its backends that answers.
type balancer struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	backends []string              // guarded by mu, and so are all below
	open     map[net.Conn]net.Conn // by the client's end
	accepted []time.Time
	broken   time.Time // when break was called last
}

func startBalancer(backends ...string) (*balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &balancer{listener: l, backends: backends, open: map[net.Conn]net.Conn{}}
	b.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { b.serve(c) })
		}
	})
	return b, nil
}

// serve passes bytes on until either side ends.
func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	b.mu.Lock()
	b.accepted = append(b.accepted, time.Now())
	backends := b.backends
	b.mu.Unlock()
	var router net.Conn
	err := errors.New("there are no backends")
	for _, addr := range backends {
		if router, err = net.Dial("tcp", addr); err == nil {
			break
		}
	}
	if err != nil {
		return
	}
	defer router.Close()
	b.mu.Lock()
	b.open[client] = router
	b.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, router}, {router, client}} {
		b.wg.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // how it ends is the business of the ends
			done <- struct{}{}
		})
	}
	<-done
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, client)
}

// cut breaks all connections.
func (b *balancer) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = time.Now()
	for client, router := range b.open {
		_, _ = client.Close(), router.Close()
	}
}

// back is how long after the cut the first connection came; zero while there is none.
func (b *balancer) back() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.accepted {
		if at.After(b.broken) {
			return at.Sub(b.broken)
		}
	}
	return 0
}

func (b *balancer) addr() string { return b.listener.Addr().String() }

func (b *balancer) close() {
	_ = b.listener.Close()
	b.cut()
	b.wg.Wait()
}
