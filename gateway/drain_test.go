package gateway

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/leg"
)

func TestDrainRate(t *testing.T) {
	f := func(want float64, n uint64, window time.Duration, least, most int) {
		t.Helper()
		c := Config{DrainWindow: window, DrainMin: least, DrainMax: most}
		if got := c.drainRate(n); got != want {
			t.Errorf("%d sessions in %v, %d/s to %d/s: got %v/s, want %v/s", n, window, least, most, got, want)
		}
	}
	f(100, 0, 30*time.Second, 100, 2000)
	f(100, 1, 30*time.Second, 100, 2000)
	f(100, 3000, 30*time.Second, 100, 2000)
	f(101, 3030, 30*time.Second, 100, 2000)
	f(1000, 30_000, 30*time.Second, 100, 2000)
	f(2000, 60_000, 30*time.Second, 100, 2000)
	f(2000, 1_000_000, 30*time.Second, 100, 2000)
	f(2.5, 5, 2*time.Second, 1, 10)
	f(7, 100, time.Millisecond, 7, 7)
}

// gauge is a metric of the gateway's without labels.
func (r *rig) gauge(name string) float64 {
	r.t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(r.g)
	families, err := reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "ringside_gateway_"+name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

// Fractions of sessions add up, each is asked once, and what nobody was there for is not made up for later.
func TestDrainGoesAtItsPace(t *testing.T) {
	bothLoops(t, func(c *Config) { c.Loops = 1 }, func(t *testing.T, r *rig) {
		w := r.g.workers[0]
		var legs []*legClient
		join := func() {
			l := r.leg("finals", upgradeHeaders...)
			l.opened()
			legs = append(legs, l)
		}
		for range 10 {
			join()
		}
		f := func(n float64, want int) {
			t.Helper()
			got := make(chan int)
			w.loop.Post(eventloop.NoteFunc(func() {
				w.drainSome(n)
				asked := 0
				for _, s := range w.sessions {
					if s.goBy > 0 {
						asked++
					}
				}
				got <- asked
			}))
			if n := <-got; n != want {
				t.Errorf("asked to go: got %d, want %d", n, want)
			}
			if n := r.gauge("sessions_leaving"); n != float64(want) {
				t.Errorf("sessions_leaving: got %v, want %d", n, want)
			}
		}
		f(0.5, 0)
		f(0.5, 1)
		f(2.5, 3)
		f(2.5, 6)
		f(0, 6)
		f(0.25, 6)
		f(3, 9)
		f(100, 10)
		f(100, 10)
		f(0.5, 10) // those that were too many are forgotten, but for one:
		for range 3 {
			join()
		}
		f(0.5, 11)
		f(0.5, 12)
		f(0.5, 12)
		for i, l := range legs[:10] {
			if h, b := l.record(); h.Kind != leg.Move || h.Topic != 0 || b != "" {
				t.Errorf("leg %d: got %+v %q, want the wish to move", i, h, b)
			}
		}
		r.publish("finals", "1") // none is asked twice: the message follows
		for _, l := range legs[:10] {
			l.wantNumber("finals", "1")
			l.c.Close()
		}
		testcluster.Soon(t, "all of them have gone", func() bool { return r.g.Sessions() == 3 })
		if n := r.g.metrics.closed[closeMoved].Load(); n != 10 {
			t.Errorf("closed by moved: got %d, want 10", n)
		}
	})
}

// A session that was asked to go is served as before until it does, each is asked once, and those that go are counted as
// moved. Clients that came directly are told when to come back.
func TestDrainOfLegsAndOthers(t *testing.T) {
	bothLoops(t, func(c *Config) { c.DrainWindow = 200 * time.Millisecond }, func(t *testing.T, r *rig) {
		var legs []*legClient
		for range 8 {
			l := r.leg("finals", upgradeHeaders...)
			l.opened()
			legs = append(legs, l)
		}
		direct := r.dial("finals")
		direct.want("welcome")
		drained := make(chan error, 1)
		go func() { drained <- r.g.Drain(t.Context()) }()
		for _, l := range legs {
			if h, _ := l.record(); h.Kind != leg.Move {
				t.Fatalf("got %+v, want the wish to move", h)
			}
		}
		ce := direct.closed()
		var ms int
		if n, _ := fmt.Sscanf(ce.Text, `{"reconnect":%d}`, &ms); n != 1 || ce.Code != 1012 || ms < 200 || ms > 400 {
			t.Errorf("close: got %v", ce)
		}
		direct.c.Close()
		testcluster.Soon(t, "nobody but the legs is left", func() bool { return r.g.Sessions() == 8 })
		if n, d := r.gauge("sessions_leaving"), r.gauge("draining"); n != 8 || d != 1 {
			t.Errorf("sessions_leaving: got %v, want 8; draining: got %v, want 1", n, d)
		}
		r.publish("finals", "1")
		subscribe := clientText(`{"type":"subscribe","topic":"b"}`)
		for _, l := range legs {
			l.wantNumber("finals", "1")
			l.send(subscribe)
			l.acked(len(subscribe), "")
		}
		select {
		case err := <-drained:
			t.Fatalf("Drain: got %v while sessions are left", err)
		default:
		}
		for _, l := range legs[:7] {
			l.c.Close()
		}
		// The router may as well reset the leg, and a client may close its session.
		legs[7].send(clientFrame(8, ""))
		if h, _ := legs[7].record(); h.Kind != leg.End {
			t.Errorf("got %+v, want the session's end", h)
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		m := r.g.metrics
		if moved, left := m.closed[closeMoved].Load(), m.closed[closeClient].Load(); moved != 7 || left != 1 {
			t.Errorf("closed: got %d moved, %d by their clients, want 7 and 1", moved, left)
		}
		if n, s := r.gauge("sessions_leaving"), r.g.Sessions(); n != 0 || s != 0 {
			t.Errorf("left: got %v leaving, %d sessions, want none", n, s)
		}
	})
}

// A leg whose router does nothing about it ends, without an End record: the session is not over.
func TestDrainEndsItsPatience(t *testing.T) {
	bothLoops(t, func(c *Config) { c.MoveGrace = 10 * time.Millisecond; c.DrainMin = 2000 }, func(t *testing.T, r *rig) {
		stands := r.position("b", "1")
		var legs []*legClient
		for i := range 6 {
			if i < 4 {
				legs = append(legs, r.leg("finals", upgradeHeaders...))
				legs[i].opened()
				continue
			}
			first := at(leg.Standing{Name: "b", Position: stands}) // they don't go on before a message that does not come
			first.First = 0
			legs = append(legs, r.resumed(r.ticketOf("b"), first))
			legs[i].wantTopic("b", 0, stands)
		}
		if err := r.g.Drain(t.Context()); err != nil {
			t.Errorf("Drain: %v", err)
		}
		for _, l := range legs {
			if h, _ := l.record(); h.Kind != leg.Move {
				t.Errorf("got %+v, want the wish to move", h)
			}
			if _, err := l.b.ReadByte(); err != io.EOF {
				t.Errorf("behind it: got %v, want EOF", err)
			}
		}
		if n := r.g.metrics.closed[closeDrain].Load(); n != 6 {
			t.Errorf("closed by drain: got %d, want 6", n)
		}
		if n := r.gauge("sessions_leaving"); n != 0 {
			t.Errorf("sessions_leaving: got %v, want 0", n)
		}
	})
}
