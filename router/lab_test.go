package router

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// lab is a router of which only the event loops run by themselves. The clock, the mover's steps, the gateways' answers and
// both ends of every session are the test's, so that what happens in which order is, too.
type lab struct {
	t      testing.TB
	r      *Router
	slot   int
	clock  atomic.Int64                         // Unix ns
	answer func(m *move, sh *shard) dialOutcome // what a gateway says to a dial
	legs   chan *end                            // of the gateways that have said yes
}

// end is the far end of a connection of a session.
type end struct {
	t testing.TB
	f *os.File
	r *bufio.Reader
}

// newLab makes a lab with gateways g1, g2, …, preferred in this order.
func newLab(t testing.TB, portable bool, gateways int) *lab {
	t.Helper()
	l := &lab{t: t, legs: make(chan *end, 100), answer: func(*move, *shard) dialOutcome { return dialOK }}
	l.clock.Store(time.Now().UnixNano())
	var ms []ring.Member
	for i := range gateways {
		id := "g" + string(rune('1'+i))
		ms = append(ms, ring.Member{ID: id, Role: ring.RoleGateway, State: ring.StateActive, Addr: "192.0.2.1:" + id[1:], Weight: 1})
	}
	rg := ring.New(ms)
	for l.slot = 0; l.slot < topic.Slots-1 && !inOrder(rg.Preference(l.slot)); l.slot++ {
	}
	var err error
	l.r, err = New(Config{Listen: "127.0.0.1:0", Portable: portable, Loops: 1, IdleTimeout: time.Hour, WriteTimeout: time.Hour},
		Deps{ID: "r1", Ring: func() *ring.Ring { return rg }, Keys: testKeys(t), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	l.r.now = func() time.Time { return time.Unix(0, l.clock.Load()) }
	l.r.mover.dial = l.dial
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.r.group.Run(ctx) }()
	t.Cleanup(func() {
		l.r.onEveryLoop((*worker).shutdown)
		cancel()
		if err := errors.Join(<-done, l.r.stopListening()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func inOrder(list []*ring.Member) bool {
	for i, m := range list {
		if m.ID != "g"+string(rune('1'+i)) {
			return false
		}
	}
	return true
}

// pair is a connection: a descriptor for the router, and the other end.
func (l *lab) pair() (int, *end) {
	l.t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		if err := syscall.SetNonblock(fd, true); err != nil {
			l.t.Fatal(err)
		}
	}
	f := os.NewFile(uintptr(fds[1]), "end")
	e := &end{l.t, f, bufio.NewReader(f)}
	_ = e.f.SetDeadline(time.Now().Add(patience)) // a socket that does not block takes it
	return fds[0], e
}

// open begins a session with g1.
func (l *lab) open() (client, gateway *end) {
	l.t.Helper()
	clientFD, client := l.pair()
	upstreamFD, gateway := l.pair()
	w := l.r.workers[0]
	g1, _ := l.r.ring().Member("g1")
	s := newSession(w)
	s.flags, s.key, s.home = isWebSocket|isLeg, uint32(l.slot)<<24, &home{shard: l.r.shards.of(&g1), ticket: []byte("ticket")}
	l.r.sessions.Add(1)
	w.loop.Post(&arrival{session: s, client: clientFD, upstream: upstreamFD})
	l.barrier()
	return client, gateway
}

// dial is the mover's.
func (l *lab) dial(_ context.Context, m *move, sh *shard) (int, dialOutcome, error) {
	if outcome := l.answer(m, sh); outcome != dialOK {
		return -1, outcome, errors.New(outcome.String())
	}
	fd, gateway := l.pair()
	l.legs <- gateway
	return fd, dialOK, nil
}

// leg is the gateway's end of the next leg that a session was moved to.
func (l *lab) leg() *end {
	l.t.Helper()
	select {
	case e := <-l.legs:
		return e
	default:
		l.t.Fatal("no gateway has been asked")
		return nil
	}
}

// barrier waits until the loop has worked off what was left for it.
func (l *lab) barrier() { l.r.onEveryLoop(func(*worker) {}) }

// moving waits until the mover has been given something to do. Nothing else of the test depends on when that is.
func (l *lab) moving() {
	l.t.Helper()
	select {
	case <-l.r.mover.kicked:
	case <-time.After(patience):
		l.t.Fatal("no session is moved")
	}
}

// settle lets the mover do what it can do at this time.
func (l *lab) settle() {
	for more := true; more; {
		l.r.mover.dispatch(l.t.Context(), l.r.now())
		l.r.mover.wg.Wait()
		l.barrier()
		select {
		case <-l.r.mover.kicked:
		default:
			more = false
		}
	}
}

// pass lets time pass, in the mover's steps.
func (l *lab) pass(d time.Duration) {
	for ; d > 0; d -= parkLook {
		l.clock.Add(int64(parkLook))
		l.r.mover.unpark(l.r.now())
		l.settle()
	}
}

// state is how many sessions are there, on their way, and without a leg.
func (l *lab) state() (sessions, moving, homeless uint64) {
	l.barrier()
	return l.r.Sessions(), l.r.sum(func(c *counts) *count { return &c.moving }), l.r.sum(func(c *counts) *count { return &c.homeless })
}

func (l *lab) wantState(sessions, moving, homeless uint64) {
	l.t.Helper()
	if s, m, h := l.state(); s != sessions || m != moving || h != homeless {
		l.t.Fatalf("got %d sessions, %d moving, %d homeless; want %d, %d, %d", s, m, h, sessions, moving, homeless)
	}
}

func (l *lab) wantMoves(reason moveReason, outcome moveOutcome, want uint64) {
	l.t.Helper()
	if got := l.r.metrics.moves[reason][outcome].Load(); got != want {
		l.t.Errorf("moves for %v that ended with %v: got %d, want %d", reason, outcome, got, want)
	}
}

func (e *end) write(s string) {
	e.t.Helper()
	if _, err := e.f.WriteString(s); err != nil {
		e.t.Fatalf("cannot write: %v", err)
	}
}

func (e *end) want(want string) {
	e.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(e.r, got); err != nil || string(got) != want {
		e.t.Fatalf("got %q, %v, want %q", got[:n], err, want)
	}
}

// rest reads up to the end.
func (e *end) rest() string {
	e.t.Helper()
	b, err := io.ReadAll(e.r)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		e.t.Fatalf("got %d bytes, then %v, want the end", len(b), err)
	}
	return string(b)
}

func (e *end) close() { e.f.Close() }

// resume reads where the session stands.
func (e *end) resume() leg.Resume {
	e.t.Helper()
	var b []byte
	for {
		c, err := e.r.ReadByte()
		if err != nil {
			e.t.Fatalf("no resume block: %v behind %x", err, b)
		}
		b = append(b, c)
		r, n, err := leg.ParseResume(b, 100)
		if err != nil {
			e.t.Fatal(err)
		}
		if n > 0 {
			return r
		}
	}
}
