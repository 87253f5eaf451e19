package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// bystanders are sessions that must not notice what hostile clients do, and publishers who don't stop meanwhile.
type bystanders struct {
	t       *testing.T
	a       *audience
	traffic *traffic
}

func newBystanders(t *testing.T, c *testcluster.Cluster, redis *testcluster.RedisServer) *bystanders {
	t.Helper()
	return &bystanders{t, join(t, c, redis, []string{"calm"}, 6), publishers(t, c, redis, []string{"calm"}, 2, 0)}
}

// goOn waits until each of them has got a few messages more.
func (b *bystanders) goOn() {
	b.t.Helper()
	for _, s := range b.a.subs {
		want := s.Count("calm") + 5
		eventually(b.t, fmt.Sprintf("%v goes on", s), func() error {
			if got := s.Count("calm"); got < want {
				return fmt.Errorf("%d messages, want %d", got, want)
			}
			return nil
		})
	}
}

// verify ends the publishers and holds that everybody has everything, over the connection that they had.
func (b *bystanders) verify() {
	b.t.Helper()
	b.traffic.end()
	b.a.verify(b.t)
	b.a.nobodyNoticed(b.t)
}

// value waits until a metric of n has a value, summed over the labels.
func value(t *testing.T, n *testcluster.Node, want float64, metric string, labels ...string) {
	t.Helper()
	atLeast(t, n, want, metric, labels...)
	if got, err := n.Metric(t.Context(), metric, labels...); err != nil || got != want {
		t.Errorf("%s: %s%v: got %v, %v, want %v", n.Name, metric, labels, got, err, want)
	}
}

// atLeast waits until a metric of n has a value or more.
func atLeast(t *testing.T, n *testcluster.Node, want float64, metric string, labels ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s: %s%v", n.Name, metric, labels), func() error {
		got, err := n.Metric(t.Context(), metric, labels...)
		if err == nil && got < want {
			err = fmt.Errorf("got %v, want %v", got, want)
		}
		return err
	})
}

// none waits until a gauge of n is 0.
func none(t *testing.T, n *testcluster.Node, metric string) {
	t.Helper()
	eventually(t, n.Name+": "+metric, func() error {
		got, err := n.Metric(t.Context(), metric)
		if err == nil && got != 0 {
			err = fmt.Errorf("got %v, want 0", got)
		}
		return err
	})
}

// halfHead is a request that is not over.
const halfHead = "GET /t/calm HTTP/1.1\r\nHost: edge.example\r\nX-Slow: "

// connectFrom connects to addr from an address of this machine's. What is nil was closed at once.
func connectFrom(t *testing.T, addr string, from net.IP) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: testcluster.Limit()}
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testcluster.Limit()))
	return conn
}

// flood connects n times, each from an address of its own, or all from one, and says the same on each. It returns those that were not
// closed at once.
func flood(t *testing.T, addr string, n int, own bool, say string) []net.Conn {
	t.Helper()
	var conns []net.Conn
	for i := range n {
		from := net.IPv4(127, 7, 0, 1)
		if own {
			from = net.IPv4(127, 8, byte(i>>8), byte(i)|1)
		}
		conn := connectFrom(t, addr, from)
		if conn == nil {
			continue
		}
		if _, err := io.WriteString(conn, say); err == nil {
			conns = append(conns, conn)
		}
	}
	return conns
}

// honest opens a session and leaves it.
func honest(t *testing.T, n *testcluster.Node) {
	t.Helper()
	conn := dialWebSocket(t, n, "/t/calm", "ringside.v1")
	if _, b, err := conn.ReadMessage(); err != nil || !strings.Contains(string(b), `"welcome"`) {
		t.Errorf("%s: got %q, %v, want a welcome", n.Name, b, err)
	}
	conn.Close()
}

