package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// newStage starts a redis-server, a router and two gateways, and waits until the router is ready.
func newStage(ctx context.Context, binary, dir string, flags []string) (s *testcluster.Stage, router *testcluster.Node, err error) {
	if s, err = testcluster.NewStage(ctx, binary, dir); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			s.End(err)
		}
	}()
	if router, err = s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Router, Flags: flags}); err != nil {
		return nil, nil, err
	}
	ids := []string{"g1", "g2"}
	for _, id := range ids {
		if _, err = s.Start(ctx, testcluster.NodeSpec{Role: testcluster.Gateway, ID: id}); err != nil {
			return nil, nil, err
		}
	}
	return s, router, s.Await(ctx, router, ids...)
}

// storm is a real crowd that comes back.
type storm struct {
	plan
	router string
	began  time.Time

	mu   sync.Mutex
	sum  []slice
	open int
	odd  map[string]int // answers that are none of those that are expected
}

// runStorm has the plan's clients come to the router, and counts until all are back or the plan's time is over.
func runStorm(ctx context.Context, p plan, router string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Most)
	defer cancel()
	s := &storm{plan: p, router: router, began: time.Now(), odd: map[string]int{}}
	var wg sync.WaitGroup
	for i := range p.Clients {
		wg.Go(func() { s.live(ctx, i) })
	}
	for s.count() < p.Clients && pause(ctx, 10*time.Millisecond) == nil { // they are looked at, not waited for
	}
	end := time.Since(s.began)
	cancel()
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.odd) > 0 {
		return outcome{}, fmt.Errorf("answers that were not expected: %v", s.odd)
	}
	s.at(end)
	open := 0
	for i := range s.sum {
		open += s.sum[i].Opened
		s.sum[i].Open = open
	}
	return summarize(p, s.sum), nil
}

func (s *storm) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// at is the step that a moment is in; with mu held.
func (s *storm) at(d time.Duration) *slice {
	for len(s.sum) <= int(d/step) {
		s.sum = append(s.sum, slice{})
	}
	return &s.sum[d/step]
}

func (s *storm) note(f func(*slice)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.at(time.Since(s.began)))
}

// live is one client's: it comes until it is let in, and stays until the end.
func (s *storm) live(ctx context.Context, i int) {
	c := realClient{from: s.address(i), topic: fmt.Sprintf("storm-%d", i%200)}
	if pause(ctx, time.Duration(rand.Float64()*float64(s.Spread))) != nil {
		return
	}
	for tries := uint8(0); ; tries++ {
		s.note(func(n *slice) { n.Attempts++ })
		told, conn, err := c.attempt(ctx, s.router, s.Patience)
		switch {
		case conn != nil:
			defer conn.Close()
			s.note(func(n *slice) { n.Opened++; s.open++ })
			<-ctx.Done()
			return
		case ctx.Err() != nil:
			return
		case err != nil:
			s.note(func(n *slice) { n.Abandoned++ })
			if !expected(err) {
				s.note(func(*slice) { s.odd[err.Error()]++ })
			}
		default:
			s.note(func(n *slice) { n.Refused++ })
		}
		wait := s.Retry
		switch {
		case s.Policy && told > 0:
			wait, tries = told, 0
		case s.Policy:
			wait = backoff(tries, rand.Float64())
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// address is where a client comes from: those that share one come from one.
func (s *storm) address(i int) net.IP {
	n := i + 1<<16
	if i < int(s.Shared*float64(s.Clients)) {
		n = 1<<20 + i/max(1, s.Behind)
	}
	return net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))
}

// expected reports whether an attempt may end like this: a time-out, or a connection that the router let go.
func expected(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// realClient comes from one address to one topic.
type realClient struct {
	from  net.IP
	topic string
	pass  string
}

// attempt opens a session: its connection, or when to come again as it was told, 0 for not at all.
func (c *realClient) attempt(ctx context.Context, router string, patience time.Duration) (time.Duration, net.Conn, error) {
	deadline := time.Now().Add(patience)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.from}, Deadline: deadline}
	conn, err := d.DialContext(ctx, "tcp", router)
	if err != nil {
		return 0, nil, err
	}
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	told, in, err := c.ask(conn, router)
	if err != nil || !in {
		conn.Close()
		return told, nil, err
	}
	return 0, conn, nil
}

func (c *realClient) ask(conn net.Conn, router string) (told time.Duration, in bool, err error) {
	target := "/t/" + c.topic
	if c.pass != "" {
		target += "?pass=" + c.pass
	}
	c.pass = ""
	if _, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: "+router+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ringside.v1\r\n\r\n"); err != nil {
		return 0, false, err
	}
	r := bufio.NewReaderSize(conn, 1<<10)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, false, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_, err := r.Peek(2) // the welcome
		return 0, err == nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return 0, false, err
	}
	if resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
		return 0, false, fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(body))
	}
	var no struct {
		Retry int64  `json:"retry"`
		Pass  string `json:"pass"`
	}
	if err := json.Unmarshal(body, &no); err != nil {
		return 0, false, fmt.Errorf("a refusal that is no JSON: %s", strings.TrimSpace(string(body)))
	}
	c.pass = no.Pass
	if no.Retry == 0 {
		n, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		no.Retry = int64(n) * 1000
	}
	return time.Duration(no.Retry) * time.Millisecond, false, nil
}
