package router

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/handover"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// give hands a router's sessions to another one, with duplicates of the descriptors as another process gets them.
func give(t *testing.T, to *rig) func(context.Context, []handover.Item) error {
	return func(_ context.Context, items []handover.Item) error {
		copies := make([]handover.Item, len(items))
		for i, item := range items {
			copies[i].State = item.State
			for _, fd := range item.FDs {
				copies[i].FDs = append(copies[i].FDs, duplicate(t, fd))
			}
		}
		return to.r.Adopt(copies)
	}
}

// TestHandOver gives sessions in every state to another router. The client's bytes are those of a session that nobody moved.
func TestHandOver(t *testing.T) {
	large := strings.Repeat("large", leg.MaxWhole/4)
	big := message(3, 2, large)
	bothLoops(t, func(t *testing.T, portable bool) {
		f := func(name, head string, before func(c *client, f *far), after func(c *client, f *far)) {
			t.Helper()
			g := movable(t, "g1")
			old := start(t, portable, quick, g)
			c := old.open("finals", head, "")
			f := g.session()
			f.write(rec(leg.Topic, 0, 3, at(0), "finals") + message(3, 1, "one"))
			c.want("one")
			before(c, f)
			next := start(t, portable, quick, g)
			if err := old.r.HandOver(t.Context(), give(t, next)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			old.empty()
			old.stop()
			if n := next.r.Sessions(); n != 1 {
				t.Fatalf("%s: the successor has %d sessions", name, n)
			}
			after(c, f)
			c.conn.Close()
			g.stop()
			next.empty()
			if n := next.value("sessions_homeless") + next.value("sessions_moving"); n != 0 {
				t.Errorf("%s: %v sessions are on their way without being there", name, n)
			}
		}
		nothing := func(*client, *far) {}
		f("idle", wsHead, nothing, func(c *client, f *far) {
			f.write(message(3, 2, "two"))
			c.want("two")
			c.send("hello")
			f.want("hello")
		})
		f("event stream", sseHead, nothing, func(c *client, f *far) {
			f.write(message(3, 2, "data: x\n\n"))
			c.want("data: x\n\n")
		})
		f("a small record is half way", wsHead, func(_ *client, f *far) { f.write(message(3, 2, "two")[:leg.HeaderSize+1]) }, func(c *client, f *far) {
			f.write("wo")
			c.want("two")
		})
		f("a large record is half way", wsHead, func(c *client, f *far) {
			f.write(big[:leg.HeaderSize+9000])
			c.want(large[:9000])
		}, func(c *client, f *far) {
			f.write(big[leg.HeaderSize+9000:] + message(3, 3, "three"))
			c.want(large[9000:] + "three")
		})
		f("a large record is half way, and the gateway dies", wsHead, func(c *client, f *far) {
			f.write(big[:leg.HeaderSize+9000])
			c.want(large[:9000])
		}, func(c *client, f *far) {
			f.conn.Close()
			f = f.u.session()
			before := at(2)
			before.ID = before.ID.Prev()
			if r := f.resume(); r.First != 0 || r.Topics[0].Position != before {
				t.Errorf("got %+v", r)
			}
			f.write(rec(leg.Topic, 0, 8, at(1), "finals") + message(8, 2, large))
			c.want(large[9000:])
		})
		f("the client's bytes are not acknowledged", wsHead, func(c *client, f *far) {
			c.send("command")
			f.want("command")
		}, func(c *client, f *far) {
			f.conn.Close()
			f = f.u.session()
			f.resume()
			f.want("command")
			f.write(acked(len("command")) + message(3, 2, "done"))
			c.want("done")
		})
		f("its end has come", wsHead, func(_ *client, f *far) {
			f.write(rec(leg.End, 0, 0, position.Position{}, "bye"))
			eventually(t, "the upstream is closed", func() bool { _, err := f.conn.Read(make([]byte, 1)); return err != nil })
		}, func(c *client, _ *far) {
			if got := c.rest(); got != "bye" {
				t.Errorf("got %q", got)
			}
		})
	})
}

// TestHandOverOfTheHomeless gives a session away that has no gateway, and one whose gateway wants it to go.
func TestHandOverOfTheHomeless(t *testing.T) {
	for _, drains := range []bool{false, true} {
		g, g2 := movable(t, "g1"), movable(t, "g2")
		old := start(t, false, quick, g)
		c := old.open("finals", wsHead, "")
		f := g.session()
		f.write(rec(leg.Topic, 0, 3, at(0), "finals") + message(3, 1, "one"))
		c.want("one")
		if drains {
			f.write(rec(leg.Move, 0, 0, position.Position{}, ""))
			eventually(t, "it moves", func() bool { return old.value("sessions_moving") == 1 })
		} else {
			g.stop()
			eventually(t, "it is homeless", func() bool { return old.value("sessions_homeless") == 1 })
		}
		c.send("hello?")
		next := start(t, false, quick, g2)
		if err := old.r.HandOver(t.Context(), give(t, next)); err != nil {
			t.Fatal(err)
		}
		old.empty()
		f2 := g2.session()
		if r := f2.resume(); len(r.Topics) != 1 || r.Topics[0].Position != at(1) {
			t.Errorf("got %+v", r)
		}
		f2.want("hello?")
		f2.write(message(3, 2, "two"))
		c.want("two")
	}
}

// TestHandOverFails has a successor that dies half way: what it did not get goes on here, and the listener with it.
func TestHandOverFails(t *testing.T) {
	bothLoops(t, func(t *testing.T, portable bool) {
		g := movable(t, "g1")
		old := start(t, portable, quick, g)
		const n = 3 * handoverBatch
		clients, fars := make([]*client, n), make([]*far, n)
		for i := range n {
			clients[i] = old.open("finals", wsHead, "")
			fars[i] = g.session()
			fars[i].write(message(3, 1, "one"))
			clients[i].want("one")
		}
		next := start(t, portable, quick, g)
		died := errors.New("the successor has died")
		batches := 0
		err := old.r.HandOver(t.Context(), func(ctx context.Context, items []handover.Item) error {
			if batches++; batches == 2 {
				return died
			}
			return give(t, next)(ctx, items)
		})
		if !errors.Is(err, died) {
			t.Fatalf("got %v", err)
		}
		if a, b := old.r.Sessions(), next.r.Sessions(); a+b != n || b == 0 || b > handoverBatch {
			t.Errorf("%d sessions here, %d there, want %d in all", a, b, n)
		}
		for i := range n {
			fars[i].write(message(3, 2, "two"))
			clients[i].want("two")
			clients[i].send("hello")
			fars[i].want("hello")
		}
		c := old.open("finals", wsHead, "") // and clients are taken again
		f := g.session()
		f.write(message(3, 1, "late"))
		c.want("late")
	})
}

// TestHandOverTakesHandshakesAlong has a client whose handshake is under way when the sessions go.
func TestHandOverTakesHandshakesAlong(t *testing.T) {
	g := movable(t, "g1")
	old, next := start(t, false, quick, g), start(t, false, quick, g)
	answer := make(chan bool)
	g.setReply(func(f *far) bool { <-answer; return replyMovable(f) })
	c := old.connect()
	c.send("GET /t/finals HTTP/1.1\r\nHost: edge.example\r\n" + wsHead + "\r\n")
	eventually(t, "its handshake is under way", func() bool { return old.r.Sessions() == 1 })
	done := make(chan error, 1)
	go func() { done <- old.r.HandOver(t.Context(), give(t, next)) }()
	<-time.After(20 * time.Millisecond) // some rounds of the handover; it must not be over
	close(answer)
	if resp := c.answer(); resp.StatusCode != 101 {
		t.Fatalf("got %s", resp.Status)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	f := g.session()
	f.write(message(3, 1, "one"))
	c.want("one")
	if n := next.r.Sessions(); n != 1 {
		t.Errorf("the successor has %d sessions", n)
	}
}

// TestAdoptRefuses gives what no router can have given.
func TestAdoptRefuses(t *testing.T) {
	r := start(t, false, quick, movable(t, "g1"))
	for _, state := range []string{"", "{}", `{"v":2}`, `{"v":1,"upstream":true}`, `{"v":1,"waiting":{"up":"eA==","sent":5}}`, `{"v":1,"home":{"nums":[1]}}`} {
		if err := r.r.Adopt([]handover.Item{{State: []byte(state), FDs: []int{duplicate(t, 0)}}}); err == nil {
			t.Errorf("%s: it was taken", state)
		}
	}
	if err := r.r.Adopt([]handover.Item{{State: []byte(`{"v":1}`)}}); err == nil {
		t.Error("a session without a client was taken")
	}
	r.empty()
	if n := r.value("closed_total", "reason=setup"); n != 7 {
		t.Errorf("%v are counted, want 7", n)
	}
}
func duplicate(t testing.TB, fd int) int {
	t.Helper()
	d, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(d)
	return d
}

// TestHandOverOfMuch gives sessions away for which as much waits as the configuration allows: batches are cut by size too, and
// each fits.
func TestHandOverOfMuch(t *testing.T) {
	const most = 16 << 20 // of the setting
	old, next := newLab(t, false, 1), newLab(t, false, 1)
	old.r.cfg.MaxUnacked, next.r.cfg.MaxUnacked = most, most
	waits := []int{most + readBuffer, 1000, 0, handoverBytes, 100 << 10, 100 << 10, 0}
	for _, n := range waits {
		client, gateway := old.open()
		defer client.close() // not before: what nobody holds is closed
		defer gateway.close()
		old.r.onEveryLoop(func(w *worker) { w.sessions[len(w.sessions)-1].keepUp(make([]byte, n)) })
	}
	var conns, batches int
	err := old.r.HandOver(t.Context(), func(ctx context.Context, items []handover.Item) error {
		size := 0
		for _, item := range items[:len(items)-1] {
			size += len(item.State)
		}
		if last := len(items[len(items)-1].State); last > handover.MaxState || size > handoverBytes || size+last > handover.MaxBatch/2 {
			t.Errorf("a batch of %d and %d bytes", size, last)
		}
		batches++
		conns += len(items)
		return give(t, &rig{r: next.r})(ctx, items)
	})
	if err != nil || conns != len(waits) || batches < 2 {
		t.Errorf("got %d sessions in %d batches, %v; want %d", conns, batches, err, len(waits))
	}
	next.wantState(uint64(len(waits)), 0, 0)
	want := 0
	for _, n := range waits {
		want += n
	}
	if got := next.r.sum(func(c *counts) *count { return &c.waiting }); got != uint64(want) {
		t.Errorf("%d bytes have moved, want %d", got, want)
	}
}