// TestSlowloris has 300 clients that never finish their request: silent, with half a head, and byte by byte. While they hang, others come
// and go and the sessions go on; each ends with 408 when its time is over, and is counted.
func TestSlowloris(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1, "--handshake-timeout=10s") // in which all have to come, and an honest client too
	b := newBystanders(t, c, redis)
	const each = 100
	for _, n := range c.Nodes() {
		metric := "ringside_" + n.Role + "_refused_total"
		conns := flood(t, n.Addr, each, true, "")
		conns = append(conns, flood(t, n.Addr, each, true, halfHead)...)
		driblets := flood(t, n.Addr, each, true, halfHead)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { dribble(driblets, stop) })
		atLeast(t, n, 3*each, "ringside_"+n.Role+"_http_connections")
		honest(t, n)
		b.goOn()
		for i, conn := range append(conns, driblets...) {
			if answer, err := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
				t.Errorf("%s, client %d: got %.100q, %v, want a 408", n.Name, i, answer, err)
			}
		}
		close(stop)
		wg.Wait()
		value(t, n, 3*each, metric, `reason="slow_request"`)
		none(t, n, "ringside_"+n.Role+"_http_connections")
	}
	b.verify()
}

// dribble sends a byte on each connection now and then, until stop is closed.
func dribble(conns []net.Conn, stop chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for _, conn := range conns {
			_, _ = io.WriteString(conn, "x") // until it is closed
		}
	}
}

// TestFloodOfOneAddress has an address that connects 200 times and says nothing: it gets its part of the places, and others get in.
func TestFloodOfOneAddress(t *testing.T) {
	const mine, flooding = 8, 200
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1, "--handshake-timeout=1m")
	router := c.AddRouter("--http-connections=64", fmt.Sprintf("--per-ip-connections=%d", mine), "--per-ip-allow=192.0.2.0/24", "--handshake-timeout=1m")
	c.WaitReady()
	c.WaitConverged()
	b := newBystanders(t, c, redis)
	conns := flood(t, router.Addr, flooding, false, "")
	value(t, router, flooding-mine, "ringside_router_http_connections_closed_total", `reason="per_ip"`)
	honest(t, router)
	b.goOn()
	var open atomic.Int64
	open.Store(int64(len(conns)))
	for _, conn := range conns {
		go func() { _, _ = conn.Read(make([]byte, 1)); open.Add(-1) }()
	}
	eventually(t, "the rest are closed", func() error {
		if n := open.Load(); n != mine {
			return fmt.Errorf("%d are open, want %d", n, mine)
		}
		return nil
	})
	for _, conn := range conns {
		conn.Close()
	}
	none(t, router, "ringside_router_http_connections")
	again := flood(t, router.Addr, 1, false, "GET /t/calm HTTP/1.1\r\nHost: x\r\n\r\n") // it is counted no more
	if len(again) != 1 {
		t.Fatal("the address does not get in any more")
	}
	if answer, err := io.ReadAll(again[0]); !strings.HasPrefix(string(answer), "HTTP/1.1 426 ") {
		t.Errorf("got %.100q, %v, want a 426", answer, err)
	}
	b.verify()
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error) //nolint:errorlint // a socket's read returns it bare
	return ok && ne.Timeout()
}

// TestFloodOfManyAddresses has far more clients connect than there are places, each from an address of its own, and say nothing, or half
// of a request. They make room long before their time is over; nobody waits for it, and no session notices.
func TestFloodOfManyAddresses(t *testing.T) {
	const places = 64
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1, fmt.Sprintf("--http-connections=%d", places), "--handshake-timeout=3s")
	b := newBystanders(t, c, redis)
	for _, n := range c.Nodes() {
		value(t, n, places, "ringside_"+n.Role+"_http_connections_limit")
		flood(t, n.Addr, 3*places, true, "")
		flood(t, n.Addr, 3*places, true, halfHead)
		honest(t, n)
		b.goOn()
		atLeast(t, n, places, "ringside_"+n.Role+"_http_connections_closed_total", `reason="crowded"`)
		most, err := n.Metric(t.Context(), "ringside_"+n.Role+"_http_connections")
		if err != nil || most > places {
			t.Errorf("%s: %v connections, %v, want %d at most", n.Name, most, err, places)
		}
	}
	b.verify()
}

