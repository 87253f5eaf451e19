package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// put asks a node's admin port to change a setting of the cluster.
func put(t *testing.T, n *testcluster.Node, method, path, body string) {
	t.Helper()
	r, err := testcluster.Do(t.Context(), method, "http://"+n.Admin+path, body, nil)
	if err != nil || r.Status != http.StatusOK {
		t.Fatalf("%s %s: got %d %s, %v", method, path, r.Status, r.Body, err)
	}
}

// TestPinMovesSessions pins a topic that has sessions, and pins it elsewhere: they follow, and their clients notice nothing.
func TestPinMovesSessions(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), routers, gateways)
	topics := []string{"finals"}
	a := join(t, c, redis, topics, 24)
	tr := publishers(t, c, redis, topics, 2, 200)
	for i, id := range []string{"g1", "g3", "g2"} {
		put(t, c.Router(i), http.MethodPut, "/pins/finals?shards="+id, "")
		eventually(t, "all sessions are at "+id, func() error {
			for _, g := range c.Running(testcluster.Gateway) {
				held, err := g.Metric(t.Context(), "ringside_gateway_sessions")
				if err == nil && (held != 0) != (g.ID == id) {
					err = fmt.Errorf("%s has %v", g.ID, held)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	tr.wait()
	a.verify(t)
	a.nobodyNoticed(t)
}

// TestPolicyReachesMovedSessions sets the backoff policy: an event stream is told, and so is a session whose gateway was killed before;
// one whose gateway is killed behind it is not told again.
func TestPolicyReachesMovedSessions(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), 1, 2)
	router := c.Router(0)
	text := make(chan string, 100)
	stream := openEvents(t, router, "finals", text)
	defer stream()
	retry := func() (ms int) {
		t.Helper()
		for {
			select {
			case line := <-text:
				if n, err := fmt.Sscanf(line, "retry: %d", &ms); n == 1 && err == nil {
					return ms
				}
			case <-time.After(testcluster.Limit()):
				t.Fatal("no retry came")
			}
		}
	}
	if ms := retry(); ms < 1000 || ms > 3000 {
		t.Errorf("at first: got %d ms, want 5 to 15 times 200 ms", ms)
	}
	kill := func(id string) {
		t.Helper()
		put(t, router, http.MethodPut, "/pins/finals?shards="+id, "")
		eventually(t, "the session is at "+id, func() error {
			held, err := c.Gateway(id).Metric(t.Context(), "ringside_gateway_sessions")
			if err == nil && held != 1 {
				err = fmt.Errorf("it has %v", held)
			}
			return err
		})
		c.Gateway(id).Kill()
		eventually(t, "it is elsewhere", func() error {
			for _, g := range c.Running(testcluster.Gateway) {
				if held, err := g.Metric(t.Context(), "ringside_gateway_sessions"); err != nil || held != 1 {
					return fmt.Errorf("%s has %v, %v", g.ID, held, err)
				}
			}
			return nil
		})
	}
	kill("g1")
	put(t, router, http.MethodPut, "/policy", `{"min":1000}`)
	if ms := retry(); ms < 5000 || ms > 15000 {
		t.Errorf("after the change: got %d ms, want 5 to 15 times 1 s", ms)
	}
	c.AddGateway("g3")
	c.WaitReady()
	c.WaitConverged()
	kill("g2")
	p, err := publish(router, "finals", `{"last":true}`, "")
	if err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case line := <-text:
			if strings.HasPrefix(line, "retry:") {
				t.Errorf("told again: %s", line)
			}
			if line == "id: "+p.Position {
				return
			}
		case <-time.After(testcluster.Limit()):
			t.Fatal("the message did not come")
		}
	}
}

// openEvents opens an event stream and hands on its lines, until the function that it returns is called.
func openEvents(t *testing.T, n *testcluster.Node, topic string, lines chan<- string) (stop func()) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.HTTP()+"/t/"+topic, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return func() {
		resp.Body.Close()
		<-done
	}
}
