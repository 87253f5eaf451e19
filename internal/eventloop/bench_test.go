package eventloop

import (
	"context"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// benchConns is how many connections the benchmarks hold, all of them in use.
const benchConns = 1000

// BenchmarkEcho sends 200 bytes to each of 1,000 connections and waits for their return: the three ways to serve them
// side by side. cpu-µs/op is user and system time of the whole process, both ends, per message.
func BenchmarkEcho(b *testing.B) {
	b.Run("epoll", func(b *testing.B) { benchLoop(b, false) })
	b.Run("portable", func(b *testing.B) { benchLoop(b, true) })
	b.Run("goroutine", func(b *testing.B) {
		benchEcho(b, func(c net.Conn) {
			go func() {
				defer c.Close()
				_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 4096))
			}()
		})
	})
}

func benchLoop(b *testing.B, portable bool) {
	l, err := New(Config{Portable: portable})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = l.Run(ctx); close(done) }()
	benchEcho(b, func(c net.Conn) {
		fd, err := Detach(c)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
		l.Post(NoteFunc(func() {
			e := &echo{ended: make(chan error, 1)}
			if err := l.Add(&e.conn, fd, e); err != nil {
				b.Error(err)
			}
		}))
	})
	cancel()
	<-done
}

func benchEcho(b *testing.B, serve func(net.Conn)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	conns := make([]net.Conn, benchConns)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			b.Fatal(err)
		}
		defer conns[i].Close()
		s, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		serve(s)
	}
	msg, got := make([]byte, 200), make([]byte, 200)
	before, n := cpuMicros(), 0
	for b.Loop() {
		for _, c := range conns {
			_, _ = c.Write(msg)
		}
		for _, c := range conns {
			if _, err := io.ReadFull(c, got); err != nil {
				b.Fatal(err)
			}
		}
		n += benchConns
	}
	b.ReportMetric((cpuMicros()-before)/float64(n), "cpu-µs/msg")
	b.ReportMetric(0, "ns/op")
}

// cpuMicros is the process's user and system time.
func cpuMicros() float64 {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return float64(r.Utime.Sec+r.Stime.Sec)*1e6 + float64(r.Utime.Usec) + float64(r.Stime.Usec)
}
