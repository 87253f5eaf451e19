package stream

import (
	"context"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topic"
)

// Entry is one entry of a slot's stream.
type Entry struct {
	ID      position.ID
	Topic   string // empty: nothing for anybody (a mark, a beacon, a repetition, poison); the position moves on all the same
	Key     string // idempotency key, empty for none
	Payload []byte // the receiver's to keep, not to change
	Epoch   uint32 // of an epoch's mark; else 0

	claimed bool // Key is known to be the first of its kind
	beacon  bool
}

// Page is a stretch of a slot's stream.
type Page struct {
	Entries []Entry
	Last    position.ID // the last entry read; zero when there was none
	More    bool        // there may be more behind Last
	Stands  bool        // the entry that the page begins behind is there
}

// Range reads up to limit entries of a slot behind after, of all its topics. Errors wrap [ErrUnavailable] or
// [ErrAmbiguous].
func (c *Client) Range(ctx context.Context, slot int, after position.ID, limit int) (Page, error) {
	r, err := c.client()
	if err != nil {
		return Page{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OpTimeout)
	defer cancel()
	msgs, err := c.rangeFrom(ctx, r, slot, after, limit+1)
	if err != nil {
		return Page{}, err
	}
	es, err := c.decode(slot, msgs, nil)
	if err != nil {
		return Page{}, err
	}
	p := Page{Entries: es}
	if len(es) > 0 && es[0].ID == after {
		p.Stands, p.Entries = true, es[1:]
	}
	if len(p.Entries) >= limit {
		p.Entries, p.More = p.Entries[:limit], true
	}
	if n := len(p.Entries); n > 0 {
		p.Last = p.Entries[n-1].ID
	}
	return p, c.dropRepeated(ctx, slot, p.Entries)
}

// rangeFrom reads up to limit entries from the entry `from` on.
func (c *Client) rangeFrom(ctx context.Context, r rueidis.CoreClient, slot int, from position.ID, limit int) ([]rueidis.RedisMessage, error) {
	cmd := r.B().Xrange().Key(Key(slot)).Start(from.String()).End("+").Count(int64(limit)).Build()
	msgs, err := r.Do(ctx, cmd).ToArray()
	if err != nil {
		return nil, outcome(err)
	}
	return msgs, nil
}

// decode appends entries as Redis gives them, an array of [ID, [field, value, …]], to es. What is no entry of ours
// is counted, logged, and kept as an entry without a topic.
func (c *Client) decode(slot int, msgs []rueidis.RedisMessage, es []Entry) ([]Entry, error) {
	for i := range msgs {
		pair, err := msgs[i].ToArray()
		if err != nil {
			return es, err
		}
		text, err := pair[0].ToString()
		if err != nil {
			return es, err
		}
		var e Entry
		if e.ID, err = position.ParseID(text); err != nil {
			return es, err
		}
		var fields []rueidis.RedisMessage
		if len(pair) > 1 && !pair[1].IsNil() {
			if fields, err = pair[1].ToArray(); err != nil {
				return es, err
			}
		}
		if reason := c.fill(&e, slot, fields); reason != "" {
			e = Entry{ID: e.ID, Epoch: e.Epoch, beacon: reason == fieldBeacon}
			if reason != fieldEpoch && reason != fieldBeacon && c.metrics.poison(slot, e.ID, reason) {
				c.log.Warn("passed over an entry that is no message", zap.String("key", Key(slot)),
					zap.Stringer("entry", e.ID), zap.String("reason", reason))
			}
		}
		es = append(es, e)
	}
	return es, nil
}

// fill reads an entry's fields. When they are no message it returns why.
func (c *Client) fill(e *Entry, slot int, fields []rueidis.RedisMessage) (reason string) {
	hasPayload := false
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].ToString()
		value, _ := fields[i+1].AsBytes()
		switch name {
		case fieldTopic:
			e.Topic = string(value)
		case fieldID:
			e.Key = string(value)
		case fieldPayload:
			e.Payload, hasPayload = value, true
		case fieldClaimed:
			e.claimed = true
		case fieldEpoch, fieldBeacon:
			if len(fields) > 2 {
				continue
			}
			if name == fieldEpoch {
				e.Epoch, _, _ = parseEpoch(string(value)) // 0 when it is none
			}
			return name
		}
	}
	switch {
	case !hasPayload:
		return "no_payload"
	case len(e.Payload) > c.cfg.MaxPayload:
		return "too_large"
	case topic.Validate(e.Topic) != nil:
		return "topic"
	case topic.Slot(e.Topic) != slot:
		return "slot"
	}
	return ""
}
