package anteroom

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// leaving is a connection whose guest leaves when it is closed.
type leaving struct {
	net.Conn
	g *Guest
}

func (l leaving) Close() error {
	go l.g.Leave()
	return nil
}

// enter takes a place for a guest that we wait for, and which leaves when it is turned out.
func enter(t *testing.T, r *Room) *Guest {
	t.Helper()
	if !r.Reserve(nil) {
		t.Fatal("no place")
	}
	g := &Guest{}
	r.Enter(g, Of(leaving{g: g}))
	g.Waits(true)
	return g
}

// TestPatience holds who makes room: the guest that has been mute for longest, once it has been so for too long, and nobody who was
// heard.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Places: 3, Patience: time.Second})
		heard, mute := enter(t, r), enter(t, r)
		<-time.After(400 * time.Millisecond)
		late := enter(t, r)
		if !heard.Heard() {
			t.Error("a guest was turned out of an empty room")
		}
		began := time.Now()
		fourth := enter(t, r)
		if took := time.Since(began); took != 600*time.Millisecond {
			t.Errorf("it had to wait for %v, want 600ms", took)
		}
		if !mute.TurnedOut() || mute.Heard() || heard.TurnedOut() || late.TurnedOut() {
			t.Error("not the one that was mute for longest was turned out")
		}
		heard.Again() // it has had its answer, and is the one that is here for longest
		enter(t, r)
		if took := time.Since(began); took != 600*time.Millisecond || !heard.TurnedOut() {
			t.Errorf("the next had to wait for %v, want nothing more than 600ms", took)
		}
		enter(t, r)
		if took := time.Since(began); took != time.Second || !late.TurnedOut() || fourth.TurnedOut() {
			t.Errorf("the one after that had to wait for %v, want 1s", took)
		}
		if got := r.Out(Crowded); got != 3 || r.Len() != 3 {
			t.Errorf("turned out %d, %d are there, want 3 and 3", got, r.Len())
		}
	})
}

// TestFullOfHeard has a room in which nobody is mute: the next wait for a place, or for the end.
func TestFullOfHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Places: 1, Patience: time.Second})
		g := enter(t, r)
		g.Heard()
		done := make(chan struct{})
		time.AfterFunc(time.Hour, func() { close(done) })
		if r.Reserve(done) {
			t.Error("there was a place")
		}
		time.AfterFunc(time.Minute, g.Leave)
		began := time.Now()
		enter(t, r)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it had to wait for %v, want 1m", took)
		}
		g.Leave() // once more
		g.Again()
		if r.Len() != 1 || r.Out(Crowded) != 0 {
			t.Errorf("%d are there, %d were turned out", r.Len(), r.Out(Crowded))
		}
	})
}

// TestOurTurn turns out nobody who waits for us, and gives who has got on more time, but not for ever.
func TestOurTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Places: 2, Patience: time.Second})
		worked, other := enter(t, r), enter(t, r)
		worked.Waits(false)
		other.Waits(false)
		done := make(chan struct{})
		time.AfterFunc(10*time.Second, func() { close(done) })
		if r.Reserve(done) {
			t.Error("one that we work on had to go")
		}
		other.Waits(true)
		enter(t, r)
		if worked.TurnedOut() || !other.TurnedOut() {
			t.Error("not the one that we wait for had to go")
		}
		worked.Heard()
		worked.Leave()

		slow := enter(t, r)
		began := time.Now()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for range 10 {
				<-time.After(500 * time.Millisecond)
				slow.GotOn()
			}
		})
		enter(t, r).Heard() // in the place of who came before slow
		enter(t, r)
		if took := time.Since(began); took != 500*time.Millisecond*mostSteps+time.Second || !slow.TurnedOut() {
			t.Errorf("who gets on slowly had to go after %v, want 2.5s", took)
		}
	})
}

