package eventloop

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both runs a test on the platform's own loop and on the portable one.
func both(t *testing.T, f func(t *testing.T, l *Loop)) {
	for name, portable := range map[string]bool{"native": false, "portable": true} {
		t.Run(name, func(t *testing.T) {
			l, err := New(Config{Portable: portable})
			if err != nil {
				t.Fatal(err)
			}
			f(t, l)
		})
	}
}

// run runs l until the test ends.
func run(t *testing.T, l *Loop) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// on runs f on the loop and waits for it.
func on(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(NoteFunc(func() { f(); close(done) })) {
		t.Fatal("Post: the loop has ended")
	}
	<-done
}

// pair makes a TCP connection: one end for the test, the other's descriptor for a loop.
func pair(t *testing.T) (*net.TCPConn, int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fd, err := Detach(s)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), fd
}

// echo writes back what it reads, with back-pressure: it stops reading while the socket is full.
type echo struct {
	conn   Conn
	tail   []byte
	full   bool
	sweeps int
	ended  chan error
}

func (e *echo) Ready(c *Conn, ev Event) {
	if ev&Writable != 0 && e.full {
		if e.flush(); e.full {
			return
		}
		ev |= Readable // bytes may have waited meanwhile
	}
	if ev&Readable == 0 || e.full {
		return
	}
	for !e.full {
		n, drained, err := c.Read(c.Loop().Scratch())
		if errors.Is(err, ErrAgain) {
			return
		}
		if err != nil {
			e.end(err)
			return
		}
		m, err := c.Write(c.Loop().Scratch()[:n])
		if err != nil {
			e.end(err)
			return
		}
		if m < n {
			e.tail, e.full = append(e.tail, c.Loop().Scratch()[m:n]...), true
		}
		if drained && !e.full {
			return
		}
	}
}

func (e *echo) flush() {
	n, err := e.conn.Write(e.tail)
	if err != nil {
		e.end(err)
		return
	}
	e.tail = e.tail[n:]
	e.full = len(e.tail) > 0
}

func (e *echo) end(err error) {
	e.conn.Close()
	e.ended <- err
}

func (e *echo) Sweep(*Conn, int64) { e.sweeps++ }

func add(t *testing.T, l *Loop, fd int) *echo {
	t.Helper()
	e := &echo{ended: make(chan error, 1)}
	on(t, l, func() {
		if err := l.Add(&e.conn, fd, e); err != nil {
			t.Errorf("Add: %v", err)
		}
	})
	return e
}

func TestEchoWithBackPressureAndHalfClose(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		run(t, l)
		c, fd := pair(t)
		e := add(t, l, fd)
		want := make([]byte, 24<<20) // far more than the buffers of both sockets
		_, _ = rand.Read(want)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Write(want); err != nil {
				t.Errorf("write: %v", err)
			}
			_ = c.CloseWrite()
		})
		got, err := io.ReadAll(io.LimitReader(c, int64(len(want))))
		if err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, not the %d that were sent", len(got), len(want))
		}
		if err := <-e.ended; err != io.EOF {
			t.Fatalf("end: got %v, want EOF", err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("after the loop's Close: got %d, %v", n, err)
		}
	})
}

func TestManyConnections(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		run(t, l)
		var wg sync.WaitGroup
		for range 100 {
			c, fd := pair(t)
			add(t, l, fd)
			wg.Go(func() {
				msg := make([]byte, 200)
				for range 50 {
					_, _ = rand.Read(msg)
					if _, err := c.Write(msg); err != nil {
						t.Error(err)
						return
					}
					got := make([]byte, len(msg))
					if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, msg) {
						t.Errorf("echo: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
		on(t, l, func() {
			if l.Len() != 100 {
				t.Errorf("Len: got %d, want 100", l.Len())
			}
		})
	})
}

func TestReset(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		run(t, l)
		c, fd := pair(t)
		e := add(t, l, fd)
		_ = c.SetLinger(0)
		c.Close()
		if err := <-e.ended; err == nil {
			t.Fatal("a reset connection: got no error")
		}
	})
}

func TestNotesKeepTheirOrder(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		run(t, l)
		const posters, notes = 8, 2000
		var got [posters][]int // written on the loop
		var wg sync.WaitGroup
		for p := range posters {
			wg.Go(func() {
				for i := range notes {
					l.Post(NoteFunc(func() { got[p] = append(got[p], i) }))
				}
			})
		}
		wg.Wait()
		on(t, l, func() {})
		for p := range posters {
			if len(got[p]) != notes {
				t.Fatalf("poster %d: got %d notes, want %d", p, len(got[p]), notes)
			}
			for i, v := range got[p] {
				if i != v {
					t.Fatalf("poster %d: note %d came as number %d", p, v, i)
				}
			}
		}
	})
}

