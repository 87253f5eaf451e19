package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/leg"
	"github.com/ringside-edge/ringside/stream"
)

// follower is a session as a router has it: it keeps what it takes to go on with it at another gateway, and what its
// client has got. It implements leg.Sink.
type follower struct {
	t      testing.TB
	l      *legClient
	ticket string
	strip  leg.Stripper
	rest   []byte // a part of a record
	half   string // the topic of a message that is half way

	topics []leg.Standing
	nums   map[uint32]string // what this leg calls them
	begun  bool
	asks   bytes.Buffer // what the client has sent, as far as it is not acknowledged
	acked  uint64       // on this leg
	moves  int
	client []byte // what the client has
}

// followed opens a session.
func (r *rig) followed(topicAndQuery string, headers ...string) *follower {
	f := &follower{t: r.t, l: r.leg(topicAndQuery, headers...), nums: map[uint32]string{}}
	f.ticket = f.l.ticket
	return f
}

// say sends what a client sends.
func (f *follower) say(b []byte) {
	f.asks.Write(b)
	f.l.send(b)
}

// read takes n bytes at most of the leg, or what there is when until comes first.
func (f *follower) read(n int, until func() bool) {
	f.t.Helper()
	buf := make([]byte, 16<<10)
	deadline := time.Now().Add(testcluster.Limit())
	for n > 0 && !until() {
		_ = f.l.c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // to look at until now and then
		m, err := f.l.b.Read(buf[:min(n, len(buf))])
		n -= m
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			f.t.Fatalf("read: %v, with %+v", err, f.topics)
		}
		client, rest, err := f.strip.Strip(append(f.rest, buf[:m]...), f)
		f.client = append(f.client, client...)
		f.rest = bytes.Clone(rest)
		if err != nil {
			f.t.Fatalf("strip: %v", err)
		}
	}
}

// next cuts the leg and goes on at r.
func (f *follower) next(r *rig) {
	f.t.Helper()
	f.l.c.Close()
	num, half := f.strip.Half()
	switch {
	case !half:
		f.half = ""
	case num != 0:
		f.half = f.nums[num]
	}
	f.strip.NextLeg()
	block := leg.Resume{Begun: f.begun, First: -1, Topics: f.topics}
	if half {
		block.First = slices.IndexFunc(f.topics, func(s leg.Standing) bool { return s.Name == f.half })
		f.topics[block.First].Position, _ = f.strip.From()
	}
	f.rest, f.acked, f.nums = nil, 0, map[uint32]string{}
	f.l = r.resumed(f.ticket, block, f.asks.Bytes()...)
}

func (f *follower) LegTopic(h leg.Header, name []byte) {
	if h.Flags&leg.Off != 0 {
		f.topics = slices.DeleteFunc(f.topics, func(s leg.Standing) bool { return s.Name == f.nums[h.Topic] })
		return
	}
	s := leg.Standing{Name: string(name), Position: h.Position, Asked: h.Flags&leg.Asked != 0}
	f.begun, f.nums[h.Topic] = true, s.Name
	for i := range f.topics {
		if f.topics[i].Name == s.Name {
			if f.topics[i] != s {
				f.t.Errorf("topic: got %+v, want it as it was: %+v", s, f.topics[i])
			}
			return
		}
	}
	f.topics = append(f.topics, s)
}

func (f *follower) LegPosition(topic uint32, p position.Position) {
	for i := range f.topics {
		if s := &f.topics[i]; s.Name == f.nums[topic] {
			if p.ID.Less(s.Position.ID) {
				f.t.Errorf("%s: the position goes back from %v to %v", s.Name, s.Position, p)
			}
			s.Position, s.Asked = p, false
		}
	}
}

func (f *follower) LegAck(n uint64) {
	if n > f.acked+uint64(f.asks.Len()) {
		f.t.Errorf("acknowledged: %d bytes, of %d", n, f.acked+uint64(f.asks.Len()))
		return
	}
	f.asks.Next(int(max(n, f.acked) - f.acked))
	f.acked = max(n, f.acked)
}

func (f *follower) LegMove()                      { f.moves++ }
func (f *follower) LegRenew([]byte)               {}
func (f *follower) LegFeed(leg.Header, leg.Offer) {}
func (f *follower) LegEnd()                       { f.t.Error("the session was ended") }
func (f *follower) LegTold(uint32)                {}
func (f *follower) LegUnknown(k leg.Kind)         { f.t.Errorf("a record of kind %d", k) }
func (f *follower) has(last string) bool          { return bytes.Contains(f.client, []byte(last)) }
func (f *follower) until(last string)             { f.read(1<<40, func() bool { return f.has(last) }) }
func (f *follower) behind(greeting string) string {
	i := bytes.Index(f.client, []byte(greeting))
	if i < 0 {
		f.t.Fatalf("no %q in %.100q", greeting, f.client)
	}
	return string(f.client[i+len(greeting):])
}

// cool lets a gateway forget all that it does not need: the slots that it does not own are as if it had never had them.
func (r *rig) cool() {
	for _, s := range r.g.slots {
		s.sweep(time.Now().Add(time.Hour))
	}
	select {
	case r.g.tails.kick <- struct{}{}:
	default:
	}
}

const cutMessages = 150

// aCut is after how many bytes of a leg to cut it: now and then more than the largest record has, which comes from its
// beginning on every leg, and so would never be got past.
func aCut(rnd *rand.Rand) int {
	switch rnd.IntN(10) {
	case 0:
		return rnd.IntN(200 << 10)
	case 1, 2, 3:
		return rnd.IntN(30 << 10)
	}
	return rnd.IntN(700)
}

