package observe

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

// world is a cluster at work, with a Prometheus that watches it.
type world struct {
	redis *testcluster.RedisServer
	c     *testcluster.Cluster
	prom  *prometheus

	quiet func() // ends the publishers
}

// TestCluster watches a cluster through the life that clusters have: an audience, a client that comes back, one that comes too late, a
// gateway that is drained and started again. All that is well, and no alert may fire. Then Redis stops, and they must.
func TestCluster(t *testing.T) {
	for _, name := range []string{"prometheus", "promtool"} {
		tool(t, name)
	}
	w := &world{redis: testcluster.NewRedis(t, false)}
	w.c = testcluster.Start(t, w.redis.URL(), 1, 3)
	w.publish(t)
	w.audience(t)
	t.Run("metrics", w.testMetrics)
	w.prom = startPrometheus(t, w.c)
	t.Run("targets", w.testTargets)
	w.comeBack(t)
	w.restart(t)
	t.Run("board", w.testBoard)
	t.Run("well", w.testWell)
	w.quiet()
	t.Run("redis stops", w.testRedisStops)
}

// topics are those that the audience follows.
func topics() (names []string) {
	for i := range 8 {
		names = append(names, fmt.Sprintf("match-%d", i))
	}
	return names
}

// publish starts two publishers, one by HTTP and one by XADD, until quiet is called.
func (w *world) publish(t *testing.T) {
	t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	names, conn, router := topics(), w.redis.Dial(t), w.c.Router(0)
	both := []func(topic, data string) error{
		func(topic, data string) error {
			r, err := router.Post(context.Background(), "/publish/"+url.PathEscape(topic), data)
			if err == nil && r.Status != 200 {
				err = errors.New(r.Body)
			}
			return err
		},
		func(topic, data string) error { _, err := conn.Add(topic, data, ""); return err },
	}
	for _, one := range both {
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				if err := one(names[i%len(names)], fmt.Sprintf(`{"n":%d}`, i)); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	w.quiet = sync.OnceFunc(func() { close(stop); wg.Wait() })
	t.Cleanup(w.quiet)
}

// audience connects subscribers of every kind.
func (w *world) audience(t *testing.T) {
	t.Helper()
	var subs []*testcluster.Subscriber
	for i, topic := range topics() {
		for _, p := range []testcluster.Protocol{testcluster.V1, testcluster.V1, testcluster.SSE, testcluster.Raw} {
			subs = append(subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
				Name: fmt.Sprintf("s%d", i), Protocol: p, Base: w.c.Router(0).HTTP, Topic: topic,
			}))
		}
	}
	for _, s := range subs {
		testcluster.Eventually(t, "the audience is there", s.Open)
	}
}

// comeBack has clients come with the position where another one began, of topics of the same stream: one is replayed from memory, one
// from the stream, and one finds that it is too late, and is told of a gap.
func (w *world) comeBack(t *testing.T) {
	t.Helper()
	same := []string{"encore"}
	for i := 0; len(same) < 3; i++ {
		if name := fmt.Sprintf("encore-%d", i); testcluster.Slot(name) == testcluster.Slot(same[0]) {
			same = append(same, name)
		}
	}
	follow := func(cfg testcluster.SubscriberConfig) *testcluster.Subscriber {
		cfg.Base = w.c.Router(0).HTTP
		s := testcluster.Subscribe(t, cfg)
		testcluster.Eventually(t, "it is there", s.Open)
		return s
	}
	first := follow(testcluster.SubscriberConfig{Name: "first", Topic: same[0]})
	conn := w.redis.Dial(t)
	for i := range 10 {
		if _, err := conn.Add(same[i%3], fmt.Sprintf(`{"n":%d}`, i), ""); err != nil {
			t.Fatal(err)
		}
	}
	testcluster.Soon(t, "the first one has seen them", func() bool { return first.Count(same[0]) == 4 })
	start := first.Track(same[0]).Start
	for i, want := range []int{4, 3} {
		s := follow(testcluster.SubscriberConfig{Name: "back", Topic: same[i], Since: start})
		testcluster.Soon(t, "who comes back is replayed", func() bool { return s.Count(same[i]) == want })
	}
	if _, err := conn.Do("XTRIM", testcluster.StreamKey(same[0]), "MAXLEN", "1"); err != nil {
		t.Fatal(err)
	}
	late := follow(testcluster.SubscriberConfig{Name: "late", Topic: same[2], Since: start})
	testcluster.Soon(t, "who comes too late is told", func() bool { return len(late.Track(same[2]).Gaps) == 1 })
}

