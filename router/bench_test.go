package router

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/httphead"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// benchSessions is how many sessions the benchmarks hold, all of them in use.
const benchSessions = 1000

// BenchmarkSplice sends 200 bytes down each of 1,000 sessions: without a router, through it from a raw upstream and
// through it in records. cpu-µs/msg is user and system time of the whole process, both ends included: what the router
// costs is the difference to direct.
func BenchmarkSplice(b *testing.B) {
	body := strings.Repeat("m", 200)
	f := func(name string, static bool, message string, open func(*rig, *upstreamServer) (net.Conn, net.Conn)) {
		b.Run(name, func(b *testing.B) {
			u := newUpstream(b, "g1", static, replyLeg)
			if static {
				u.setReply(replyRaw)
			}
			r := start(b, false, func(c *Config, _ *Deps) { c.Loops = 1 }, u)
			var clients, ups []net.Conn
			for range benchSessions {
				c, f := open(r, u)
				clients, ups = append(clients, c), append(ups, f)
			}
			down, got := []byte(message), make([]byte, len(body))
			before, n := cpuMicros(), 0
			for b.Loop() {
				for _, f := range ups {
					_, _ = f.Write(down)
				}
				for _, c := range clients {
					if _, err := io.ReadFull(c, got); err != nil {
						b.Fatal(err)
					}
				}
				n += benchSessions
			}
			b.ReportMetric((cpuMicros()-before)/float64(n), "cpu-µs/msg")
			b.ReportMetric(0, "ns/op")
		})
	}
	through := func(r *rig, u *upstreamServer) (net.Conn, net.Conn) {
		return r.open("a", wsHead, "").conn, u.session().conn
	}
	f("direct", true, body, func(_ *rig, u *upstreamServer) (net.Conn, net.Conn) {
		c, err := net.Dial("tcp", u.addr())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		_, _ = io.WriteString(c, "GET /t/a HTTP/1.1\r\nHost: x\r\n"+wsHead+"\r\n")
		f := u.session()
		_, _ = io.ReadFull(c, make([]byte, len(f.answer(""))))
		return c, f.conn
	})
	f("raw", true, body, through)
	f("leg", false, record(leg.Data, body), through)
}

// BenchmarkBulk sends large messages down one session, by what one read takes at most: that is also what a stalled
// client costs.
func BenchmarkBulk(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10, 64 << 10} {
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			u := gateway(b, "g1")
			r := start(b, false, func(c *Config, _ *Deps) { c.Loops = 1 }, u)
			r.r.onEveryLoop(func(w *worker) { w.read = size })
			c, f := r.open("a", wsHead, ""), u.session()
			message := []byte(record(leg.Data, strings.Repeat("m", 1<<20)))
			got := make([]byte, 1<<20)
			before := cpuMicros()
			for b.Loop() {
				go func() { _, _ = f.conn.Write(message) }()
				if _, err := io.ReadFull(c.conn, got); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuMicros()-before)/float64(b.N), "cpu-µs/MiB")
		})
	}
}

// BenchmarkHandshake opens and closes sessions: against an upstream that answers from memory, and through the router.
func BenchmarkHandshake(b *testing.B) {
	for _, name := range []string{"direct", "raw", "leg"} {
		b.Run(name, func(b *testing.B) {
			answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
				httphead.AcceptFor(testKey) + "\r\n"
			if name == "leg" {
				answer += "Ringside-Leg: v1\r\n"
			}
			upstream, stop := cannedUpstream(b, answer+"\r\n")
			defer stop()
			addr := upstream
			if name != "direct" {
				rg := ring.New([]ring.Member{{ID: "g1", Role: ring.RoleGateway, State: ring.StateActive, Addr: upstream, Static: name == "raw"}})
				var p atomic.Pointer[ring.Ring]
				p.Store(rg)
				r := start(b, false, func(_ *Config, d *Deps) { d.Ring, d.Log = p.Load, zap.NewNop() })
				addr = r.r.Addr()
			}
			request := []byte("GET /t/a HTTP/1.1\r\nHost: edge.example\r\nUser-Agent: bench\r\nOrigin: https://edge.example\r\n" + wsHead + "\r\n")
			b.ReportAllocs()
			before := cpuMicros()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]byte, 4096)
				for pb.Next() {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = c.Write(request)
					if n, err := c.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 101")) {
						b.Errorf("got %q, %v", buf[:n], err)
						c.Close()
						return
					}
					_ = c.(*net.TCPConn).SetLinger(0) //nolint:forcetypeassert // keeps the ports for the next ones
					c.Close()
				}
			})
			b.ReportMetric((cpuMicros()-before)/float64(b.N), "cpu-µs/op")
		})
	}
}

// cannedUpstream gives the same answer to whatever ends with a blank line.
func cannedUpstream(b *testing.B, answer string) (addr string, stop func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				if n, err := c.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
					return
				}
				_, _ = io.WriteString(c, answer)
				_, _ = c.Read(buf) // until the session ends
			}()
		}
	}()
	return ln.Addr().String(), func() { ln.Close(); <-done }
}

// cpuMicros is the process's user and system time.
func cpuMicros() float64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Sec+r.Stime.Sec)*1e6 + float64(r.Utime.Usec) + float64(r.Stime.Usec)
}
