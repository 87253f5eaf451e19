package testcluster

import (
	"fmt"

	"github.com/ringside-edge/ringside/internal/position"
)

// Seen is a message as a subscriber got it.
type Seen struct {
	Conn     int               // of which connection, counted from 1
	Position position.Position // zero in Raw
	Data     string
}

// Track is what a subscriber knows of one topic.
type Track struct {
	Start position.Position // where it stood at first; zero until known, and always in Raw
	Last  position.Position // where it stands
	Seen  []Seen
	Gaps  []string // reasons of the gaps that it was told of
}

// moved notes a position that came without a message: a welcome, a heartbeat or a gap.
func (s *Subscriber) moved(topic, text string, gap bool) error {
	p, err := position.Parse(text)
	if err != nil {
		return fmt.Errorf("%w: position %q: %w", ErrBroken, text, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tr := s.tracks[topic]
	switch {
	case tr == nil:
		return fmt.Errorf("%w: a position of topic %q, which is not followed", ErrBroken, topic)
	case tr.Start == position.Position{}:
		tr.Start = p
	case !gap && tr.Last.Epoch != p.Epoch:
		return fmt.Errorf("%w: position %v after %v without a gap", ErrBroken, p, tr.Last)
	case !gap && p.ID.Less(tr.Last.ID):
		return fmt.Errorf("%w: position %v is behind %v", ErrBroken, p, tr.Last)
	}
	tr.Last = p
	return nil
}

// saw notes a message. at is empty in Raw.
func (s *Subscriber) saw(conn int, topic, at, data string) error {
	var p position.Position
	if s.cfg.Protocol != Raw {
		var err error
		if p, err = position.Parse(at); err != nil {
			return fmt.Errorf("%w: position %q: %w", ErrBroken, at, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tr := s.tracks[topic]
	switch {
	case tr == nil:
		return fmt.Errorf("%w: a message of topic %q, which is not followed", ErrBroken, topic)
	case s.cfg.Protocol == Raw:
	case tr.Start == position.Position{}:
		return fmt.Errorf("%w: a message at %v before any position was told", ErrBroken, p)
	case tr.Last.Epoch != p.Epoch:
		return fmt.Errorf("%w: a message at %v after %v without a gap", ErrBroken, p, tr.Last)
	case !tr.Last.ID.Less(p.ID):
		return fmt.Errorf("%w: a message at %v, not after %v", ErrBroken, p, tr.Last)
	}
	tr.Last = p
	tr.Seen = append(tr.Seen, Seen{Conn: conn, Position: p, Data: data})
	return nil
}

func (s *Subscriber) gap(topic, reason, at string) error {
	s.mu.Lock()
	if tr := s.tracks[topic]; tr != nil {
		tr.Gaps = append(tr.Gaps, reason)
	}
	s.mu.Unlock()
	return s.moved(topic, at, true)
}
