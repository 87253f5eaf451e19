package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// jid is a token as an application makes them that is set up for AnyCable.
func jid(t *testing.T, identifiers string, expires time.Duration) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"ext": identifiers, "exp": time.Now().Add(expires).Unix()}).SignedString([]byte(cableSecret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (c *cableClient) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.stdin, line); err != nil {
		c.t.Fatal(err)
	}
}

// addBroadcast adds to AnyCable's stream, as an application does.
func addBroadcast(t *testing.T, redis *testcluster.Redis, payload string) {
	t.Helper()
	if _, err := redis.Do("XADD", "__anycable__", "*", "payload", payload); err != nil {
		t.Fatal(err)
	}
}

// Channels are the application's, by gRPC: who may follow them, what they follow, and what is said to them. What it has noted goes along
// when the gateway changes. Whoever brings a token is not asked about.
func TestCableChannels(t *testing.T) {
	a := startApp(t, "127.0.0.1:0")
	c, router, _ := cableCluster(t, false, "--cable-auth", "rpc", "--rpc-host", a.addr, "--allowed-origins", "https://shop.example", "--anycable-broadcasts", "__anycable__")
	redis, err := testcluster.DialRedis(strings.TrimPrefix(c.Redis, "redis://"))
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	base := "ws://" + router.Addr + "/cable"
	room, secret, stream := `{"channel":"ChatChannel","room":"1"}`, `{"channel":"ChatChannel","room":"secret"}`, `{"channel":"$pubsub","stream_name":"chat:1"}`
	bob := `{"user":"bob"}`
	rails := startCable(t, "rails", base, []string{room, secret, stream}, `{"cookie":"user=ann"}`)
	token := startCable(t, "anycable", base+"?jid="+url.QueryEscape(jid(t, bob, time.Hour)), []string{room, secret}, "{}")
	expiring := startCable(t, "anycable", base+"?jid="+url.QueryEscape(jid(t, `{"user":"eve"}`, 3*time.Second)), []string{room}, "{}")
	stranger := startCable(t, "anycable", base, []string{room}, "{}")
	for _, cl := range []*cableClient{rails, token} {
		cl.eventually("connected", room, 1)
		cl.eventually("rejected", secret, 1)
	}
	rails.eventually("connected", stream, 1)
	for _, e := range expiring.eventually("close", "", 1) {
		if e.Reason != "token_expired" {
			t.Errorf("the end of a token: got %+v", e)
		}
	}
	if got := stranger.eventually("close", "", 1); got[0].Reason != "unauthorized" {
		t.Errorf("a stranger: got %+v", got)
	}
	for _, call := range a.want("connect", 2) { // of rails and the stranger: tokens say by themselves who comes
		if call.Headers["cookie"] != "user=ann" && call.Headers["cookie"] != "" || strings.Contains(call.URL, "jid") {
			t.Errorf("the application was asked about %+v", call)
		}
	}

	n := 0
	heard := func(stream string) {
		t.Helper()
		n++
		addBroadcast(t, redis, fmt.Sprintf(`{"stream":%q,"data":"{\"n\":%d}"}`, stream, n))
		for _, cl := range []*cableClient{rails, token} {
			cl.hears(room, fmt.Sprintf(`{"n":%d}`, n))
		}
	}
	heard("chat:1")
	rails.say(`{"perform":"speak","data":{"text":"hello"}}`)
	rails.hears(room, `{"said":"hello","n":1,"room":"1"}`)
	victim := c.Running(testcluster.Gateway)[0]
	victim.Kill()
	heard("chat:1")
	for i, cl := range []*cableClient{rails, token} {
		cl.say(`{"perform":"speak","data":{"text":"again"}}`)
		cl.hears(room, fmt.Sprintf(`{"said":"again","n":%d,"room":"1"}`, 2-i))
		cl.say(`{"perform":"move","data":{"text":"2"}}`)
		cl.hears(room, fmt.Sprintf(`{"said":"2","n":%d,"room":"1"}`, 3-i))
	}
	heard("chat:2")
	for _, cl := range []*cableClient{rails, token} {
		if lost := append(cl.of("disconnected", ""), cl.of("disconnect", "")...); len(lost) > 0 {
			t.Errorf("noticed: %+v", lost)
		}
	}
	a.want("connect", 2)
	addBroadcast(t, redis, `{"command":"disconnect","payload":{"identifier":"{\"user\":\"bob\"}","reconnect":false}}`)
	if got := token.eventually("close", "", 1); got[0].Reason != "remote" {
		t.Errorf("disconnected from afar: got %+v", got)
	}
	rails.end()
	eventually(t, "the application is told of the end", func() error {
		for _, call := range a.of("disconnect") {
			if call.Identifiers == `{"user":"ann"}` && len(call.Subscriptions) == 2 {
				return nil
			}
		}
		return fmt.Errorf("%+v", a.of("disconnect"))
	})
}

