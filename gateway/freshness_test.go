package gateway

import (
	"bufio"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/stream"
)

// usual has beacons as they are by default, and no slot stale however busy the machine is.
func usual(c *Config) { c.Beacon, c.StaleAfter, c.Heartbeat = time.Second, 4*time.Hour, time.Hour }

// realRedis runs a test on both event loops, on a real Redis, which beacons cost little.
func realRedis(t *testing.T, change func(*Config), f func(t *testing.T, r *rig)) {
	for name, portable := range map[string]bool{"native": false, "portable": true} {
		t.Run(name, func(t *testing.T) {
			f(t, startOn(t, testcluster.NewRedis(t, false).Addr, ring.StateJoining, func(c *Config) {
				c.Portable = portable
				change(c)
			}))
		})
	}
}

// hang has Redis fail, and the slot of a topic as if its tail had brought nothing for longer than is quiet.
func (r *rig) hang(topic string) {
	r.t.Helper()
	r.redis.SetError("LOADING in a test")
	s := r.g.slots[r.g.slotOf(topic)]
	testcluster.Soon(r.t, "the tail is lost", func() bool {
		r.g.tails.mu.Lock()
		defer r.g.tails.mu.Unlock()
		return !r.g.tails.stands[s.n]
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	long := time.Now().Add(-2 * r.g.cfg.StaleAfter)
	s.seen, s.placed = long, long
}

// heartbeat is the next message, which must be a heartbeat.
type heartbeat struct {
	Type, Position string
	AsOf, Lag      int64
	Stale          bool
}

func (c *wsClient) heartbeat() (h heartbeat) {
	c.t.Helper()
	_, b := c.raw()
	if err := json.Unmarshal([]byte(b), &h); err != nil || h.Type != "heartbeat" {
		c.t.Fatalf("got %s, %v, want a heartbeat", b, err)
	}
	return h
}

// Clients hear at once that what they see is stale, and that it is fresh again; new ones are sent elsewhere meanwhile.
func TestStaleIsToldAtOnce(t *testing.T) {
	bothLoops(t, func(c *Config) { c.Heartbeat = time.Hour }, func(t *testing.T, r *rig) {
		c := r.dial("quiet")
		c.want("welcome")
		sse := bufio.NewScanner(r.sse("quiet", "").Body)
		line := func(want string) string {
			t.Helper()
			for sse.Scan() {
				if strings.HasPrefix(sse.Text(), want) {
					return sse.Text()
				}
			}
			t.Fatalf("the event stream ended before %q", want)
			return ""
		}
		line("id: ")
		r.hang("quiet")
		h := c.heartbeat()
		if !h.Stale || h.Lag <= r.g.cfg.StaleAfter.Milliseconds() || h.AsOf == 0 {
			t.Errorf("got %+v, want it to be stale", h)
		}
		line("event: heartbeat")
		if data := line("data: "); !strings.HasSuffix(data, `,"stale":true}`) {
			t.Errorf("event stream: got %s", data)
		}
		if err := r.g.Ready(); err == nil {
			t.Error("the gateway is ready")
		}
		_, resp, err := websocket.DefaultDialer.Dial("ws://"+r.g.Addr()+"/t/quiet", nil)
		if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("a new session: got %v, %+v, want 503", err, resp)
		}
		resp.Body.Close()
		if n := testutil.ToFloat64(r.g.metrics.refused.WithLabelValues("stale")); n != 1 {
			t.Errorf("refused: got %v, want 1", n)
		}
		r.redis.SetError("")
		if h = c.heartbeat(); h.Stale || h.Lag > r.g.cfg.StaleAfter.Milliseconds() {
			t.Errorf("got %+v, want it to be fresh again", h)
		}
		line("event: heartbeat")
		if data := line("data: "); strings.Contains(data, "stale") {
			t.Errorf("event stream: got %s", data)
		}
		testcluster.Soon(t, "the gateway is ready again", func() bool { return r.g.Ready() == nil })
		r.dial("quiet").want("welcome")
		r.publish("quiet", "1")
		c.wantNumbers(1, 1)
	})
}

// The position of a client of a quiet topic moves on with the beacons. When it comes back, however much was trimmed, nothing is
// missing.
func TestQuietTopicHasNoGap(t *testing.T) {
	realRedis(t, func(c *Config) { usual(c); c.Heartbeat = 100 * time.Millisecond }, func(t *testing.T, r *rig) {
		c := r.dial("quiet")
		first := c.want("welcome").Position
		last := c.heartbeat().Position
		for last == first {
			last = c.heartbeat().Position
		}
		c.c.Close()
		testcluster.Soon(t, "the topic is forgotten, whose log knows that nothing has come", func() bool { return r.g.topicCount.Load() == 0 })
		p, _ := position.Parse(last)
		r.redisDo("XTRIM", stream.Key(r.g.slotOf("quiet")), "MINID", p.ID.String())
		back, older := r.dial("quiet?since="+last), r.dial("quiet?since="+first)
		back.want("welcome")
		r.publish("quiet", "1")
		back.wantNumbers(1, 1)
		older.want("welcome")
		if g := older.want("gap"); g.Reason != "trimmed" {
			t.Errorf("got %+v", g)
		}
		older.wantNumbers(1, 1)
	})
}

// A position at which no entry stands, between two that are there, is one of data that Redis has lost.
func TestForeignPosition(t *testing.T) {
	bothLoops(t, nil, func(t *testing.T, r *rig) {
		r.publish("finals", "0")
		key := stream.Key(r.g.slotOf("finals"))
		base := time.Now().Add(time.Minute).UnixMilli()
		var ids []string
		for i := range 10 {
			ids = append(ids, strconv.FormatInt(base+int64(10*i), 10)+"-0")
			r.redisDo("XADD", key, ids[i], "topic", "finals", "payload", strconv.Itoa(i+1))
		}
		e, err := r.stream.Edges(t.Context(), r.g.slotOf("finals"))
		if err != nil {
			t.Fatal(err)
		}
		at := func(id string) position.Position {
			p, err := position.ParseID(id)
			if err != nil {
				t.Fatal(err)
			}
			return position.Position{Epoch: e.Epoch, ID: p}
		}
		r.tailed("finals", at(ids[9]).String())
		good := r.dial("finals?since=" + at(ids[4]).String())
		good.want("welcome")
		good.wantNumbers(6, 10)
		bogus := at(strconv.FormatInt(base+45, 10) + "-0")
		c := r.dial("finals?since=" + bogus.String())
		c.want("welcome")
		to := at(ids[5])
		to.ID = to.ID.Prev()
		if g := c.want("gap"); g.Reason != "epoch" || g.After != bogus.String() || g.Position != to.String() {
			t.Errorf("got %+v, want a gap up to %v", g, to)
		}
		c.wantNumbers(6, 10)
		// Where the gap has led is a position like any other.
		c = r.dial("finals?since=" + to.String())
		c.want("welcome")
		c.wantNumbers(6, 10)
	})
}

// A position that lies ahead of all there is, in a stream that is known to be read up to the present, is one of lost data too.
func TestPositionThatNeverCame(t *testing.T) {
	realRedis(t, usual, func(t *testing.T, r *rig) {
		p, _ := position.Parse(r.publish("finals", "1"))
		p.ID.Ms += uint64(time.Hour.Milliseconds())
		c := r.dial("finals?since=" + p.String())
		c.want("welcome")
		g := c.want("gap")
		if g.Reason != "epoch" || g.After != p.String() {
			t.Errorf("got %+v", g)
		}
		r.publish("finals", "2")
		c.wantNumbers(2, 2)
	})
}

// What a heartbeat says does not wait for the next look at the slot: a client that has come from a gateway that had looked already
// would be told that all is fresh.
func TestStaleAtOnce(t *testing.T) {
	r := start(t, usual)
	s := r.g.slots[r.g.slotOf("finals")]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.seen, s.placed = now, now
	if f := s.freshness(now); f.stale {
		t.Errorf("got %+v, want it to be fresh", f)
	}
	s.seen = now.Add(-r.g.cfg.StaleAfter - time.Millisecond)
	if f := s.freshness(now); f.stale {
		t.Errorf("got %+v of a tail that was just placed, want it to be fresh", f)
	}
	s.placed = now.Add(-time.Minute)
	if f := s.freshness(now); !f.stale {
		t.Errorf("got %+v, want it to be stale", f)
	}
}

// A heartbeat that has just been made for others does not pass for the word that a slot has become stale, or is fresh again.
func TestStaleIsToldBehindAHeartbeat(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	r.dial("quiet").want("welcome")
	w := r.g.workers[0]
	done := make(chan []bool)
	w.loop.Post(eventloop.NoteFunc(func() {
		var said []bool
		for _, stale := range []bool{false, true, false} { // within one turn of the loop: they are of one age
			r.g.slots[r.g.slotOf("quiet")].stale.Store(stale)
			f := w.feeds["quiet"]
			rec, _, _ := f.heartbeat(f.subs[0].next, formatV1)
			said = append(said, strings.Contains(string(rec.b), `"stale":true`))
		}
		done <- said
	}))
	if got := <-done; !slices.Equal(got, []bool{false, true, false}) {
		t.Errorf("stale: got %v, want it fresh, stale, fresh", got)
	}
}

// Sessions of stale slots are offered to other gateways: one, and the others when that is taken. Who is not taken stays.
func TestStaleSessionsAreOffered(t *testing.T) {
	bothLoops(t, func(c *Config) {
		c.Loops, c.firstProbe = 1, 2*time.Second
	}, func(t *testing.T, r *rig) {
		const n = 5
		moves := make(chan *legClient, 2*n)
		for range n {
			l := r.leg("quiet", upgradeHeaders...)
			l.opened()
			go func() {
				for {
					h, err := l.header()
					if err != nil {
						return
					}
					if h.Kind == leg.Move {
						moves <- l
					}
				}
			}()
		}
		offered := func() *legClient {
			t.Helper()
			select {
			case l := <-moves:
				return l
			case <-time.After(testcluster.Limit()):
				t.Fatal("nobody is offered")
				return nil
			}
		}
		hangs := time.Now()
		r.hang("quiet")
		probe := offered()
		if waited := time.Since(hangs); waited < r.g.cfg.firstProbe {
			t.Errorf("the first was offered after %v: others may not have noticed yet that Redis hangs", waited)
		}
		testcluster.Soon(t, "the next one is offered, because nobody took the first", func() bool { return r.g.metrics.offered.Load() == 2 })
		if other := offered(); other == probe {
			t.Error("the same session was offered again at once")
		} else {
			other.c.Close() // taken
		}
		for range n - 2 {
			offered().c.Close()
		}
		testcluster.Soon(t, "who is not taken stays", func() bool { return r.g.Sessions() == 1 })
		r.redis.SetError("")
		testcluster.Soon(t, "it is fresh again", func() bool { return r.g.Ready() == nil })
	})
}

// Sessions that end while they are offered, because their routers are gone, end nothing else.
func TestOfferOfWhoIsGone(t *testing.T) {
	bothLoops(t, func(c *Config) { c.Loops = 1 }, func(t *testing.T, r *rig) {
		const n = 5
		for range n {
			r.leg("quiet", upgradeHeaders...).opened()
		}
		w := r.g.workers[0]
		w.loop.Post(eventloop.NoteFunc(func() {
			for _, s := range w.sessions {
				if err := s.conn.CloseWrite(); err != nil {
					t.Error(err)
				}
			}
			r.g.slots[r.g.slotOf("quiet")].stale.Store(true)
			w.offer(n, w.loop.Now())
		}))
		testcluster.Soon(t, "they have ended", func() bool { return r.g.Sessions() == 0 })
	})
}

// A client that another gateway has told that its topic is stale hears soon that it is not.
func TestFirstBeatAfterAMove(t *testing.T) {
	bothLoops(t, func(c *Config) { c.firstBeat = time.Millisecond }, func(t *testing.T, r *rig) {
		stands := r.position("finals", "1")
		r.tailed("finals", stands.String())
		l := r.resumed(r.ticketOf("finals"), at(leg.Standing{Name: "finals", Position: stands}))
		l.wantTopic("finals", 0, stands)
		if h, m := l.wantV1("heartbeat"); h.Kind != leg.Beacon || m.Position != h.Position.String() {
			t.Errorf("got %+v %+v", h, m)
		}
	})
}