// TestInput turns out nobody who has said something that is not read yet.
func TestInput(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(ln, New(Config{Places: 2, Patience: time.Nanosecond}), func(error, bool) {})
	defer l.Close()
	accept := func(say string) *Conn {
		far, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.Close() })
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(far, say); err != nil {
			t.Fatal(err)
		}
		return c.(*Conn) //nolint:forcetypeassert // no other is given out
	}
	spoke, mute := accept("GET"), accept("")
	testcluster.Soon(t, "it has spoken", func() bool { return eventloop.HasInput(spoke) })
	spoke.Waits(true)
	mute.Waits(true)
	gone := make(chan struct{})
	go func() { _, _ = mute.Conn.Read(make([]byte, 1)); mute.Close(); close(gone) }()
	accept("")
	<-gone
	if spoke.TurnedOut() || !mute.TurnedOut() {
		t.Error("who has spoken had to go")
	}
}

// TestOneGoesAtATime turns out only as many as are waited for.
func TestOneGoesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 10
		r := New(Config{Places: places, Patience: time.Second})
		for range places {
			enter(t, r)
		}
		<-time.After(time.Minute)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { enter(t, r).Heard() })
		}
		wg.Wait()
		if got := r.Out(Crowded); got != 4 {
			t.Errorf("turned out %d, want 4", got)
		}
	})
}

// TestPerAddr holds the part of the places that an address has.
func TestPerAddr(t *testing.T) {
	r := New(Config{Places: 100, PerAddr: 2, Patience: time.Second})
	f := func(addr string, want bool) *Guest {
		t.Helper()
		g := enter(t, r)
		if got := g.CountAs(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
		if !want {
			g.Leave()
		}
		return g
	}
	first := f("192.0.2.1", true)
	f("192.0.2.1", true)
	f("192.0.2.1", false)
	f("192.0.2.2", true)
	first.Leave()
	f("192.0.2.1", true)
	f("192.0.2.1", false)
	six := f("2001:db8::1", true)
	f("2001:db8::2", true)
	f("2001:db8::3", false)
	f("2001:db8:0:1::1", true)
	six.Leave()
	f("2001:db8::3", true)
	if got := r.Out(PerIP); got != 3 {
		t.Errorf("counted %d, want 3", got)
	}
	if free := New(Config{Places: 1}); !enter(t, free).CountAs(netip.MustParseAddr("192.0.2.1")) || len(free.addrs) != 0 {
		t.Error("without a bound addresses are counted")
	}
}

// TestNothingIsKept of those who have left.
func TestNothingIsKept(t *testing.T) {
	r := New(Config{Places: 8, PerAddr: 4, Patience: time.Hour})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				g := enter(t, r)
				g.CountAs(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
				g.Heard()
				g.Again()
				g.Leave()
			}
		})
	}
	wg.Wait()
	if r.Len() != 0 || len(r.addrs) != 0 || r.mute.Len() != 0 || len(r.places) != 0 || r.going != 0 {
		t.Errorf("%d guests, %d addresses, %d mute, %d places are left", r.Len(), len(r.addrs), r.mute.Len(), len(r.places))
	}
}

// failing is a listener whose first accepts fail as they do when there are no descriptors.
type failing struct {
	net.Listener
	left atomic.Int32
}

func (l *failing) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// TestListener gives out connections in their places, goes on when the system has no descriptors, and ends when it is closed: also while
// it waits for a place.
func TestListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken := &failing{Listener: ln}
	broken.left.Store(2)
	var failures, firsts atomic.Int32
	l := NewListener(broken, New(Config{Places: 1, Patience: time.Hour}), func(err error, first bool) {
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("failed for %v", err)
		}
		failures.Add(1)
		if first {
			firsts.Add(1)
		}
	})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	second := dial()
	c, err := l.Accept()
	if err != nil || failures.Load() != 2 || firsts.Load() != 1 || l.Room.Len() != 1 {
		t.Fatalf("%v, %d failures, %d of them first, %d guests", err, failures.Load(), firsts.Load(), l.Room.Len())
	}
	c.Close()
	c.Close() // once more
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(second, "x"); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	end := make(chan error)
	go func() { _, err := l.Accept(); end <- err }()
	l.Close()
	l.Close()
	if err := <-end; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	c.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) || len(l.Room.places) != 0 {
		t.Errorf("got %v, %d places are taken", err, len(l.Room.places))
	}
}
