package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// serveFrames answers every WebSocket handshake and then sends n frames; it lives as long as the test.
func serveFrames(t *testing.T, n int) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				body := payload(100, time.Now())
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n"+strings.Repeat("\x81\x64"+body, n))
				_, _ = in.ReadByte() // until the client goes
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// TestWorker gives a worker its orders, good ones and bad ones.
func TestWorker(t *testing.T) {
	addr := serveFrames(t, 3)
	in, orders := io.Pipe()
	reports, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- runWorker(in, out) }()
	answers := json.NewDecoder(reports)
	f := func(o, wantError string, done func(r report) bool) {
		t.Helper()
		var r report
		for { // frames take their time; everything else is there at once
			if _, err := io.WriteString(orders, o+"\n"); err != nil {
				t.Fatal(err)
			}
			r = report{}
			if err := answers.Decode(&r); err != nil {
				t.Fatal(err)
			}
			if done == nil || done(r) {
				break
			}
		}
		if wantError == "" && r.Error != "" || !strings.Contains(r.Error, wantError) {
			t.Errorf("%s: got %+v, want the error %q", o, r, wantError)
		}
	}
	const sessions = 100
	f(`{"cmd":"dance"}`, "unknown order", nil)
	f(fmt.Sprintf(`{"cmd":"open","addr":%q,"topics":["x"],"sessions":%d}`, addr, sessions), "", nil)
	f(`{"cmd":"stats"}`, "", func(r report) bool {
		return r.Sessions == sessions && r.Frames == 3*sessions && r.Least == 3 && r.Most == 3 && r.Latency != nil
	})
	f(`{"cmd":"receipts"}`, "", func(r report) bool { return r.Frames == 3*sessions && len(r.Receipts) == 0 })
	f(`{"cmd":"reset"}`, "", func(r report) bool { return r.Frames == 0 })
	f(`{"cmd":"close"}`, "", func(r report) bool { return r.Sessions == 0 && r.Lost == 0 })
	f(`{"cmd":"keep"}`, "", nil)
	f(fmt.Sprintf(`{"cmd":"open","addr":%q,"topics":["x","y"],"sessions":2}`, addr), "", nil)
	f(`{"cmd":"receipts"}`, "", func(r report) bool {
		list := unpackReceipts(r.Receipts)
		return len(list) == 6 && list[0].stamp > 0 && list[0].at >= list[0].stamp
	})
	f(`{"cmd":"reset"}`, "", func(r report) bool { return len(r.Receipts) == 0 })
	f(`{"cmd":"close"}`, "", nil)
	f(`{"cmd":"open","addr":"127.0.0.1:1","topics":["x"],"sessions":3}`, "refused", nil)
	orders.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
