package ringside

import (
	"context"
	"slices"
	"time"
)

// take settles what has come; nil when it is nothing that a caller needs to know.
func (s *Session) take(w *wire) (Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Backoff != nil && w.Backoff.Validate() == nil {
		s.policy = *w.Backoff
	}
	follows := slices.Contains(s.topics, w.Topic)
	switch w.Type {
	case "welcome":
		if err := s.welcome(w, follows); err != nil {
			return nil, err
		}
		return Connected{Session: w.Session, Topic: w.Topic, Position: w.Position}, nil
	case "message", "heartbeat", "gap":
		if !follows {
			return nil, nil //nolint:nilnil // it was left
		}
		return s.advance(w)
	case "skipped":
		return Skipped{Topic: w.Topic, Count: w.Count}, nil
	case "viewers":
		if !follows {
			return nil, nil //nolint:nilnil // as above
		}
		return Viewers{Topic: w.Topic, Count: w.Count}, nil
	case "subscribed":
		if !follows { // the application has the session follow it
			s.topics = append(s.topics, w.Topic)
		}
		if s.position[w.Topic] == "" {
			if err := s.moveTo(w.Topic, w.Position); err != nil {
				return nil, err
			}
		}
		return Subscribed{Topic: w.Topic, Position: w.Position}, nil
	case "unsubscribed":
		s.forget(w.Topic)
		return Unsubscribed{Topic: w.Topic}, nil
	case "reply":
		return Reply{Data: w.Data}, nil
	case "authenticated":
		s.renewAt(w.Expires)
	case "error":
		if w.Topic != "" {
			s.forget(w.Topic)
		}
		return Refused{Topic: w.Topic, Reason: w.Reason, Message: w.Message}, nil
	}
	return nil, nil //nolint:nilnil // pong, done, policy, and what later versions may say
}

// advance settles what moves the position of a topic; with mu held.
func (s *Session) advance(w *wire) (e Event, err error) {
	at := w.Position
	switch w.Type {
	case "message":
		at = w.ID
		if e, err = w.message(); err != nil {
			s.ended = &FinalError{Err: err} // to pass over it would lose it silently
			return nil, s.ended
		}
	case "heartbeat":
		e = Freshness{Topic: w.Topic, Position: at, AsOf: time.UnixMilli(w.AsOf), Lag: time.Duration(w.Lag) * time.Millisecond, Stale: w.Stale}
	case "gap":
		e = Gap{Topic: w.Topic, Reason: w.Reason, After: w.After, Position: at}
	}
	if err := s.moveTo(w.Topic, at); err != nil {
		return nil, err
	}
	return e, nil
}

// welcome begins a connection; with mu held. The other topics are asked for again, each from where it stands.
func (s *Session) welcome(w *wire, follows bool) error {
	s.resume, s.renewed, s.welcomed = w.Resume, false, true
	if w.Heartbeat > 0 {
		s.silence = silenceOf(w.Heartbeat)
	}
	if s.cfg.Direct && len(s.topics) == 0 { // now it has a name
		follows = true
		s.topics = []string{w.Topic}
	}
	if follows && s.position[w.Topic] == "" {
		if err := s.moveTo(w.Topic, w.Position); err != nil {
			return err
		}
	}
	for _, t := range s.topics {
		if t != w.Topic {
			_ = s.write(subscription(t, s.position[t])) // a connection that has broken is noticed by the reader
		}
	}
	s.renewAt(w.Expires)
	return nil
}

// silenceOf is how long a server may say nothing that promises a heartbeat every so many milliseconds.
func silenceOf(heartbeat int64) time.Duration {
	return 5 * time.Duration(min(max(heartbeat, 1), time.Hour.Milliseconds())) * time.Millisecond / 2
}

// renewAt brings a fresh token in time; with mu held.
func (s *Session) renewAt(expires int64) {
	if expires == 0 || s.cfg.Token == nil {
		return
	}
	if s.renew != nil {
		s.renew.Stop()
	}
	left := time.Until(time.UnixMilli(expires))
	s.renew = time.AfterFunc(max(left-renewBefore, left*4/5, 0), s.bringToken)
}

// bringToken shows a fresh token on the connection that there is. Where there is none the session is closed when the old one expires, and comes back.
func (s *Session) bringToken() {
	ctx, cancel := context.WithTimeout(context.Background(), renewBefore)
	defer cancel()
	token, err := s.cfg.Token(ctx)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.write(map[string]any{"type": "auth", "token": token}) // the reader notices
}
