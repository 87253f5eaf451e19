package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/admin"
)

const (
	// matchTopic is the topic of the match that `ringside dev` plays.
	matchTopic = "final"
	// matchTick is how often something is told of it.
	matchTick = 100 * time.Millisecond
	// matchMinute is how long a minute of it takes.
	matchMinute = 4 * time.Second
	// matchPause is how long the result stands before the next one begins.
	matchPause = 10 * time.Second
)

// matchState is a message of the match. Seq goes up by one with each, so that whoever follows can tell what was lost or came twice;
// Run changes when counting begins anew.
type matchState struct {
	Run    string  `json:"run"`
	Seq    uint64  `json:"seq"`
	Minute int     `json:"minute"`
	Home   int     `json:"home"`
	Away   int     `json:"away"`
	Chance float64 `json:"chance"` // that Home wins, %
	Text   string  `json:"text,omitempty"`
	Goal   string  `json:"goal,omitempty"` // home or away
}

// scenes is what happens between goals.
//
//nolint:gochecknoglobals // a constant
var scenes = []string{
	"A long ball forward.", "Corner.", "Saved!", "Just wide.", "A yellow card.", "Off the post!", "A substitution.", "Free kick, close to the box.",
	"The wall holds.", "A counter-attack.", "Offside.", "What a tackle.",
}

// match is a live final without an end: after each there is the next.
type match struct {
	publish admin.Publisher
	log     *zap.Logger
	now     matchState
	drift   float64 // of the chance beside what the score says
}

func newMatch(p admin.Publisher, log *zap.Logger) *match {
	return &match{publish: p, log: log, now: matchState{Run: rand.Text()[:8], Chance: 50}}
}

// run plays until ctx ends.
func (m *match) run(ctx context.Context) error {
	tick := time.NewTicker(matchTick)
	defer tick.Stop()
	begun := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			since := now.Sub(begun)
			if since > 90*matchMinute+matchPause {
				begun, since = now, 0
			}
			m.play(since)
			if err := m.tell(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// play goes on to an instant of the match.
func (m *match) play(since time.Duration) {
	minute := int(since / matchMinute)
	s := &m.now
	s.Seq++
	s.Text, s.Goal = "", ""
	switch {
	case minute >= 90:
		if s.Minute < 90 {
			s.Text = fmt.Sprintf("Full time: %d : %d.", s.Home, s.Away)
		}
		s.Minute = 90
		return
	case since == 0 || s.Minute > minute || s.Seq == 1:
		s.Home, s.Away, s.Text, m.drift = 0, 0, "Kick-off!", 0
	case mathrand.IntN(40) == 0:
		s.Text = scenes[mathrand.IntN(len(scenes))]
	case mathrand.IntN(400) == 0:
		s.Goal = "home"
		if mathrand.IntN(2) == 0 {
			s.Goal = "away"
		}
		m.score(s.Goal)
	}
	s.Minute = minute
	m.drift = max(-25, min(25, m.drift*0.99+mathrand.NormFloat64()*1.2))
	weight := 12 + float64(minute)/4 // a lead is worth more the later it is
	s.Chance = float64(int(10*max(2, min(98, 50+float64(s.Home-s.Away)*weight+m.drift)))) / 10
}

func (m *match) score(team string) {
	if team == "home" {
		m.now.Home++
	} else {
		m.now.Away++
	}
	m.now.Text = fmt.Sprintf("Goal! It stands %d : %d.", m.now.Home, m.now.Away)
}

// tell publishes the present state, for as long as it takes: with its own id, so that it is added once.
func (m *match) tell(ctx context.Context) error {
	body, err := json.Marshal(m.now)
	if err != nil {
		return err
	}
	message := admin.Message{Topic: matchTopic, ID: fmt.Sprintf("%s-%d", m.now.Run, m.now.Seq), Payload: body}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := m.publish.Publish(ctx, []admin.Message{message})[0].Err
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return nil
		case !errors.Is(err, admin.ErrUnavailable) && !errors.Is(err, admin.ErrAmbiguous):
			return fmt.Errorf("the match cannot be told: %w", err)
		}
		m.log.Debug("the match waits for Redis", zap.Error(err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
