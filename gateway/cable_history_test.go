package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
	"github.com/ringside-edge/ringside/internal/topicrule"
)

// cableClient is a client of Action Cable that fails the test instead of returning errors.
type cableClient struct{ *wsClient }

func (r *rig) cable(protocol string) cableClient {
	r.t.Helper()
	c := cableClient{r.dial("finals?pi=60", protocol, "actioncable-unsupported")}
	if got := c.c.Subprotocol(); got != protocol {
		r.t.Fatalf("subprotocol: got %q, want %q", got, protocol)
	}
	if m := c.said(); m.Type != "welcome" {
		r.t.Fatalf("the first word is %+v", m)
	}
	return c
}

func (c cableClient) said() (m cableSaid) {
	c.t.Helper()
	for m.Type = "ping"; m.Type == "ping"; {
		_, b := c.raw()
		m = cableSaid{}
		if err := json.Unmarshal([]byte(b), &m); err != nil {
			c.t.Fatalf("not JSON: %q", b)
		}
	}
	return m
}

func (c cableClient) command(command, identifier, more string) {
	c.t.Helper()
	q, _ := json.Marshal(identifier)
	c.send(fmt.Sprintf(`{"command":"%s","identifier":%s%s}`, command, q, more))
}

// wants says what comes next: types of words, and the text of messages.
func (c cableClient) wants(words ...string) (last cableSaid) {
	c.t.Helper()
	for _, want := range words {
		last = c.said()
		got := last.Type
		if got == "" {
			got = string(last.Message)
		}
		if got != want {
			c.t.Fatalf("got %+v, want %s", last, want)
		}
	}
	return last
}

func TestCableHistory(t *testing.T) {
	bothLoops(t, speaksCable, func(t *testing.T, r *rig) {
		id := cableID("finals", "")
		first := r.cable(protocolCableExt)
		first.command("subscribe", id, "")
		first.wants("confirm_subscription")
		for i := 1; i <= 3; i++ {
			r.publish("finals", fmt.Sprint(i))
		}
		one := first.wants("1")
		first.wants("2", "3")
		cursor := fmt.Sprintf(`,"history":{"since":1,"streams":{"finals":{"epoch":"%s","offset":%d}}}`, one.Epoch, one.Offset)
		since := fmt.Sprintf(`,"history":{"since":%d}`, time.Now().Add(-time.Minute).Unix())
		later := fmt.Sprintf(`,"history":{"since":%d}`, time.Now().Add(time.Hour).Unix())
		other := fmt.Sprintf(`,"history":{"streams":{"finals":{"epoch":"00000001","offset":%d}}}`, 1)
		odd := `,"history":{"streams":{"finals":{"epoch":"no","offset":-1}}}`
		ask := func(history string, words ...string) {
			t.Helper()
			c := r.cable(protocolCableExt)
			c.command("subscribe", id, history)
			c.wants("confirm_subscription")
			c.wants(words...)
			c.c.Close()
		}
		ask(cursor, "2", "3", "confirm_history")
		ask(since, "1", "2", "3", "confirm_history")
		ask(later, "confirm_history")
		ask(other, "reject_history", "1", "2", "3")
		ask(odd, "reject_history")

		// For a subscription that there is, what its topic has brought since comes again.
		first.command("history", id, cursor)
		first.wants("2", "3", "confirm_history")
		first.command("history", "unknown", cursor)
		r.publish("finals", "4")
		first.wants("4")

		// A second name for the same has no cursor of its own.
		alias := cableID("finals", "again")
		first.command("subscribe", alias, cursor)
		if m := first.wants("confirm_subscription"); m.Identifier != alias {
			t.Errorf("confirmed: %+v", m)
		}
		if m := first.wants("reject_history"); m.Identifier != alias {
			t.Errorf("rejected: %+v", m)
		}
		r.publish("finals", "5")
		first.wants("5", "5")

		// Without extensions there are no positions.
		plain := r.cable(protocolCable)
		plain.command("subscribe", id, cursor)
		plain.wants("confirm_subscription")
		r.publish("finals", "6")
		if m := plain.wants("6"); m.Offset != 0 || m.Stream != "" {
			t.Errorf("got %+v", m)
		}
	})
}

// What a client can't do has an answer where there is a word for it, and is counted.
func TestCableCommands(t *testing.T) {
	bothLoops(t, func(c *Config) {
		speaksCable(c)
		c.MaxTopics = 3
		c.Cable.Signed = func(s string) (string, bool) { return "semi", s == "good" }
	}, func(t *testing.T, r *rig) {
		c := r.cable(protocolCableExt)
		for _, bad := range []string{
			"", "{}", "7", `{"channel":"ChatChannel"}`, `{"channel":"$pubsub"}`, `{"channel":"$pubsub","stream_name":"a\u0000b"}`,
			`{"channel":"$pubsub","signed_stream_name":"bad"}`, `{"channel":"Turbo::StreamsChannel","signed_stream_name":"bad"}`, `{"channel":"Turbo::StreamsChannel"}`,
		} {
			c.command("subscribe", bad, "")
			if m := c.wants("reject_subscription"); m.Identifier != bad {
				t.Errorf("rejected: got %q, want %q", m.Identifier, bad)
			}
		}
		for _, none := range []string{"{", `{"command":"fly"}`, `{"command":"message","identifier":"x","data":"{}"}`, `{"command":"unsubscribe","identifier":"x"}`, `{"command":"pong"}`} {
			c.send(none)
		}
		c.command("presence", "x", "")
		c.wants("presence")
		ids := []string{`{"channel":"Turbo::StreamsChannel","signed_stream_name":"good"}`, cableID("one", ""), cableID("two", "")}
		for _, id := range ids {
			c.command("subscribe", id, "")
			c.wants("confirm_subscription")
		}
		c.command("subscribe", cableID("three", ""), "")
		c.wants("reject_subscription")
		c.command("unsubscribe", ids[1], "")
		c.command("subscribe", cableID("three", ""), "")
		c.wants("confirm_subscription")
		r.publish("one", "1")
		r.publish("semi", "2")
		c.wants("2")
		r.publish("three", "3")
		c.wants("3")
		c.c.Close()
	})
}

