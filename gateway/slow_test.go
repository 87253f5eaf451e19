package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/stream"
)

// flood appends n entries of size bytes to a topic's slot, as the tailer would.
func (r *rig) flood(topic string, n, size int) {
	s := r.g.slots[r.g.slotOf(topic)]
	for i := range n {
		s.mu.Lock()
		id := s.at.ID // a beacon may have come
		s.mu.Unlock()
		id.Ms++
		p := fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, i, strings.Repeat("x", size))
		s.append([]stream.Entry{{ID: id, Topic: topic, Payload: p}})
	}
}

// A session that does not read costs a bounded log and no other session; when it reads again it is told what it has
// missed, and goes on.
func TestSlowSessionFallsOffAndIsTold(t *testing.T) {
	bothLoops(t, func(c *Config) { c.LogEntries = 50 }, func(t *testing.T, r *rig) {
		slow, good := r.dial("finals"), r.dial("finals")
		slow.want("welcome")
		good.want("welcome")
		const n, size = 2000, 20 << 10 // far more than the socket buffers
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range n / 10 {
				r.flood("finals", 10, size)
				for range 10 {
					if m := good.want("message"); m.Type != "message" {
						t.Errorf("round %d: got %+v", i, m)
					}
				}
			}
		}()
		<-done
		if b := r.g.logBytes.Load(); b > 4*50*(size+1000) {
			t.Errorf("log: %d bytes", b)
		}
		r.flood("finals", 1, 1)
		var last position.Position
		gaps := 0
		for {
			m := slow.next()
			switch m.Type {
			case "gap":
				gaps++
				if m.Reason != "slow" || m.After != last.String() {
					t.Fatalf("gap: got %+v, want one after %s", m, last)
				}
				last, _ = position.Parse(m.Position)
			case "message":
				p, err := position.Parse(m.ID)
				if err != nil || p.ID.Ms != last.ID.Ms+1 && last.ID.Ms != 0 {
					t.Fatalf("message %s after %s", m.ID, last)
				}
				last = p
			}
			if bytes.Contains(m.Data, []byte(`"pad":"x"`)) {
				break
			}
		}
		if gaps == 0 {
			t.Error("the slow session was not told of a gap")
		}
	})
}

func TestWriteTimeout(t *testing.T) {
	bothLoops(t, func(c *Config) { c.WriteTimeout = 300 * time.Millisecond }, func(t *testing.T, r *rig) {
		r.dial("finals").want("welcome")
		for range 40 {
			r.flood("finals", 10, 100<<10)
		}
		testcluster.Soon(t, "the stalled session is closed", func() bool { return r.g.Sessions() == 0 })
		if n := r.g.metrics.closed[closeWriteTimeout].Load(); n != 1 {
			t.Errorf("closed by write_timeout: got %d, want 1", n)
		}
		var full uint64
		for _, w := range r.g.workers {
			full += w.counts.full.Load()
		}
		if full != 0 {
			t.Errorf("blocked sessions: got %d, want 0", full)
		}
	})
}

// Answers to a client that never reads them are bounded.
func TestControlOverflow(t *testing.T) {
	r := start(t, nil)
	c := r.dial("finals")
	c.want("welcome")
	r.flood("finals", 200, 100<<10) // the socket is full now
	_ = c.c.SetWriteDeadline(time.Now().Add(testcluster.Limit()))
	for range 100000 {
		if err := c.c.WriteMessage(1, []byte(`{"type":"ping"}`)); err != nil {
			break
		}
	}
	testcluster.Soon(t, "the session is closed", func() bool { return r.g.Sessions() == 0 })
	if n := r.g.metrics.closed[closeControl].Load(); n != 1 {
		t.Errorf("closed by control_overflow: got %d, want 1", n)
	}
}

func TestFanOutDoesNotAllocate(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	var sinks sync.WaitGroup
	clients := []*wsClient{r.dial("finals"), r.dial("finals")}
	for _, c := range clients {
		c.want("welcome")
		sinks.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				if _, err := c.c.NetConn().Read(buf); err != nil {
					return
				}
			}
		})
	}
	w := r.g.workers[0]
	result := make(chan float64)
	w.loop.Post(noteFunc(func() {
		f := w.feeds["finals"]
		e := &entry{at: w.sessions[0].topic.last, topic: f.topic, payload: []byte(`{"score":"2:1"}`)}
		e.record(formatV1)
		w.entries = append(w.entries[:0], e)
		result <- testing.AllocsPerRun(100, func() {
			w.newBatches()
			for _, s := range w.sessions {
				w.stage(&s.topic)
			}
			w.send()
			for _, s := range w.sessions {
				if s.full {
					t.Error("the socket is full")
				}
			}
		})
		clear(w.entries)
	}))
	if n := <-result; n != 0 {
		t.Errorf("fan-out of a message to two sessions: got %v allocations, want 0", n)
	}
	for _, c := range clients {
		c.c.Close()
	}
	sinks.Wait()
}

type noteFunc func()

func (f noteFunc) Run() { f() }