// hears waits for a message of an identifier's.
func (c *cableClient) hears(identifier, message string) {
	c.t.Helper()
	eventually(c.t, message, func() error {
		for _, e := range c.of("received", identifier) {
			if string(e.Message) == message {
				return nil
			}
		}
		return fmt.Errorf("%+v", c.of("received", identifier))
	})
}

// An application that is set up for AnyCable publishes as it did: to a Redis stream, of which one gateway after another reads, and by
// HTTP. Within a topic everything comes once and in order, also when the one that reads is killed. What is no broadcast is set aside.
func TestAnycableBroadcasts(t *testing.T) {
	c, router, _ := cableCluster(t, false, "--anycable-broadcasts", "__anycable__")
	redis, err := testcluster.DialRedis(strings.TrimPrefix(c.Redis, "redis://"))
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	topics := []string{"one", "two"}
	n := 0
	publish := func(count int) {
		t.Helper()
		for range count {
			n++
			switch n % 10 {
			case 5:
				addBroadcast(t, redis, fmt.Sprintf(`[{"stream":"one","data":"{\"n\":%d}"},{"stream":"","data":"1"},{"stream":"two","data":"{\"n\":%[1]d}"}]`, n))
			case 7:
				addBroadcast(t, redis, `{"stream":`)
				fallthrough
			default:
				for _, topic := range topics {
					addBroadcast(t, redis, fmt.Sprintf(`{"stream":%q,"data":"{\"n\":%d}","meta":{"exclude_socket":"x"}}`, topic, n))
				}
			}
		}
	}
	reader := func() (name string) {
		for _, g := range c.Running(testcluster.Gateway) {
			if v, err := g.Metric(t.Context(), "ringside_stream_broadcasts_reading", ""); err == nil && v == 1 {
				name = g.ID
			}
		}
		return name
	}
	eventually(t, "somebody reads", func() error {
		if reader() == "" {
			return fmt.Errorf("nobody")
		}
		return nil
	})
	publish(300)
	first := reader()
	c.Gateway(first).Kill()
	publish(300)
	eventually(t, "everything is published", func() error {
		for _, topic := range topics {
			list, err := redis.Truth(topic)
			if err != nil || len(list) < n {
				return fmt.Errorf("%s: %d of %d, %v", topic, len(list), n, err)
			}
		}
		return nil
	})
	if now := reader(); now == first || now == "" {
		t.Errorf("%s reads after %s was killed", now, first)
	}
	for _, topic := range topics {
		list, _ := redis.Truth(topic)
		for i, e := range list {
			if want := fmt.Sprintf(`{"n":%d}`, i+1); e.Payload != want {
				t.Fatalf("%s: entry %d: got %s, want %s", topic, i, e.Payload, want)
			}
		}
	}
	// What the gateway that was killed had set aside and not acknowledged is set aside once more.
	if v, err := redis.Do("XLEN", "__anycable__:poison"); err != nil || v.(int64) < int64(2*n/10) || v.(int64) >= int64(2*2*n/10) { //nolint:forcetypeassert // Redis says so
		t.Errorf("set aside: got %v, %v, want %d, and a few more at most", v, err, 2*n/10)
	}
	for _, node := range []*testcluster.Node{router, c.Running(testcluster.Gateway)[0]} {
		resp, err := node.Post(t.Context(), "/_broadcast", `{"stream":"http","data":"{\"n\":1}"}`)
		if err != nil || resp.Status != 201 {
			t.Errorf("by HTTP: %d %s, %v", resp.Status, resp.Body, err)
		}
		resp, err = node.Post(t.Context(), "/_broadcast", `{"data":1}`)
		if err != nil || resp.Status != 400 || !json.Valid([]byte(resp.Body)) {
			t.Errorf("no broadcast: %d %s, %v", resp.Status, resp.Body, err)
		}
	}
	if list, err := redis.Truth("http"); err != nil || len(list) != 2 {
		t.Errorf("by HTTP: %+v, %v", list, err)
	}
}
