package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// audience is all clients of a run.
type audience struct {
	start   time.Time
	cluster *cluster
	seed    maphash.Seed
	clients []*client
	hurry   atomic.Bool // slow ones read at full speed: the faults are over
	wg      sync.WaitGroup
}

// now is the time since the start of the run.
func (a *audience) now() time.Duration { return time.Since(a.start) }

// sum stands for a payload.
func (a *audience) sum(b []byte) uint64 { return maphash.Bytes(a.seed, b) }

// floodTopics is how many topics are flooded while clients stall. No raw client follows them: it could not be told
// of the gap.
const floodTopics = 2

// populate makes n clients over the topics. Of every 20, eight speak v1 with one topic, four with several, three raw, five
// SSE.
func (a *audience) populate(seed uint64, n int, topics []string) {
	kinds := []testcluster.Protocol{
		testcluster.V1, testcluster.SSE, testcluster.V1, testcluster.Raw, testcluster.V1,
		testcluster.V1, testcluster.SSE, testcluster.V1, testcluster.V1, testcluster.Raw,
		testcluster.V1, testcluster.SSE, testcluster.V1, testcluster.SSE, testcluster.V1,
		testcluster.V1, testcluster.Raw, testcluster.V1, testcluster.SSE, testcluster.V1,
	}
	for i := range n {
		c := &client{
			a: a, protocol: kinds[i%len(kinds)], home: i, tracks: map[string]*track{},
			rng: rand.New(rand.NewPCG(seed, uint64(i)+1)),
		}
		first := (i + i/len(topics)) % len(topics)
		if c.protocol == testcluster.Raw {
			first = floodTopics + i%(len(topics)-floodTopics)
		}
		c.topics = []string{topics[first]}
		if c.protocol == testcluster.V1 && i%5 == 0 {
			for k := range 2 + i%3 {
				if more := topics[(first+k*7+1)%len(topics)]; !slices.Contains(c.topics, more) {
					c.topics = append(c.topics, more)
				}
			}
		}
		c.trait = a.trait(c, first, i)
		c.name = fmt.Sprintf("s%d (%v, %v)", i, c.protocol, c.trait)
		for _, t := range c.topics {
			c.tracks[t] = &track{}
		}
		a.clients = append(a.clients, c)
	}
}

// trait picks how the i-th client behaves: raw ones only steadily, for they have no positions to come back with.
func (a *audience) trait(c *client, first, i int) trait {
	switch {
	case c.protocol == testcluster.Raw:
		return steady
	case first < floodTopics && i%2 == 0:
		return stalling
	case len(c.topics) > 1 && i%2 == 1:
		return toggling
	case i%12 == 1 || i%12 == 4:
		return slowly
	case i%12 == 7:
		return leaving
	case i%12 == 10:
		return stalling
	}
	return steady
}

// run starts all clients.
func (a *audience) run(ctx context.Context) {
	for _, c := range a.clients {
		own, cancel := context.WithCancel(ctx)
		c.cancel = cancel
		a.wg.Go(func() { c.run(own) })
	}
}

// stop ends all clients and waits for them.
func (a *audience) stop() {
	for _, c := range a.clients {
		if c.cancel != nil {
			c.cancel()
		}
	}
	a.wg.Wait()
}

// stall makes the stalling clients stop reading for a while.
func (a *audience) stall(d time.Duration) {
	for _, c := range a.clients {
		if c.trait == stalling {
			c.mu.Lock()
			c.stalled = time.Now().Add(d)
			c.mu.Unlock()
		}
	}
}

// behind is nil when every client has all its topics and everything up to the given publications.
func (a *audience) behind(last map[string]publication) error {
	var first error
	n := 0
	for _, c := range a.clients {
		if err := c.behind(last); err != nil {
			if n++; first == nil {
				first = err
			}
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d clients are behind; the first: %w", n, len(a.clients), first)
}

// rawBehind reports whether a raw client that is connected has not heard the given publications: it may have come
// after them.
func (a *audience) rawBehind(last map[string]publication) bool {
	for _, c := range a.clients {
		if c.protocol == testcluster.Raw && c.behind(last) != nil {
			return true
		}
	}
	return false
}