// A client hears why its session ends, and whether it should come back.
func TestCableGoodbye(t *testing.T) {
	r := start(t, speaksCable)
	c := r.cable(protocolCable)
	drained := make(chan error, 1)
	go func() { drained <- r.g.Drain(t.Context()) }()
	if m := c.wants("disconnect"); m.Reason != cableRestart || !m.Reconnect {
		t.Errorf("got %+v", m)
	}
	if end := c.closed(); end.Code != websocket.CloseGoingAway {
		t.Errorf("got %v", end)
	}
	c.c.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// What sessions of a class get is put together without an allocation.
func TestCableBatchDoesNotAllocate(t *testing.T) {
	c, entries := aClass()
	for _, onLeg := range []bool{false, true} {
		w := &worker{}
		c.batch(w, entries, onLeg)
		if n := testing.AllocsPerRun(100, func() {
			w.turn++
			if b := c.batch(w, entries, onLeg); b.n != len(entries) {
				t.Fatalf("got %d entries", b.n)
			}
		}); n != 0 {
			t.Errorf("a batch allocates %v times", n)
		}
	}
}

func aClass() (*class, []*entry) {
	s := &slot{g: &Gateway{}}
	topic := &topic{name: "finals", quoted: []byte(`"finals"`), num: 1, slot: s, rule: topicrule.Rule{}}
	c := &class{format: formatCable, prefixes: [][]byte{[]byte(`{"identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"finals\"}"`)}}
	var entries []*entry
	for i := range 4 {
		payload, _ := json.Marshal(map[string]any{"score": "2:1", "n": i, "text": fmt.Sprintf("%0120d", i)})
		entries = append(entries, &entry{at: position.Position{Epoch: 1, ID: position.ID{Ms: uint64(i + 1)}}, topic: topic, payload: payload})
	}
	return c, entries
}

// BenchmarkCableBatch is what one message of about 200 bytes costs a class, whatever the number of its sessions.
func BenchmarkCableBatch(b *testing.B) {
	c, entries := aClass()
	w := &worker{}
	b.ReportAllocs()
	for b.Loop() {
		w.turn++
		c.batch(w, entries[:1], true)
	}
}

// Whoever comes back under the ID of a session whose connection broke is subscribed to what that was, and gets what it asks for; once, and
// only if it is the same client.
func TestCableRestore(t *testing.T) {
	bothLoops(t, speaksCable, func(t *testing.T, r *rig) {
		ids := []string{cableID("finals", ""), cableID("semi", "")}
		c := cableClient{r.dial("finals", protocolCableExt)}
		sid := c.said().SID
		for _, id := range ids {
			c.command("subscribe", id, "")
			c.wants("confirm_subscription")
		}
		r.publish("finals", "1")
		one := c.wants("1")
		_ = c.c.NetConn().Close()
		key := "ringside:kept:" + keepName(sid)
		testcluster.Soon(t, "what it was subscribed to is kept", func() bool { return r.redis.Exists(key) })
		r.publish("finals", "2")

		back := cableClient{r.dial("finals?sid="+sid, protocolCableExt)}
		welcome := back.said()
		if !welcome.Restored || !slices.Equal(welcome.IDs, ids) || welcome.SID == sid {
			t.Fatalf("got %+v", welcome)
		}
		r.tailed("finals", r.publish("finals", "3"))
		back.command("history", ids[0], fmt.Sprintf(`,"history":{"streams":{"finals":{"epoch":"%s","offset":%d}}}`, one.Epoch, one.Offset))
		if m := back.wants("2", "3", "confirm_history"); m.Identifier != ids[0] {
			t.Errorf("got %+v", m)
		}
		testcluster.Soon(t, "the other one is followed all the same", func() (follows bool) {
			r.each(func(s *session) { follows = follows || s.find("semi") != nil })
			return follows
		})
		r.publish("semi", "4")
		back.wants("4")
		if again := (cableClient{r.dial("finals?sid="+sid, protocolCableExt)}).said(); again.Restored {
			t.Errorf("restored twice: %+v", again)
		}
		for _, odd := range []string{"x", "", "0123456789abcdef", sid + "0"} {
			if m := (cableClient{r.dial("finals?sid="+odd, protocolCableExt)}).said(); m.Type != "welcome" || m.Restored {
				t.Errorf("sid %q: %+v", odd, m)
			}
		}
		r.redis.Set(key, `{"n":"somebody else","s":[{"i":"x","t":["finals"]}]}`)
		if m := (cableClient{r.dial("finals?sid="+sid, protocolCableExt)}).said(); m.Restored {
			t.Errorf("another's: %+v", m)
		}
	})
}
