package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gossip"
	"github.com/ringside-edge/ringside/internal/admin"
	"github.com/ringside-edge/ringside/internal/backoff"
	"github.com/ringside-edge/ringside/ring"
	"github.com/ringside-edge/ringside/stream"
)

// Names of the registers. What begins otherwise is of a later version and left alone.
const (
	registerBackoff   = "backoff"
	registerPin       = "pin/"       // and the topic: a JSON array of shard IDs
	registerDedicated = "dedicated/" // and the shard: the JSON true
)

const (
	// rememberEvery is how often Redis is asked what it remembers, so that what was written by another cluster, or before this
	// node came, is found; and rememberSoon how soon after a change, or a failure.
	rememberEvery = 10 * time.Second
	rememberSoon  = 200 * time.Millisecond
	// memoryPatience is how long a node that comes up waits for what Redis remembers: without, it would begin with the defaults.
	memoryPatience = 2 * time.Second
)

// clusterSettings are the registers as the rest of the program knows them. It implements [admin.Settings].
//
//	admin port ──► registers ──► gossip, other nodes
//	                  │    ▲
//	      policy,     │    └──── remember ◄──► Redis
//	      wishes ◄────┘
type clusterSettings struct {
	*gossip.Settings
	log    *zap.Logger
	stream *stream.Client

	policy atomic.Pointer[backoff.Policy]
	wishes atomic.Pointer[ring.Wishes]

	mu      sync.Mutex             // so that an older reading never replaces a newer one
	as      uint64                 // guarded by mu: of which changes the readings are
	waiting map[chan struct{}]bool // guarded by mu: for changes of the policy
	read    chan struct{}
	hasRead sync.Once
}

func newClusterSettings(id string, client *stream.Client, log *zap.Logger) *clusterSettings {
	s := &clusterSettings{Settings: gossip.NewSettings(id, log), log: log, stream: client, read: make(chan struct{}), waiting: map[chan struct{}]bool{}}
	p := backoff.Default()
	s.policy.Store(&p)
	s.wishes.Store(&ring.Wishes{})
	return s
}

// interpret reads the registers. What can't be read counts as not set, as if its writer had never come.
func (s *clusterSettings) interpret() ring.Wishes {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := s.Changes()
	if changes == s.as {
		return s.Wishes()
	}
	s.as = changes
	p := backoff.Default()
	if v, ok := s.Get(registerBackoff); ok {
		var set backoff.Policy
		if json.Unmarshal(v, &set) == nil && set.Validate() == nil {
			p = set
		}
	}
	if was := s.policy.Swap(&p); *was != p {
		for ch := range s.waiting {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
	var w ring.Wishes
	for _, r := range s.All(registerPin) {
		pin := ring.Pin{Topic: strings.TrimPrefix(r.Name, registerPin)}
		if json.Unmarshal(r.Value, &pin.Shards) == nil && len(pin.Shards) > 0 {
			w.Pins = append(w.Pins, pin)
		}
	}
	for _, r := range s.All(registerDedicated) {
		w.Dedicated = append(w.Dedicated, strings.TrimPrefix(r.Name, registerDedicated))
	}
	s.wishes.Store(&w)
	return w
}

// policyChanges subscribes to changes of the policy, as [gossip.Node.Changed] does.
func (s *clusterSettings) policyChanges() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[ch] = true
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, ch)
	}
}

// Policy implements [admin.Settings].
func (s *clusterSettings) Policy() backoff.Policy { return *s.policy.Load() }

// Wishes implements [admin.Settings].
func (s *clusterSettings) Wishes() ring.Wishes { return *s.wishes.Load() }

// SetPolicy implements [admin.Settings].
func (s *clusterSettings) SetPolicy(p backoff.Policy) error { return s.set(registerBackoff, p) }

// Pin implements [admin.Settings].
func (s *clusterSettings) Pin(topic string, shards []string) error {
	if len(shards) == 0 {
		return s.delete(registerPin + topic)
	}
	return s.set(registerPin+topic, shards)
}

// Dedicate implements [admin.Settings].
func (s *clusterSettings) Dedicate(shard string, on bool) error {
	if !on {
		return s.delete(registerDedicated + shard)
	}
	return s.set(registerDedicated+shard, true)
}

// Unremembered implements [admin.Settings].
func (s *clusterSettings) Unremembered() int { return s.Status().Unremembered }

func (s *clusterSettings) set(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.Set(name, b); err != nil {
		return fmt.Errorf("%w: %w", admin.ErrSetting, err)
	}
	s.interpret()
	s.log.Info("a setting was made here", zap.String("setting", name), zap.ByteString("value", b))
	return nil
}

func (s *clusterSettings) delete(name string) error {
	if err := s.Delete(name); err != nil {
		return fmt.Errorf("%w: %w", admin.ErrSetting, err)
	}
	s.interpret()
	s.log.Info("a setting was taken back here", zap.String("setting", name))
	return nil
}

// run reads the registers after each change, and exchanges them with Redis, until ctx ends. Redis being away delays only
// that they are remembered.
func (s *clusterSettings) run(ctx context.Context) error {
	changed, cancel := s.Changed()
	defer cancel()
	due := time.After(0)
	told := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			s.interpret()
			due = time.After(rand.N(rememberSoon))
			continue
		case <-due:
		}
		err := s.exchange(ctx)
		pause := rememberEvery/2 + rand.N(rememberEvery)
		switch {
		case err == nil && told:
			told = false
			s.log.Info("settings are remembered again")
		case err != nil && ctx.Err() == nil:
			pause = rememberSoon + rand.N(time.Second)
			if !told && s.hasAsked() {
				told = true
				s.log.Warn("settings are not remembered for now: a restart of all nodes would lose the latest", zap.Error(err))
			}
		}
		due = time.After(pause)
	}
}

func (s *clusterSettings) hasAsked() bool {
	select {
	case <-s.read:
		return true
	default:
		return false
	}
}

// exchange tells Redis what it does not have, and takes what it has.
func (s *clusterSettings) exchange(ctx context.Context) error {
	keep, forget := s.Settings.Unremembered()
	all, refused, err := s.stream.Settings(ctx, keep, forget)
	if err != nil {
		return err
	}
	s.Remembered(all, refused)
	s.interpret()
	s.hasRead.Do(func() { close(s.read) })
	return nil
}

// await waits until Redis has told what it remembers, or for a moment.
func (s *clusterSettings) await(ctx context.Context) {
	select {
	case <-s.read:
	case <-ctx.Done():
	case <-time.After(memoryPatience):
	}
}
