package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
)

// quickly makes counts and what is told of them quick.
func quickly(c *Config) { c.CountEvery, c.ViewersEvery = 10*time.Millisecond, time.Millisecond }

// counting runs a gateway that adds up all topics, on the platform's event loop and on the portable one.
func counting(t *testing.T, change func(*Config), f func(t *testing.T, r *rig)) {
	for name, portable := range map[string]bool{"native": false, "portable": true} {
		t.Run(name, func(t *testing.T) {
			f(t, startOn(t, testcluster.NewRedis(t, false).Addr, ring.StateActive, func(c *Config) {
				quickly(c)
				c.Portable = portable
				if change != nil {
					change(c)
				}
			}))
		})
	}
}

// sees reads until the client is told that n follow the topic.
func (c *wsClient) sees(topic string, n int) {
	c.t.Helper()
	for {
		if m := c.want("viewers"); m.Topic == topic && m.Count == n {
			return
		}
	}
}

// quiet checks that nothing has been sent to the client.
func (c *wsClient) quiet() {
	c.t.Helper()
	c.send(`{"type":"ping"}`)
	c.want("pong")
}

func TestViewers(t *testing.T) {
	counting(t, nil, func(t *testing.T, r *rig) {
		a := r.dial("finals?viewers=1", "ringside.v1")
		if m := a.want("welcome"); m.Topic != "finals" {
			t.Errorf("got %+v", m)
		}
		a.sees("finals", 1)
		silent := []*wsClient{r.dial("finals", "ringside.v1"), r.dial("finals?viewers=0", "ringside.v1")}
		for _, c := range silent {
			c.want("welcome")
		}
		a.sees("finals", 3)
		for _, c := range silent {
			c.quiet()
			c.c.Close()
		}
		a.sees("finals", 1)

		// Every topic of the session's.
		a.send(`{"type":"subscribe","topic":"semi"}`)
		a.want("subscribed")
		a.sees("semi", 1)
		b := r.dial("semi?viewers=true", "ringside.v1")
		b.want("welcome")
		b.sees("semi", 2)
		a.sees("semi", 2)
		a.send(`{"type":"unsubscribe","topic":"semi"}`)
		a.want("unsubscribed")
		b.sees("semi", 1)
		a.quiet()
		b.c.Close()
		testcluster.Soon(t, "nobody wants to know any more", func() bool {
			t := r.g.topicOf("semi")
			return t == nil || t.wanted.Load() == 0
		})
		a.send(`{"type":"subscribe","topic":"semi"}`)
		a.want("subscribed")
		a.sees("semi", 1)
	})
}

// An event stream is told by an event that a browser takes no ID from, and ringside.raw by a ping, when it has asked.
func TestViewersOfOtherFormats(t *testing.T) {
	counting(t, nil, func(t *testing.T, r *rig) {
		in := bufio.NewReader(r.sse("finals?viewers=1", "").Body)
		event := func() (lines []string) {
			t.Helper()
			for {
				l, err := in.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if l == "\n" {
					return lines
				}
				lines = append(lines, strings.TrimSuffix(l, "\n"))
			}
		}
		event() // retry, and the id
		if got := event(); got[0] != "event: welcome" {
			t.Errorf("got %q", got)
		}
		sees := func(n int) {
			t.Helper()
			want := []string{"event: viewers", fmt.Sprintf(`data: {"type":"viewers","topic":"finals","count":%d}`, n)}
			for {
				got := event()
				if len(got) != 2 || got[0] != want[0] {
					t.Fatalf("got %q", got)
				}
				if got[1] == want[1] {
					return
				}
			}
		}
		sees(1)
		raw, silent := r.dial("finals?viewers=1", "ringside.raw"), r.dial("finals", "ringside.raw")
		pings := make(chan string, 100)
		raw.c.SetPingHandler(func(s string) error { pings <- s; return nil })
		silent.c.SetPingHandler(func(s string) error { t.Errorf("who did not ask is told %q", s); return nil })
		sees(3)
		id := r.publish("finals", "1") // which ends the reads
		for _, c := range []*wsClient{silent, raw} {
			if op, b := c.raw(); op != websocket.TextMessage || b != "1" {
				t.Errorf("got %d %q", op, b)
			}
		}
		if got := event(); got[0] != "id: "+id {
			t.Errorf("got %q", got)
		}
		told := ""
		for len(pings) > 0 {
			told = <-pings
		}
		if !strings.HasPrefix(told, `{"viewers":`) {
			t.Errorf("raw: got %q", told)
		}
	})
}