// restart drains a gateway under its sessions and starts it again, as a deployment does.
func (w *world) restart(t *testing.T) {
	t.Helper()
	old := w.c.Gateway("g3")
	w.c.Terminate(old)
	if code, err := old.Wait(testcluster.Limit()); code != 0 || err != nil {
		t.Fatalf("g3 ended with %d, %v, want 0", code, err)
	}
	w.c.Add(testcluster.NodeSpec{Role: testcluster.Gateway, ID: "g3", Reuse: old})
	w.c.WaitReady()
	w.c.WaitConverged()
}

// Prometheus reaches all nodes, by the labels that the alerts and the board go by.
func (w *world) testTargets(t *testing.T) {
	await(t, "all targets are up", func() error {
		got, err := w.prom.query(`up{cluster="ringside"} == 1`)
		if err == nil && len(got) != len(w.c.Nodes()) {
			err = fmt.Errorf("%d of %d: %v", len(got), len(w.c.Nodes()), got)
		}
		return err
	})
	var data struct {
		Active []struct{ ScrapeURL, LastError string } `json:"activeTargets"`
	}
	if err := w.prom.get("targets", nil, &data); err != nil {
		t.Fatal(err)
	}
	for _, target := range data.Active {
		if target.LastError != "" {
			t.Errorf("%s: %s", target.ScrapeURL, target.LastError)
		}
	}
}

// watched is how many scrapes long the cluster is watched while it is well: so long that what fires within seconds would have.
const watched = 15

// On a cluster that is well every rule can be evaluated, and none has fired.
func (w *world) testWell(t *testing.T) {
	await(t, "the cluster is watched for a while", func() error {
		return w.prom.has(fmt.Sprintf(`min(count_over_time(up[5m])) >= %d`, watched))
	})
	await(t, "the rules are evaluated", func() error {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		err := w.prom.get("rules", nil, &data)
		n := 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				n++
				if r.Health != "ok" {
					err = errors.Join(err, fmt.Errorf("%s: %s %s", r.Name, r.Health, r.LastError))
				}
			}
		}
		if err == nil && n != len(rules(t)) {
			err = fmt.Errorf("got %d rules, want %d", n, len(rules(t)))
		}
		return err
	})
	for _, r := range rules(t) {
		if _, err := w.prom.query(r.Expr); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
	if err := w.prom.hasNone(`count by (alertname, instance) (count_over_time(ALERTS{alertstate="firing"}[10m]))`); err != nil {
		t.Errorf("alerts fired though all is well: %v", err)
	}
	// Or else it was not the life that it should be.
	for _, expr := range []string{
		`sum(ringside_gateway_gaps_total{reason="trimmed"}) == 1`,
		`sum(ringside_gateway_replays_total{source="memory"}) > 0`, `sum(ringside_gateway_replays_total{source="stream"}) > 0`,
		`sum(ringside_router_moves_total{reason="drain",outcome="moved"}) > 0`,
		`sum(rate(ringside_gateway_messages_total[10s])) > 10`,
	} {
		await(t, "the cluster has lived", func() error { return w.prom.has(expr) })
	}
}

// Liveness says nothing when Redis hangs: all processes run, all connections stand. Freshness does.
func (w *world) testRedisStops(t *testing.T) {
	if err := w.redis.Pause(); err != nil {
		t.Fatal(err)
	}
	defer w.redis.Resume()
	await(t, "the alert is pending", func() error {
		return w.prom.has(`ALERTS{alertname="RingsideStaleSlots",alertstate="pending"}`)
	})
	for _, name := range []string{"RingsideStaleSlots", "RingsideRedisDown"} {
		await(t, "the alert fires", func() error { return w.prom.has(fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing"}`, name)) })
	}
	if err := w.prom.hasNone(`up == 0`); err != nil {
		t.Errorf("no process was stopped: %v", err)
	}
	var data struct {
		Alerts []struct {
			State               string
			Labels, Annotations map[string]string
		}
	}
	if err := w.prom.get("alerts", nil, &data); err != nil {
		t.Fatal(err)
	}
	for _, a := range data.Alerts {
		for name, text := range a.Annotations {
			if strings.Contains(text, "<no value>") || strings.Contains(text, "{{") || strings.Contains(text, "error") {
				t.Errorf("%s: %s: %q", a.Labels["alertname"], name, text)
			}
		}
	}
	if err := w.redis.Resume(); err != nil {
		t.Fatal(err)
	}
	await(t, "the alerts end", func() error {
		return w.prom.hasNone(`ALERTS{alertname=~"RingsideStaleSlots|RingsideWatermarkOld|RingsideRedisDown"}`)
	})
	w.c.WaitReady()
}
