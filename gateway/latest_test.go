package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topicrule"
	"github.com/ringside-edge/ringside/stream"
)

// rules are made of text.
func rules(t testing.TB, text string) *topicrule.Rules {
	t.Helper()
	r, err := topicrule.Parse("topics.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A cursor that passes over what was replaced is held against the list of all that ever was: it gets, in order, the newest of each
// key and all without a key, or is told that something is gone that nothing had replaced; and the bytes add up.
func TestLatestLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := topicLog{latest: &latest{}}
		bytes := -log.restart(position.ID{})
		var all []*entry // all[i] has index i + log.First at the beginning
		begin := log.Next()
		cursor, at := begin, begin
		entries, keys := rapid.IntRange(1, 8).Draw(t, "entries"), rapid.IntRange(1, 6).Draw(t, "keys")
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				at++
				e := &entry{at: position.Position{Epoch: 1, ID: position.ID{Ms: at}}, payload: make([]byte, rapid.IntRange(0, 9).Draw(t, "size"))}
				if k := rapid.IntRange(-1, 9).Draw(t, "key"); k >= 0 {
					e.key, e.keyed = fmt.Sprint(k), true
				}
				all = append(all, e)
				bytes += log.append(e)
				for log.Len() > entries {
					bytes -= log.dropFirst(true)
				}
				for log.latest.len() > keys {
					freed, ok := log.latest.evict()
					if !ok {
						t.Fatal("nothing to give up")
					}
					bytes -= freed
				}
			},
			"squeeze": func(t *rapid.T) {
				if log.Len() > 1 {
					bytes -= log.dropFirst(false)
				}
			},
			"read": func(t *rapid.T) {
				es, end, lost := log.latestSince(nil, cursor, rapid.IntRange(1, 9).Draw(t, "limit"))
				if lost.next > 0 {
					e := all[lost.next-1-begin]
					if lost.next <= cursor || e.at.ID != lost.id || e.logged {
						t.Fatalf("at %d: told that %d is lost, which is %+v", cursor, lost.next-1, e)
					}
					cursor = lost.next
					return
				}
				for _, e := range es {
					if e.index < cursor {
						t.Fatalf("%d comes twice, or out of order", e.index)
					}
					mustBeReplaced(t, all[cursor-begin:e.index-begin])
					cursor = e.index + 1
				}
				mustBeReplaced(t, all[cursor-begin:end-begin])
				cursor = end
			},
			"": func(t *rapid.T) {
				if want := log.Bytes + log.latest.bytes; bytes != want {
					t.Fatalf("bytes: got %d, want %d", bytes, want)
				}
				live := 0
				for _, e := range all {
					if e.logged {
						live += e.cost
					}
				}
				if live != bytes {
					t.Fatalf("bytes of what is kept: got %d, want %d", bytes, live)
				}
				if n := len(log.latest.newest); n > log.Len()+log.latest.len() {
					t.Fatalf("%d keys of %d entries", n, log.Len()+log.latest.len())
				}
				if n := len(log.latest.board); n > 2*log.latest.len()+64 {
					t.Fatalf("%d places for %d entries", n, log.latest.len())
				}
			},
		})
	})
}

func mustBeReplaced(t *rapid.T, passed []*entry) {
	t.Helper()
	for _, e := range passed {
		if !e.replaced {
			t.Fatalf("%d was passed over, and nothing has replaced it", e.index)
		}
	}
}

// quote appends a quote of a symbol, as the tailer would.
func (r *rig) quote(topic, symbol string, n, size int) {
	s := r.g.slots[r.g.slotOf(topic)]
	s.mu.Lock()
	id := s.at.ID
	s.mu.Unlock()
	id.Ms++
	s.append([]stream.Entry{{ID: id, Topic: topic, Payload: fmt.Appendf(nil, `{"symbol":"%s","n":%d,"pad":"%s"}`, symbol, n, strings.Repeat("x", size))}})
}

