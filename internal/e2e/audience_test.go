package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// audience is a set of subscribers with what is needed to judge them.
type audience struct {
	redis *testcluster.Redis
	subs  []*testcluster.Subscriber
	from  map[string]int // per topic: entries that stood in the stream before everybody was there
}

// warmRounds makes the messages of every round different, because raw subscribers have nothing else to tell them by.
var warmRounds atomic.Int64

// join starts n subscribers over the topics and waits until all are there. Of every six, three speak v1, two
// SSE and one raw; some name the topic in the query.
func join(t *testing.T, c *testcluster.Cluster, redis *testcluster.RedisServer, topics []string, n int) *audience {
	t.Helper()
	protocols := []testcluster.Protocol{testcluster.V1, testcluster.SSE, testcluster.V1, testcluster.Raw, testcluster.SSE, testcluster.V1}
	a := &audience{redis: redis.Dial(t), from: map[string]int{}}
	for i := range n {
		// Every topic gets every protocol: subscriber i and i+len(topics) follow the same one.
		p := protocols[(i/len(topics)+i)%len(protocols)]
		a.subs = append(a.subs, testcluster.Subscribe(t, testcluster.SubscriberConfig{
			Name:     fmt.Sprintf("s%d", i),
			Protocol: p,
			Base:     func() string { return c.Router(i).HTTP() },
			Topic:    topics[i%len(topics)],
			Query:    i%7 == 3,
		}))
	}
	a.waitOpen(t)
	a.warm(t)
	for _, topic := range topics {
		truth, err := a.redis.Truth(topic)
		if err != nil {
			t.Fatal(err)
		}
		a.from[topic] = len(truth)
	}
	return a
}

func (a *audience) waitOpen(t *testing.T) {
	t.Helper()
	testcluster.Eventually(t, "everybody is connected", func() error {
		var errs []error
		for _, s := range a.subs {
			errs = append(errs, s.Open())
		}
		return few(errs)
	})
}

// warm publishes until every raw subscriber has heard something on the connection that it has now: nothing else
// tells that it is subscribed.
func (a *audience) warm(t *testing.T) {
	t.Helper()
	mark := fmt.Sprintf(`{"warm":%d,`, warmRounds.Add(1))
	n := 0
	testcluster.Eventually(t, "every raw subscriber hears", func() error {
		silent := map[string]bool{}
		for _, s := range a.subs {
			topic := s.Topics()[0]
			if s.Protocol() == testcluster.Raw && !strings.HasPrefix(s.LastData(topic), mark) {
				silent[topic] = true
			}
		}
		for topic := range silent {
			n++
			if _, err := a.redis.Add(topic, fmt.Sprintf(`%s"n":%d}`, mark, n), ""); err != nil {
				return err
			}
		}
		if len(silent) > 0 {
			return fmt.Errorf("%d topics are silent", len(silent))
		}
		return nil
	})
}

// few joins errors, but not hundreds of them.
func few(errs []error) error {
	var list []error
	for _, err := range errs {
		if err != nil {
			list = append(list, err)
		}
	}
	if more := len(list) - 5; more > 0 {
		list = append(list[:5], fmt.Errorf("and %d more", more))
	}
	return errors.Join(list...)
}

// verify waits until everybody is there and stands at the end of the streams, and compares what they saw with
// them.
func (a *audience) verify(t *testing.T) {
	t.Helper()
	a.waitOpen(t)
	a.warm(t)
	truth := map[string][]testcluster.Entry{}
	for _, s := range a.subs {
		for _, topic := range s.Topics() {
			if _, ok := truth[topic]; ok {
				continue
			}
			list, err := a.redis.Truth(topic)
			if err != nil {
				t.Fatal(err)
			}
			truth[topic] = list
		}
	}
	testcluster.Eventually(t, "everybody has everything", func() error {
		var errs []error
		for _, s := range a.subs {
			for _, topic := range s.Topics() {
				errs = append(errs, testcluster.Complete(s, topic, truth[topic]))
			}
		}
		return few(errs)
	})
	var errs []error
	for _, s := range a.subs {
		for _, topic := range s.Topics() {
			errs = append(errs, testcluster.Check(s, topic, truth[topic], a.from[topic]))
		}
	}
	if err := few(errs); err != nil {
		t.Error(err)
	}
}
