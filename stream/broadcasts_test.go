package stream

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// broadcasts runs a reader until stop is called or the test ends. What it is told to disconnect goes to heard.
func (c *Client) broadcasts(t *testing.T, heard chan<- string) (b *Broadcasts, stop func()) {
	t.Helper()
	b = c.NewBroadcasts(BroadcastsConfig{Stream: "__anycable__", Disconnect: func(id string, reconnect bool) {
		select {
		case heard <- fmt.Sprint(id, reconnect):
		default:
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return b, stop
}

// Two that both take themselves for the reader, because the lease of one was lost without a word, publish everything once and in order.
// Commands are heard by all.
func TestBroadcastsOfTwoReaders(t *testing.T) {
	server := testcluster.NewRedis(t, false)
	redis, err := testcluster.DialRedis(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	do := func(args ...string) any {
		t.Helper()
		v, err := redis.Do(args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return v
	}
	heard := make(chan string, 10)
	one := ready(t, startWith(t, Config{URL: server.URL()}, zap.NewNop()))
	two := ready(t, startWith(t, Config{URL: server.URL()}, zap.NewNop()))
	do("XADD", "__anycable__", "*", "payload", `{"stream":"finals","data":"from before the group was made"}`)
	a, stopA := one.broadcasts(t, heard)
	testcluster.Soon(t, "the first reads", a.reading.Load)
	const n = 400
	add := func(from, to int) {
		for i := from; i < to; i++ {
			do("XADD", "__anycable__", "*", "payload", fmt.Sprintf(`{"stream":"finals","data":"%d"}`, i))
		}
	}
	add(0, n/2)
	do("DEL", a.leaseKey())
	b, _ := two.broadcasts(t, heard)
	add(n/2, n)
	testcluster.Soon(t, "the second reads", b.reading.Load)
	published := func() int {
		list, err := redis.Truth("finals")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	testcluster.Soon(t, "all is published", func() bool { return published() >= n })
	testcluster.Soon(t, "all is acknowledged", func() bool {
		return strings.HasPrefix(fmt.Sprint(do("XPENDING", "__anycable__", "ringside")), "[0 ")
	})
	stopA()
	list, err := redis.Truth("finals")
	if err != nil || len(list) != n {
		t.Fatalf("got %d entries, %v, want %d", len(list), err, n)
	}
	for i, e := range list {
		if e.Payload != fmt.Sprint(i) {
			t.Fatalf("entry %d: got %s", i, e.Payload)
		}
	}

	// The group goes with the stream, and comes back with it.
	do("DEL", "__anycable__")
	add(n, n+1)
	testcluster.Soon(t, "a new stream is read from its beginning", func() bool { return published() == n+1 })

	one.broadcasts(t, heard)
	testcluster.Soon(t, "the commands are listened to", func() bool {
		if err := b.Disconnect(t.Context(), "ann", true); err != nil {
			return false
		}
		return len(heard) >= 4 // both have heard two
	})
	if got := <-heard; got != "anntrue" {
		t.Errorf("got %q", got)
	}
}

// What is none is set aside and holds up nobody.
func TestBroadcastsThatAreNone(t *testing.T) {
	server := testcluster.NewRedis(t, false)
	redis, err := testcluster.DialRedis(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	c := ready(t, startWith(t, Config{URL: server.URL(), MaxPayload: 1000}, zap.NewNop()))
	b, _ := c.broadcasts(t, make(chan string, 10))
	testcluster.Soon(t, "it reads", b.reading.Load)
	bad := []string{
		"", "{", `{"stream":"finals"}`, `{"stream":"a\u0007b","data":"1"}`, `{"stream":"finals","data":"` + strings.Repeat("x", 1001) + `"}`, `{"command":"fly"}`,
	}
	for _, payload := range bad {
		if _, err := redis.Do("XADD", "__anycable__", "*", "payload", payload); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := redis.Do("XADD", "__anycable__", "*", "other", "field"); err != nil {
		t.Fatal(err)
	}
	if _, err := redis.Do("XADD", "__anycable__", "*", "payload", `{"stream":"finals","data":"good"}`); err != nil {
		t.Fatal(err)
	}
	testcluster.Soon(t, "the good one is published", func() bool {
		list, err := redis.Truth("finals")
		return err == nil && len(list) == 1 && list[0].Payload == "good"
	})
	if v, err := redis.Do("XLEN", "__anycable__:poison"); err != nil || fmt.Sprint(v) != fmt.Sprint(len(bad)+1) {
		t.Errorf("set aside: got %v, %v, want %d", v, err, len(bad)+1)
	}
}
