package eventloop

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// BenchmarkSendAll sends 250 bytes to each of 4,000 connections, whose other ends are read by another loop. cpu-µs/msg is that of the whole process, both
// ends.
func BenchmarkSendAll(b *testing.B) {
	b.Run("ring", func(b *testing.B) { benchSendAll(b, Config{}) })
	b.Run("one-by-one", func(b *testing.B) { benchSendAll(b, Config{NoRing: true}) })
}

// drain reads everything.
type drain struct {
	conn Conn
	got  *atomic.Int64
}

func (d *drain) Ready(c *Conn, ev Event) {
	for ev&Readable != 0 {
		n, drained, err := c.Read(c.Loop().Scratch())
		if err != nil {
			return
		}
		if d.got.Add(int64(n)); drained {
			return
		}
	}
}

func (d *drain) Sweep(*Conn, int64) {}

func benchSendAll(b *testing.B, cfg Config) {
	const conns, size = 4000, 250
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	loop := func(cfg Config) *Loop {
		l, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() { _ = l.Run(ctx) })
		return l
	}
	from, to := loop(cfg), loop(Config{NoRing: true})
	if is, err := from.Batching(); !is && !cfg.NoRing {
		b.Skip(err)
	}
	var got atomic.Int64
	add := func(l *Loop, fd int) *drain {
		d, done := &drain{got: &got}, make(chan struct{})
		l.Post(NoteFunc(func() {
			if err := l.Add(&d.conn, fd, d); err != nil {
				b.Error(err)
			}
			close(done)
		}))
		<-done
		return d
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	list, msg := make([]Sending, conns), make([]byte, size)
	for i := range list {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		near, err1 := Detach(c)
		far, err2 := Detach(s)
		c.Close()
		s.Close()
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
		add(to, far)
		list[i] = Sending{Conn: &add(from, near).conn, Bytes: msg}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	before, n := cpuMicros(), int64(0)
	for b.Loop() {
		for part := range slices.Chunk(list, 128) { // as a feed does it, so that others get their turn
			from.Post(NoteFunc(func() { from.SendAll(part) }))
		}
		for n += conns; got.Load() < n*size; {
			<-tick.C
		}
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