// publishAll publishes messages of all sizes to topics by turns, and a last one to each.
func (r *rig) publishAll(topics ...string) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range cutMessages {
		for _, topic := range topics {
			size := rnd.IntN(200)
			switch {
			case i%50 == 49:
				size = 100 << 10
			case i%10 == 9:
				size = 20 << 10 // just too large to be given out as a whole only
			}
			payload := fmt.Sprintf("%d %s", i, strings.Repeat("x", size))
			if i == cutMessages-1 {
				payload = "the last of " + topic
			}
			if _, err := r.stream.Publish(r.t.Context(), stream.Message{Topic: topic, Payload: []byte(payload)}); err != nil {
				r.t.Errorf("publish: %v", err)
				return
			}
		}
	}
}

// A session that is cut anywhere, many times over and while messages are published, gives its client what an undisturbed
// one gives, byte by byte.
func TestResumeManyCuts(t *testing.T) {
	twoGateways(t, func(c *Config) { c.Heartbeat = time.Hour }, func(t *testing.T, a, b *rig) {
		greetings := map[format]string{formatV1: `"}`, formatSSE: "\"}\n\n", formatRaw: ""}
		var all sync.WaitGroup
		defer all.Wait()
		total := 0
		for i := range 3 * len(greetings) { // Action Cable's are cut by TestCableManyCuts
			fm := format(i % len(greetings))
			headers := handshakes()[fm]
			topic := fmt.Sprintf("cut-%d", i)
			since := a.position(topic, "begin")
			last := "the last of " + topic
			undisturbed := a.followed(topic+"?since="+since.String(), headers...)
			f := a.followed(topic+"?since="+since.String(), headers...)
			all.Go(func() { a.publishAll(topic) })
			rnd := rand.New(rand.NewPCG(uint64(i), 3))
			cuts := 0
			for !f.has(last) {
				f.read(aCut(rnd), func() bool { return f.has(last) })
				if rnd.IntN(4) == 0 {
					b.cool()
				}
				f.next([]*rig{a, b}[rnd.IntN(2)])
				if cuts++; cuts > 2000 {
					t.Fatalf("%v: no end of it: %+v", fm, f.topics)
				}
			}
			undisturbed.until(last)
			got, want := f.behind(greetings[fm]), undisturbed.behind(greetings[fm])
			if !strings.HasPrefix(got, want) || len(got) > len(want)+20 {
				at := 0
				for at < min(len(got), len(want)) && got[at] == want[at] {
					at++
				}
				t.Errorf("%v: after %d cuts: got %d bytes, want %d; they differ from byte %d on: got %.200q, want %.200q", fm, cuts,
					len(got), len(want), at, got[at:], want[at:])
			}
			total += cuts
			undisturbed.l.c.Close()
			f.l.c.Close()
		}
		if total < 90 {
			t.Errorf("only %d cuts in all", total)
		}
	})
}

// The same with several topics and a client that sends commands: no message is missing or comes twice, no topic's come out
// of order, no command goes unanswered, and nobody is welcomed twice.
func TestResumeManyCutsOfSeveralTopics(t *testing.T) {
	twoGateways(t, func(c *Config) { c.Heartbeat = time.Hour }, func(t *testing.T, a, b *rig) {
		topics := []string{"one", "two", "three"}
		var since []string
		for _, topic := range topics {
			since = append(since, a.position(topic, "begin").String())
		}
		f := a.followed("one?since="+since[0], upgradeHeaders...)
		for i, topic := range topics[1:] {
			f.say(clientText(fmt.Sprintf(`{"type":"subscribe","topic":"%s","since":"%s"}`, topic, since[i+1])))
		}
		var all sync.WaitGroup
		defer all.Wait()
		all.Go(func() { a.publishAll(topics...) })
		done := func() bool {
			return f.has("the last of one") && f.has("the last of two") && f.has("the last of three") && f.asks.Len() == 0
		}
		rnd := rand.New(rand.NewPCG(5, 6))
		asked := 0
		for cuts := 0; !done(); cuts++ {
			f.read(aCut(rnd), done)
			if rnd.IntN(4) == 0 {
				b.cool()
			}
			f.next([]*rig{a, b}[rnd.IntN(2)])
			if cuts%3 == 0 {
				f.say(clientText(fmt.Sprintf(`{"type":"unsubscribe","topic":"no-%d"}`, asked)))
				asked++
			}
			if cuts > 2000 {
				t.Fatalf("no end of it: %+v", f.topics)
			}
		}
		f.read(1<<30, func() bool { return len(f.rest) == 0 && f.asks.Len() == 0 })
		next := map[string]int{}
		answered := map[string]bool{}
		for rest := f.client; len(rest) > 0; {
			n, payload := serverFrame(t, rest)
			rest = rest[n:]
			var m message
			if err := json.Unmarshal(payload, &m); err != nil {
				t.Fatal(err)
			}
			if m.Type != "message" {
				answered[m.Type+" "+m.Topic] = true
				if m.Type == "welcome" {
					next["welcome"]++
				}
				continue
			}
			want := fmt.Sprintf(`"%d `, next[m.Topic])
			if next[m.Topic] == cutMessages-1 {
				want = `"the last of `
			}
			if !strings.HasPrefix(string(m.Data), want) {
				t.Fatalf("%s: got %.40s, want %s", m.Topic, m.Data, want)
			}
			next[m.Topic]++
		}
		if next["welcome"] != 1 || len(next) != 4 {
			t.Errorf("got %v, want one welcome, and messages of three topics", next)
		}
		for i := range asked {
			if !answered[fmt.Sprintf("unsubscribed no-%d", i)] {
				t.Errorf("command %d was not answered", i)
			}
		}
		if !answered["subscribed two"] || !answered["subscribed three"] {
			t.Error("a subscription was not answered")
		}
		f.l.c.Close()
	})
}
