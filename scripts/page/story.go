package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringside-edge/ringside/internal/testcluster"
)

// pace is the time between two messages of a story: one that leaves the machine to what is tested.
const pace = 5 * time.Millisecond

// message is one of a story's.
type message struct{ id, data string }

// story is a topic to which numbered messages are published, by plain XADD and so past everything that is broken.
type story struct {
	topic, redis string

	mu   sync.Mutex         // held while nothing shall be published
	conn *testcluster.Redis // guarded by mu; nil when it is to be made anew
	next int                // guarded by mu: number of the next message
	all  []message          // guarded by mu: what followers must have had, in order
	err  error              // guarded by mu: the first failure
}

// run publishes until ctx ends or a publish fails.
func (s *story) run(ctx context.Context) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		err := s.tell()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// tell publishes the next message. The caller holds mu.
func (s *story) tell() error {
	if s.conn == nil && s.err == nil {
		s.conn, s.err = testcluster.DialRedis(s.redis)
	}
	if s.err != nil {
		return s.err
	}
	data := strconv.Itoa(s.next)
	id, err := s.conn.Add(s.topic, data, "")
	if err != nil {
		s.err = fmt.Errorf("cannot publish: %w", err)
		return s.err
	}
	s.next++
	s.all = append(s.all, message{id.String(), data})
	return nil
}

// published is how many messages have been published.
func (s *story) published() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next, s.err
}

// holds runs f while nothing is published; afterwards a connection is made anew, for f may have restarted Redis.
func (s *story) holds(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close() // nothing is on its way on it
		s.conn = nil
	}
	return f()
}

// follows says where a follower's messages are not those of the story, from the first that it has on: each once, in order.
func (s *story) follows(got []message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(got) == 0 {
		return nil
	}
	first := slices.IndexFunc(s.all, got[0].of)
	if first < 0 {
		return fmt.Errorf("the first message, %+v, was never published", got[0])
	}
	for i, m := range got {
		if first+i >= len(s.all) {
			return fmt.Errorf("message %d, %+v, is one too many", i, m)
		}
		if want := s.all[first+i]; !m.of(want) {
			return fmt.Errorf("message %d is %+v, want %+v", i, m, want)
		}
	}
	return nil
}

// of reports whether a message as a client has it, whose ID is a position with the epoch in front, is that of a story.
func (m message) of(s message) bool { return m.data == s.data && strings.HasSuffix(m.id, "-"+s.id) }