// A client of a price board that does not read gets the newest price of each symbol, in order, though the log has dropped most of
// them; one that reads gets every price.
func TestSlowSessionGetsTheLatestOfEachKey(t *testing.T) {
	bothLoops(t, func(c *Config) {
		c.LogEntries, c.Beacon, c.StaleAfter = 50, time.Hour, 4*time.Hour
		c.Rules = rules(t, "- topics: odds\n  slow: latest\n  key: symbol\n")
	}, func(t *testing.T, r *rig) {
		slow, good := r.dial("odds"), r.dial("odds")
		slow.want("welcome")
		good.want("welcome")
		const symbols, rounds, size = 100, 30, 10 << 10
		for n := range rounds {
			for i := range symbols {
				r.quote("odds", fmt.Sprintf("S%d", i), n, size)
				if m := good.next(); m.Type != "message" {
					t.Fatalf("who keeps up got %+v", m)
				}
			}
		}
		r.quote("odds", "last", 0, 1)
		newest, skipped := map[string]int{}, 0
		var at position.Position
		for len(newest) <= symbols || newest["last"] == 0 {
			m := slow.next()
			switch m.Type {
			case "skipped":
				if after, err := position.Parse(m.After); err != nil || after != at && at != (position.Position{}) {
					t.Fatalf("got %+v at %v", m, at)
				}
				skipped += m.Count
			case "message":
				p, err := position.Parse(m.ID)
				if err != nil || !at.ID.Less(p.ID) {
					t.Fatalf("message %s after %s", m.ID, at)
				}
				var q quote
				q.parse(t, m.Data)
				at, newest[q.Symbol] = p, q.N+1
			default:
				t.Fatalf("got %+v", m)
			}
		}
		for i := range symbols {
			if got := newest[fmt.Sprintf("S%d", i)]; got != rounds {
				t.Errorf("the newest of S%d is %d, want %d", i, got, rounds)
			}
		}
		if skipped == 0 || r.g.sum().skipped.Load() == 0 {
			t.Error("nothing was passed over")
		}
	})
}

// Without a key a session that is behind jumps to the newest message.
func TestSlowSessionJumpsToTheLatest(t *testing.T) {
	r := start(t, func(c *Config) {
		c.Beacon, c.StaleAfter, c.Rules = time.Hour, 4*time.Hour, rules(t, "- topics: odds\n  slow: latest\n")
	})
	slow := r.dial("odds")
	slow.want("welcome")
	const n = 1000
	for i := range n {
		r.quote("odds", "S", i, 20<<10)
	}
	for got := 0; ; got++ {
		m := slow.next()
		if m.Type == "skipped" {
			continue
		}
		var q quote
		q.parse(t, m.Data)
		if q.N == n-1 {
			if got > n/2 {
				t.Errorf("got %d messages of %d", got, n)
			}
			return
		}
	}
}

// A client that comes back gets, of what it has missed, what nothing has replaced.
func TestReplayOfTheLatest(t *testing.T) {
	r := start(t, func(c *Config) { c.Rules = rules(t, "- topics: odds\n  slow: latest\n  key: symbol\n") })
	c := r.dial("odds")
	begin := c.want("welcome").Position
	c.c.Close()
	testcluster.Soon(t, "the client has left", func() bool { return r.g.Sessions() == 0 })
	last := ""
	for i := range 20 {
		last = r.publish("odds", fmt.Sprintf(`{"symbol":"S%d","n":%d}`, i%4, i))
	}
	r.tailed("odds", last)
	c = r.dial("odds?since=" + begin)
	c.want("welcome")
	if m := c.want("skipped"); m.Count != 16 || m.After != begin {
		t.Errorf("got %+v, want 16 after %s", m, begin)
	}
	for i := 16; i < 20; i++ {
		var q quote
		if q.parse(t, c.want("message").Data); q.N != i {
			t.Errorf("got %d, want %d", q.N, i)
		}
	}
}

// A topic that wants slow sessions closed closes them once they have fallen off the log, with a delay, also those that read nothing.
func TestSlowSessionIsClosed(t *testing.T) {
	bothLoops(t, func(c *Config) {
		c.LogEntries, c.Beacon, c.StaleAfter = 10, time.Hour, 4*time.Hour
		c.Rules = rules(t, "- topics: vip\n  slow: close\n")
	}, func(t *testing.T, r *rig) {
		slow := r.dial("vip")
		slow.want("welcome")
		for range 50 {
			r.flood("vip", 10, 50<<10)
		}
		testcluster.Soon(t, "the session is told to go", func() bool { return r.full() == 0 })
		for {
			_, _, err := slow.c.ReadMessage()
			if err == nil {
				continue
			}
			if !strings.Contains(err.Error(), "1013") || !strings.Contains(err.Error(), `{"reconnect":`) {
				t.Errorf("got %v, want 1013 with a delay", err)
			}
			break
		}
		testcluster.Soon(t, "the session is counted", func() bool { return r.g.metrics.closed[closeSlow].Load() == 1 })
	})
}