// TestFloodOfFewDescriptors has more clients connect than the process may have descriptors: it goes on.
func TestFloodOfFewDescriptors(t *testing.T) {
	const descriptors = 600
	script := filepath.Join(t.TempDir(), "ringside")
	text := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", descriptors, testcluster.Binary(t))
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	c.Add(testcluster.NodeSpec{Role: testcluster.Router, Binary: script, Flags: []string{"--handshake-timeout=2s"}})
	c.Add(testcluster.NodeSpec{Role: testcluster.Gateway, ID: "g1", Binary: script, Flags: []string{"--handshake-timeout=2s"}})
	c.WaitReady()
	c.WaitConverged()
	b := newBystanders(t, c, redis)
	for _, n := range c.Nodes() {
		flood(t, n.Addr, 2*descriptors, true, "")
		honest(t, n)
		b.goOn()
		value(t, n, descriptors/8, "ringside_"+n.Role+"_http_connections_limit")
		value(t, n, 0, "ringside_"+n.Role+"_accept_errors_total")
		if n.Exited() {
			t.Errorf("%s has ended", n.Name)
		}
	}
	b.verify()
}

// TestUnfinishedFrames has sessions that begin a large message and send it byte by byte, without end.
func TestUnfinishedFrames(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	b := newBystanders(t, c, redis)
	var slow []net.Conn
	for _, n := range c.Nodes() {
		for range 50 {
			conn, _ := upgrade(t, n.Addr, "/t/calm")
			if _, err := io.WriteString(conn, "\x01\xff\x00\x00\x00\x00\x00\x01\x00\x00mask"); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, conn)
		}
	}
	for range 64 {
		for _, conn := range slow {
			if _, err := io.WriteString(conn, "m"); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.goOn()
	for _, n := range c.Nodes() {
		value(t, n, 0, "ringside_"+n.Role+"_closed_total")
	}
	for _, conn := range slow {
		conn.Close()
	}
	for _, n := range c.Nodes() { // for client, or for an error: what they had not read was lost
		atLeast(t, n, 50, "ringside_"+n.Role+"_closed_total")
	}
	b.verify()
}

// closedForIt is how many sessions were closed because their answers were not read, or because they sent too much in too short a time.
func closedForIt(t *testing.T, n *testcluster.Node) (sum float64) {
	t.Helper()
	for _, reason := range []string{"control_overflow", "rate"} {
		got, err := n.Metric(t.Context(), "ringside_gateway_closed_total", `reason="`+reason+`"`)
		if err != nil {
			t.Fatal(err)
		}
		sum += got
	}
	return sum
}

// TestNeverReads has sessions that send pings and commands without end and read nothing of the answers: each is closed, and counted.
func TestNeverReads(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 1)
	b := newBystanders(t, c, redis)
	g1 := c.Gateway("g1")
	const each = 10
	frames := []byte(strings.Repeat("\x89\xfd\x00\x00\x00\x00"+strings.Repeat("p", 125), 64))
	for _, n := range c.Nodes() {
		before := closedForIt(t, g1)
		var wg sync.WaitGroup
		for range each {
			conn, _ := upgrade(t, n.Addr, "/t/calm")
			_ = conn.SetWriteDeadline(time.Now().Add(testcluster.Limit()))
			wg.Go(func() {
				for {
					if _, err := conn.Write(frames); err != nil {
						if isTimeout(err) {
							t.Errorf("%s: it was never closed", n.Name)
						}
						return
					}
				}
			})
		}
		b.goOn()
		wg.Wait()
		eventually(t, "all of them are counted", func() error {
			if got := closedForIt(t, g1); got != before+each {
				return fmt.Errorf("%v are, want %v", got, before+each)
			}
			return nil
		})
	}
	b.verify()
}
