package gateway

import (
	"io"
	"syscall"
	"testing"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/leg"
)

// beats sends n bytes and waits until as many have come back.
func (l *legClient) beats(n int) {
	l.t.Helper()
	l.send(make([]byte, n))
	if _, err := io.ReadFull(l.b, make([]byte, n)); err != nil {
		l.t.Fatalf("heartbeat: %v", err)
	}
}

// silent reports whether nothing has come yet.
func (l *legClient) silent() bool {
	l.t.Helper()
	if l.b.Buffered() > 0 {
		return false
	}
	raw, err := l.c.(syscall.Conn).SyscallConn() //nolint:forcetypeassert // of net.Dial
	if err != nil {
		l.t.Fatal(err)
	}
	var got error
	if err := raw.Control(func(fd uintptr) {
		_, _, got = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}); err != nil {
		l.t.Fatal(err)
	}
	return got == syscall.EAGAIN //nolint:errorlint // system calls return it bare
}

// As many bytes come back as were sent, however they were sent.
func TestBeat(t *testing.T) {
	bothLoops(t, func(c *Config) { c.Loops = 3 }, func(t *testing.T, r *rig) {
		_, l := r.exchange(r.ours(leg.MethodBeat) + "12345") // together with the request
		if _, err := io.ReadFull(l.b, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			l.beats(1)
		}
		l.beats(1000)
		for range 200 {
			l.send([]byte{0})
		}
		if _, err := io.ReadFull(l.b, make([]byte, 200)); err != nil {
			t.Fatal(err)
		}
		if n := r.g.Sessions(); n != 0 {
			t.Errorf("sessions: got %d, want 0: a heartbeat is none", n)
		}
		// Not even a gateway that drains is silent.
		if err := r.g.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.beats(1)
		r.upgrade(leg.MethodBeat).beats(1)
		l.c.Close()
	})
}

// A gateway of which one loop hangs is silent on every heartbeat, also on those of the loops that turn.
func TestBeatWhileALoopHangs(t *testing.T) {
	bothLoops(t, func(c *Config) { c.Loops = 2 }, func(t *testing.T, r *rig) {
		var beats, sessions []*legClient
		for range 2 { // one of each for each loop, which are taken in turn
			sessions = append(sessions, r.leg("finals", upgradeHeaders...))
			sessions[len(sessions)-1].opened()
		}
		for range 2 {
			beats = append(beats, r.upgrade(leg.MethodBeat))
			beats[len(beats)-1].beats(1)
		}
		ping := clientText(`{"type":"ping"}`)
		for i, w := range r.g.workers {
			hangs, on := make(chan struct{}), make(chan struct{})
			w.loop.Post(eventloop.NoteFunc(func() {
				close(hangs)
				<-on
			}))
			<-hangs
			for _, l := range beats {
				l.send([]byte{0})
			}
			var turns *legClient // the session of the loop that turns
			for _, l := range sessions {
				l.send(ping)
			}
			testcluster.Soon(t, "the other loop's session is answered", func() bool {
				for _, l := range sessions {
					if !l.silent() {
						turns = l
					}
				}
				return turns != nil
			})
			turns.wantV1("pong")
			for range 20 { // its loop turns, and would answer
				turns.send(ping)
				turns.wantV1("pong")
			}
			for j, l := range beats {
				if !l.silent() {
					t.Errorf("loop %d hangs: heartbeat %d is answered", i, j)
				}
			}
			close(on)
			for _, l := range beats {
				if _, err := io.ReadFull(l.b, make([]byte, 1)); err != nil {
					t.Fatalf("loop %d goes on: %v", i, err)
				}
				l.beats(3)
			}
			for _, l := range sessions {
				if l != turns {
					l.wantV1("pong")
				}
			}
		}
	})
}

// A router that reads nothing of its heartbeat is given up on, and nobody else is.
func TestBeatIsReadOrClosed(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		deaf, good := r.upgrade(leg.MethodBeat), r.upgrade(leg.MethodBeat)
		for {
			if _, err := deaf.c.Write(make([]byte, 1<<10)); err != nil {
				break
			}
			good.beats(1)
			if r.heartbeats() == 1 {
				break
			}
		}
		testcluster.Soon(t, "the deaf one is closed", func() bool { return r.heartbeats() == 1 })
		good.beats(1)
	})
}

// heartbeats is how many connections there are that are no sessions.
func (r *rig) heartbeats() (n int) {
	for _, w := range r.g.workers {
		done := make(chan struct{})
		w.loop.Post(eventloop.NoteFunc(func() {
			n += w.loop.Len() - len(w.sessions)
			close(done)
		}))
		<-done
	}
	return n
}
