package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// outcome is what a process of clients has seen.
type outcome struct {
	In       int   `json:"in"`
	Attempts int64 `json:"attempts"`
	Millis   []int `json:"millis"` // of each client that got in: how long that took
}

func (o *outcome) add(p outcome) {
	o.In += p.In
	o.Attempts += p.Attempts
	o.Millis = append(o.Millis, p.Millis...)
}

// when is how long it took until a share of those who got in was in.
func (o *outcome) when(share float64) string {
	if len(o.Millis) == 0 {
		return "–"
	}
	slices.Sort(o.Millis)
	at := max(0, int(share*float64(len(o.Millis)))-1)
	return (time.Duration(o.Millis[at]) * time.Millisecond).Round(100 * time.Millisecond).String()
}

// busiest is how many got in within the second in which most did.
func (o *outcome) busiest() int {
	count := map[int]int{}
	most := 0
	for _, ms := range o.Millis {
		count[ms/1000]++
		most = max(most, count[ms/1000])
	}
	return most
}

const (
	naiveWait   = time.Second
	niceness    = 15 // the clients of a real storm bring their own CPUs; above that of the cluster
	dialTimeout = 10 * time.Second
)

// crowd is the process of clients: it waits for a line, lets them loose, writes what they saw, and holds their
// connections until it is ended.
func crowd(args []string) error {
	fs := flag.NewFlagSet("crowd", flag.ContinueOnError)
	addrs := fs.String("routers", "", "")
	first := fs.Int("first", 0, "")
	n := fs.Int("clients", 0, "")
	heed := fs.Bool("heed", false, "")
	window := fs.Duration("window", time.Minute, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	list := strings.Split(*addrs, ",")
	ctx, cancel := context.WithTimeout(context.Background(), *window)
	defer cancel()
	began := time.Now()
	millis := make([]int, *n)
	conns := make([]net.Conn, *n)
	var attempts atomic.Int64
	var wg sync.WaitGroup
	for i := range *n {
		wg.Go(func() {
			c := &comer{number: *first + i, routers: list, heed: *heed, attempts: &attempts}
			conns[i] = c.come(ctx)
			millis[i] = int(time.Since(began).Milliseconds())
		})
	}
	wg.Wait()
	o := outcome{Attempts: attempts.Load()}
	for i, c := range conns {
		if c != nil {
			o.In++
			o.Millis = append(o.Millis, millis[i])
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		return err
	}
	_, _ = in.ReadString('\n') // until the parent ends us, or itself
	return nil
}

// comer is a client that wants in.
type comer struct {
	number   int
	routers  []string
	heed     bool
	attempts *atomic.Int64
	pass     string
}

// come tries until the client has a session or ctx ends; then it is nil.
func (c *comer) come(ctx context.Context) net.Conn {
	for try := 0; ctx.Err() == nil; try++ {
		c.attempts.Add(1)
		conn, delay := c.once(ctx, c.routers[(c.number+try)%len(c.routers)])
		if conn != nil {
			return conn
		}
		if !c.heed || delay == 0 {
			delay = naiveWait
		}
		wait(ctx, delay)
	}
	return nil
}

// once makes one attempt; when it is refused, it returns what the refusal says.
func (c *comer) once(ctx context.Context, router string) (net.Conn, time.Duration) {
	d := net.Dialer{Timeout: dialTimeout, LocalAddr: &net.TCPAddr{
		IP: net.IPv4(127, 1+byte(c.number>>16), byte(c.number>>8), byte(c.number)),
	}}
	conn, err := d.DialContext(ctx, "tcp", router)
	if err != nil {
		return nil, 0
	}
	_ = conn.SetDeadline(time.Now().Add(dialTimeout)) // an open connection takes it
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	target := fmt.Sprintf("/t/storm-%d", c.number%100)
	if c.pass != "" {
		target += "?pass=" + c.pass
	}
	c.pass = ""
	if _, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: storm\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", target); err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(bufio.NewReaderSize(conn, 1<<10), nil); err == nil {
			if resp.StatusCode == http.StatusSwitchingProtocols && stop() {
				_ = conn.SetDeadline(time.Time{})
				return conn, 0
			}
			var told struct {
				Retry int64  `json:"retry"`
				Pass  string `json:"pass"`
			}
			if json.NewDecoder(resp.Body).Decode(&told) == nil && c.heed {
				c.pass = told.Pass
			}
			stop()
			conn.Close()
			return nil, time.Duration(told.Retry) * time.Millisecond
		}
	}
	stop()
	conn.Close()
	return nil, 0
}