// However many come, those who are there are told at most every so often; who comes is told at once, and so is who comes to a topic that nobody is
// left in.
func TestViewersAreToldNowAndThen(t *testing.T) {
	counting(t, func(c *Config) { c.ViewersEvery = time.Hour }, func(t *testing.T, r *rig) {
		a := r.dial("finals?viewers=1", "ringside.v1")
		a.want("welcome")
		a.sees("finals", 1)
		for i := range 300 { // more than a slice
			b := r.dial("finals?viewers=1", "ringside.v1")
			b.want("welcome")
			if m := b.want("viewers"); m.Count != i+2 {
				t.Fatalf("got %+v, want %d", m, i+2)
			}
			b.quiet()
			defer b.c.Close()
		}
		a.quiet()
		c := r.dial("semi?viewers=1", "ringside.v1")
		c.want("welcome")
		c.sees("semi", 1)
		c.c.Close()
		testcluster.Soon(t, "it has gone", func() bool { return r.g.sessionsOf("semi") == 0 })
		c = r.dial("semi?viewers=1", "ringside.v1")
		c.want("welcome")
		c.sees("semi", 1)
		if n := r.g.sum().viewers.Load(); n != 303 {
			t.Errorf("told %d times, want 303", n)
		}
	})
}

// Hundreds are told of one change.
func TestViewersOfACrowd(t *testing.T) {
	counting(t, nil, func(t *testing.T, r *rig) {
		const n = 2*fanOutSlice + 50
		var all []*wsClient
		for range n {
			c := r.dial("finals?viewers=1", "ringside.v1")
			c.want("welcome")
			all = append(all, c)
		}
		for _, c := range all {
			c.sees("finals", n)
		}
		all[0].c.Close()
		for _, c := range all[1:] {
			c.sees("finals", n-1)
		}
	})
}

// A client that does not read is told the newest once it does, and nothing of what was before.
func TestViewersOfASlowClient(t *testing.T) {
	counting(t, func(c *Config) { c.LogEntries = 50 }, func(t *testing.T, r *rig) {
		slow := r.dial("finals?viewers=1", "ringside.v1")
		slow.want("welcome")
		slow.sees("finals", 1)
		r.flood("finals", 200, 100<<10)
		testcluster.Soon(t, "its socket is full", func() bool { return r.g.sum().full.Load() == 1 })
		told := r.g.sum().viewers.Load()
		for i := range 20 {
			c := r.dial("finals", "ringside.v1")
			c.want("welcome")
			defer c.c.Close()
			testcluster.Soon(t, "a change is known", func() bool {
				t := r.g.topicOf("finals")
				return int(t.viewers.Load()) == i+2
			})
		}
		if n := r.g.sum().viewers.Load(); n != told {
			t.Errorf("it was told %d times while it did not read", n-told)
		}
		for {
			m := slow.next()
			if m.Type == "viewers" {
				if m.Count != 21 {
					t.Errorf("got %+v, want 21 at once", m)
				}
				break
			}
		}
	})
}

// The ticket carries it: at the next gateway the client is told without asking again.
func TestViewersGoOn(t *testing.T) {
	counting(t, nil, func(t *testing.T, r *rig) {
		for fm, headers := range map[format][]string{formatV1: upgradeHeaders, formatSSE: sseHeaders} {
			for _, asked := range []bool{true, false} {
				topic := fmt.Sprintf("finals-%v-%v", fm, asked)
				since := r.position(topic, "begin")
				l := r.leg(topic+map[bool]string{true: "?viewers=1"}[asked], headers...)
				ticket := l.ticket
				l.c.Close()
				testcluster.Soon(t, "it has gone", func() bool { return r.g.sessionsOf(topic) == 0 })
				moved := r.resumed(ticket, leg.Resume{Begun: true, First: -1, Topics: []leg.Standing{{Name: topic, Position: since}}})
				moved.record() // the topic
				if !asked {
					id := r.publish(topic, "1")
					if h, b := moved.record(); h.Position.String() != id {
						t.Errorf("%v: who did not ask is told %+v %q", fm, h, b)
					}
					continue
				}
				h, b := moved.record()
				if h.Kind != leg.Beacon || h.Topic != 0 || h.Position != zeroPosition || !strings.Contains(b, `{"type":"viewers","topic":"`+topic+`","count":1}`) {
					t.Errorf("%v: got %+v %q", fm, h, b)
				}
				moved.c.Close()
			}
		}
	})
}

func TestBadViewers(t *testing.T) {
	r := start(t, nil)
	for _, q := range []string{"viewers=many", "viewers=", "viewers=1&viewers=1"} {
		resp := r.sse("finals?"+q, "")
		var no struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&no); err != nil || resp.StatusCode != 400 || no.Error != "viewers" {
			t.Errorf("%s: got %d %+v, %v", q, resp.StatusCode, no, err)
		}
	}
}

// BenchmarkViewers is what it costs to tell one of many sessions of a topic, apart from the system call: see fan-out for that.
func BenchmarkViewers(b *testing.B) {
	r := startOn(b, testcluster.NewRedis(b, false).Addr, ring.StateActive, quickly)
	b.Run("changed", func(b *testing.B) { // a session that comes or goes
		t := &topic{name: "finals", slot: r.g.slots[r.g.slotOf("finals")]}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			t.subscribed.Add(1)
			r.g.counts.note(t)
			if i%1000 == 999 { // a round, of a thousand that came
				r.g.counts.mu.Lock()
				r.g.counts.changed = r.g.counts.changed[:0]
				r.g.counts.mu.Unlock()
				t.noted.Store(false)
			}
		}
	})
}