// wakeAlone posts one note at a time to an idle loop: a lost wake-up would wait for the next sweep, and many
// of them would outlast the test.
func TestEveryFirstNoteWakes(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		run(t, l)
		for range 20000 {
			on(t, l, func() {})
		}
	})
}

func TestSweepVisitsEveryConnection(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		run(t, l)
		es := make([]*echo, 20)
		for i := range es {
			_, fd := pair(t)
			es[i] = add(t, l, fd)
		}
		deadline := time.After(20 * time.Second)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			seen := 0
			on(t, l, func() {
				for _, e := range es {
					if e.sweeps > 0 {
						seen++
					}
				}
			})
			if seen == len(es) {
				return
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("swept: got %d connections, want %d", seen, len(es))
			}
		}
	})
}

func TestEndClosesConnectionsAndRefusesNotes(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		c, fd := pair(t)
		add(t, l, fd)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatalf("read from a closed loop: got %d, %v", n, err)
		}
		if l.Post(NoteFunc(func() { t.Error("a note ran after the end") })) {
			t.Fatal("Post after the end: got true")
		}
	})
}

// An event that was fetched for a connection must not reach its successor in the table.
func TestStaleEventsAreDropped(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		run(t, l)
		_, fd1 := pair(t)
		e1 := add(t, l, fd1)
		var slot int32
		var gen uint32
		on(t, l, func() {
			slot, gen = e1.conn.slot, l.conns[e1.conn.slot].gen
			e1.conn.Close()
			e1.conn.Close()
		})
		_, fd2 := pair(t)
		e2 := add(t, l, fd2)
		on(t, l, func() {
			if e2.conn.slot != slot {
				t.Errorf("slot: got %d, want %d used again", e2.conn.slot, slot)
			}
			l.dispatch(slot, gen, Hangup)
			if e2.conn.hangup {
				t.Error("a stale event reached the successor")
			}
		})
	})
}

func TestAddFailureClosesTheDescriptor(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, l)
	on(t, l, func() {
		var e echo
		if err := l.Add(&e.conn, 1<<30, &e); err == nil {
			t.Error("Add of a bad descriptor: got no error")
		}
		if e.conn.Open() || l.Len() != 0 {
			t.Errorf("after a failed Add: open %v, Len %d", e.conn.Open(), l.Len())
		}
	})
}

// A connection that is released goes on elsewhere, with what the system holds for it.
func TestRelease(t *testing.T) {
	both(t, func(t *testing.T, l *Loop) {
		run(t, l)
		c, fd := pair(t)
		e := add(t, l, fd)
		if _, err := io.WriteString(c, "one"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "one" {
			t.Fatalf("got %q, %v", got, err)
		}
		var released int
		var err error
		on(t, l, func() {
			released, err = e.conn.Release()
			if e.conn.Open() || l.Len() != 0 {
				t.Errorf("open %v, %d connections on the loop", e.conn.Open(), l.Len())
			}
			if _, again := e.conn.Release(); again == nil {
				t.Error("released twice")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "two"); err != nil { // waits in the socket
			t.Fatal(err)
		}
		other, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		run(t, other)
		add(t, other, released)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "two" {
			t.Fatalf("got %q, %v", got, err)
		}
		if len(e.ended) != 0 {
			t.Error("the old handler has heard of an end")
		}
	})
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, l)
	c, fd := pair(t)
	e := add(t, l, fd)
	msg, got := make([]byte, 200), make([]byte, 200)
	n := testing.AllocsPerRun(500, func() {
		if _, err := c.Write(msg); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, got); err != nil {
			t.Error(err)
		}
		l.Post(e)
	})
	if n != 0 {
		t.Errorf("a wake, a read, a write and a note: got %v allocations, want 0", n)
	}
}

// Run makes echo a Note.
func (e *echo) Run() { e.sweeps++ }

func BenchmarkPostToIdleLoop(b *testing.B) {
	l, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = l.Run(ctx); close(done) }()
	ran := make(chan struct{})
	note := NoteFunc(func() { ran <- struct{}{} })
	for b.Loop() {
		l.Post(note)
		<-ran
	}
	cancel()
	<-done
}
