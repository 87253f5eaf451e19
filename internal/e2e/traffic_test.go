package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// traffic is a set of publishers at work.
type traffic struct {
	wg   sync.WaitGroup
	stop chan struct{}
	run  uint32 // tells the payloads and IDs of one traffic from another's

	mu    sync.Mutex
	acked map[string]published // guarded by mu; by payload
	count int                  // guarded by mu; messages of all publishers, by XADD too
}

// publishEvery is the pace of one publisher: the tests are about what arrives, not about load.
const publishEvery = 4 * time.Millisecond

// publishers start n publishers that go round the topics, the even ones by HTTP and the odd ones by plain
// XADD. Each publishes messages messages, or without end when that is 0.
func publishers(t *testing.T, c *testcluster.Cluster, redis *testcluster.RedisServer, topics []string, n, messages int) *traffic {
	tr := &traffic{stop: make(chan struct{}), run: rand.Uint32(), acked: map[string]published{}}
	for p := range n {
		conn := redis.Dial(t)
		tr.wg.Go(func() {
			pace := time.NewTicker(publishEvery)
			defer pace.Stop()
			for i := 0; messages == 0 || i < messages; i++ {
				select {
				case <-tr.stop:
					return
				case <-pace.C:
				}
				topic := topics[(p*7+i)%len(topics)]
				data := fmt.Sprintf(`{"run":%d,"by":%d,"n":%d,"pad":"%s"}`, tr.run, p, i, strings.Repeat("x", i%300))
				if err := tr.one(c, conn, p, i, topic, data); err != nil {
					t.Errorf("publisher %d, message %d: %v", p, i, err)
					return
				}
			}
		})
	}
	return tr
}

func (tr *traffic) one(c *testcluster.Cluster, conn *testcluster.Redis, p, i int, topic, data string) error {
	if p%2 == 1 {
		_, err := conn.Add(topic, data, "")
		tr.note("", published{})
		return err
	}
	id := ""
	if i%3 == 0 {
		id = fmt.Sprintf("%d-%d-%d", tr.run, p, i)
	}
	got, err := publish(c.Router(p/2), topic, data, id)
	if err != nil {
		return err
	}
	if got.Topic != topic || got.Slot != testcluster.Slot(topic) {
		return fmt.Errorf("the answer is %+v, want topic %q and slot %d", got, topic, testcluster.Slot(topic))
	}
	tr.note(data, got)
	return nil
}

func (tr *traffic) note(data string, p published) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.count++
	if data != "" {
		tr.acked[data] = p
	}
}

// messages is how many were published so far.
func (tr *traffic) messages() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.count
}

// wait waits for publishers with an end.
func (tr *traffic) wait() { tr.wg.Wait() }

// end stops publishers without one.
func (tr *traffic) end() {
	close(tr.stop)
	tr.wg.Wait()
}

// verify checks that what was acknowledged stands in Redis, where the answer said.
func (tr *traffic) verify(t *testing.T, redis *testcluster.Redis) {
	t.Helper()
	truth := map[string]map[position.ID]string{}
	for data, p := range tr.acked {
		if truth[p.Topic] == nil {
			list, err := redis.Truth(p.Topic)
			if err != nil {
				t.Fatal(err)
			}
			truth[p.Topic] = map[position.ID]string{}
			for _, e := range list {
				truth[p.Topic][e.ID] = e.Payload
			}
		}
		at, _ := position.Parse(p.Position) // it was parsed before
		if got := truth[p.Topic][at.ID]; got != data {
			t.Errorf("topic %s, %s: Redis has %.80q, want %.80q", p.Topic, p.Position, got, data)
			return
		}
	}
}
