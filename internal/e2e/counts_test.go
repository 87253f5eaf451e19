package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// clusterCount is what GET /topics/{topic} says.
type clusterCount struct {
	Topic    string
	Count    int
	Age      int64
	Complete bool
	By       string
	Shards   []countPart
	Missing  []string
}

type countPart struct {
	Shard string
	Count int
	Age   int64
}

func countOf(t *testing.T, n *testcluster.Node, topic string) (c clusterCount, err error) {
	t.Helper()
	r, err := n.Get(t.Context(), "/topics/"+url.PathEscape(topic))
	if err == nil && r.Status != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", n.Name, r.Status, r.Body)
	}
	if err == nil {
		err = json.Unmarshal([]byte(r.Body), &c)
	}
	return c, err
}

// allCount waits until all nodes say the same of a topic, and that it is complete.
func allCount(t *testing.T, c *testcluster.Cluster, topic string, want int) (last clusterCount) {
	t.Helper()
	eventually(t, fmt.Sprintf("all nodes count %d in %s", want, topic), func() error {
		for _, n := range c.Nodes() {
			if n.Exited() {
				continue
			}
			var err error
			if last, err = countOf(t, n, topic); err != nil {
				return err
			}
			sum := 0
			for _, s := range last.Shards {
				sum += s.Count
			}
			if last.Count != want || sum != want || !last.Complete || last.Topic != topic {
				return fmt.Errorf("%s says %+v", n.Name, last)
			}
		}
		return nil
	})
	return last
}

// TestTopicCounts counts the sessions of topics while they come and go, on gateways that are killed and drained. Sessions of several topics are
// where their first topic is, and count for all.
func TestTopicCounts(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.Start(t, redis.URL(), routers, gateways, drainWindow)
	allCount(t, c, "finals", 0)
	allCount(t, c, "nobody/has ever been here?", 0)

	var subs []*testcluster.Subscriber
	follow := func(topic string, more ...string) {
		i := len(subs)
		cfg := testcluster.SubscriberConfig{
			Name: fmt.Sprint("s", i), Topic: topic, More: more, Base: func() string { return c.Router(i).HTTP() },
			Protocol: []testcluster.Protocol{testcluster.V1, testcluster.SSE, testcluster.Raw}[i%3],
		}
		if len(more) > 0 {
			cfg.Protocol = testcluster.V1
		}
		subs = append(subs, testcluster.Subscribe(t, cfg))
	}
	for range 12 {
		follow("finals")
	}
	first := topicNames(9) // of slots all over the ring
	for _, name := range first {
		follow(name, "finals", "semi")
	}
	got := allCount(t, c, "finals", 21)
	if len(got.Shards) < 2 {
		t.Errorf("sessions of several topics are said to be at one gateway: %+v", got)
	}
	allCount(t, c, "semi", 9)
	allCount(t, c, first[0], 1)

	for _, s := range subs[:4] {
		s.Stop()
	}
	subs = subs[4:]
	allCount(t, c, "finals", 17)

	// The gateway that adds up dies, and so does another: their sessions go on elsewhere.
	c.Gateway(got.By).Kill()
	after := allCount(t, c, "finals", 17)
	if after.By == got.By || slices.ContainsFunc(after.Shards, func(p countPart) bool { return p.Shard == got.By }) {
		t.Errorf("%s is dead: got %+v", got.By, after)
	}
	allCount(t, c, "semi", 9)
	c.AddGateway(got.By, drainWindow)
	c.WaitReady()
	c.WaitConverged()
	allCount(t, c, "finals", 17)

	// And one drains.
	if r, err := c.Gateway(after.By).Post(t.Context(), "/drain", ""); err != nil || r.Status/100 != 2 {
		t.Fatalf("drain: %+v, %v", r, err)
	}
	if _, err := c.Gateway(after.By).Wait(testcluster.Limit()); err != nil {
		t.Fatal(err)
	}
	allCount(t, c, "finals", 17)
	allCount(t, c, "semi", 9)
	for _, s := range subs {
		s.Stop()
	}
	allCount(t, c, "finals", 0)
	allCount(t, c, "semi", 0)
}

// viewer is a client that asks how many follow its topic.
type viewer struct {
	conn *websocket.Conn
	told chan int // what it was told
}

// watch connects one that asks, or one that does not, which must be told nothing.
func watch(t *testing.T, n *testcluster.Node, query string) *viewer {
	t.Helper()
	v := &viewer{conn: dialWebSocket(t, n, "/t/finals"+query, "ringside.v1"), told: make(chan int, 1000)}
	go func() {
		defer close(v.told)
		for {
			_, b, err := v.conn.ReadMessage()
			if err != nil {
				return
			}
			var m struct {
				Type  string
				Count int
			}
			if json.Unmarshal(b, &m) == nil && m.Type == "viewers" {
				v.told <- m.Count
			}
		}
	}()
	return v
}

// sees waits until it is told n, and fails when its connection ends.
func (v *viewer) sees(t *testing.T, n int) {
	t.Helper()
	over := time.After(testcluster.Limit())
	for {
		select {
		case got, ok := <-v.told:
			if !ok {
				t.Fatal("its connection has ended")
			}
			if got == n {
				return
			}
		case <-over:
			t.Fatalf("it is not told %d", n)
		}
	}
}

// TestViewersAcrossKillAndDrain: clients that ask are told how many there are, on the connection that they have, whatever becomes of gateways; and
// it is the number that GET /topics/ says. Those who did not ask are told nothing.
func TestViewersAcrossKillAndDrain(t *testing.T) {
	redis := testcluster.NewRedis(t, false)
	c := testcluster.New(t, redis.URL())
	for range routers {
		c.AddRouter()
	}
	for i := range gateways {
		c.AddGateway(fmt.Sprintf("g%d", i+1), "--viewers-every=100ms", "--count-every=100ms", drainWindow, "--drain-min=1")
	}
	c.WaitReady()
	c.WaitConverged()
	var asked, silent []*viewer
	for i := range 6 {
		asked = append(asked, watch(t, c.Router(i), "?viewers=1"))
		silent = append(silent, watch(t, c.Router(i), ""))
	}
	all := func(n int) {
		t.Helper()
		allCount(t, c, "finals", n)
		for _, v := range asked {
			v.sees(t, n)
		}
	}
	all(12)
	for _, leave := range []func(g *testcluster.Node){(*testcluster.Node).Kill, c.Terminate} {
		count, err := countOf(t, c.Router(0), "finals")
		if err != nil || len(count.Shards) == 0 {
			t.Fatalf("got %+v, %v", count, err)
		}
		g := c.Gateway(count.Shards[0].Shard)
		leave(g)
		if _, err := g.Wait(testcluster.Limit()); err != nil {
			t.Fatal(err)
		}
		allCount(t, c, "finals", len(asked)+len(silent))
		silent[0].conn.Close() // a change, of which those hear who asked
		silent = silent[1:]
		all(len(asked) + len(silent))
	}
	for _, v := range append(asked, silent...) {
		v.conn.Close()
	}
	for _, v := range silent {
		for n := range v.told {
			t.Errorf("who did not ask is told %d", n)
		}
	}
	allCount(t, c, "finals", 0)
}
