package testcluster

import (
	"crypto/sha1"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ringside-edge/ringside/internal/position"
)

// Entry is an entry of a stream, as XRANGE tells it.
type Entry struct {
	ID      position.ID
	Topic   string
	Key     string // idempotency key
	Payload string
}

// Slot is a topic's slot, computed as any publisher in another language would: not with our code.
func Slot(topic string) int {
	sum := sha1.Sum([]byte(topic))
	return int(sum[0])
}

// StreamKey is the stream that a topic's messages stand in.
func StreamKey(topic string) string {
	slot := Slot(topic)
	return fmt.Sprintf("ringside:{%d}:%d:stream", slot/16, slot)
}

// Add publishes by a plain XADD, with the trimming that a good publisher does, and returns the entry's ID.
// key is the idempotency key; empty for none.
func (r *Redis) Add(topic, payload, key string) (position.ID, error) {
	window := strconv.FormatInt(time.Now().Add(-10*time.Minute).UnixMilli(), 10)
	args := []string{"XADD", StreamKey(topic), "MINID", "~", window, "*", "topic", topic, "payload", payload}
	if key != "" {
		args = append(args, "id", key)
	}
	v, err := r.Do(args...)
	if err != nil {
		return position.ID{}, err
	}
	text, _ := v.(string)
	return position.ParseID(text)
}

// Truth is what stands in Redis for a topic, in order: what its subscribers ought to have seen.
func (r *Redis) Truth(topic string) ([]Entry, error) {
	v, err := r.Do("XRANGE", StreamKey(topic), "-", "+")
	if err != nil {
		return nil, err
	}
	rows, _ := v.([]any)
	var list []Entry
	for _, row := range rows {
		e, err := parseEntry(row)
		if err != nil {
			return nil, err
		}
		if e.Topic == topic {
			list = append(list, e)
		}
	}
	return list, nil
}

func parseEntry(row any) (Entry, error) {
	pair, _ := row.([]any)
	if len(pair) != 2 {
		return Entry{}, fmt.Errorf("cannot read the stream entry %v", row)
	}
	text, _ := pair[0].(string)
	id, err := position.ParseID(text)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{ID: id}
	fields, _ := pair[1].([]any)
	for f := range slices.Chunk(fields, 2) {
		name, _ := f[0].(string)
		value, _ := f[1].(string)
		switch name {
		case "topic":
			e.Topic = value
		case "id":
			e.Key = value
		case "payload":
			e.Payload = value
		}
	}
	return e, nil
}

// Complete says what keeps a subscriber from having seen the end of the truth; nil when nothing does. It is
// for waiting: [Check] judges.
func Complete(s *Subscriber, topic string, truth []Entry) error {
	if err := s.Broken(); err != nil {
		return fmt.Errorf("%v: %w", s, err)
	}
	if len(truth) == 0 {
		return nil
	}
	tr := s.Track(topic)
	last := truth[len(truth)-1]
	if s.Protocol() == Raw {
		if n := len(tr.Seen); n > 0 && tr.Seen[n-1].Data == last.Payload {
			return nil
		}
	} else if !tr.Last.ID.Less(last.ID) {
		return nil
	}
	return fmt.Errorf("%v, topic %s: stands at %v with %d messages, the stream ends at %v with %d (%w)",
		s, topic, tr.Last, len(tr.Seen), last.ID, len(truth), orConnected(s.Open()))
}

func orConnected(err error) error {
	if err == nil {
		return fmt.Errorf("it is connected")
	}
	return err
}

// Check compares what a subscriber saw of a topic with the truth: exactly the entries after its start, once,
// in order. A raw session has no positions: each of its connections must have seen a stretch of the truth
// without a hole, and the first connection must reach back to the entry with the index from.
func Check(s *Subscriber, topic string, truth []Entry, from int) error {
	if err := s.Broken(); err != nil {
		return fmt.Errorf("%v: %w", s, err)
	}
	tr := s.Track(topic)
	if len(tr.Gaps) > 0 {
		return fmt.Errorf("%v, topic %s: gaps %v", s, topic, tr.Gaps)
	}
	if s.Protocol() == Raw {
		return checkRaw(s, topic, tr, truth, from)
	}
	if len(truth) > from && truth[from].ID.Compare(tr.Start.ID) <= 0 {
		return fmt.Errorf("%v, topic %s: starts at %v, after the entry %v that was published later", s, topic, tr.Start, truth[from].ID)
	}
	first := slices.IndexFunc(truth, func(e Entry) bool { return tr.Start.ID.Less(e.ID) })
	if first < 0 {
		first = len(truth)
	}
	want := truth[first:]
	for i := range max(len(want), len(tr.Seen)) {
		switch {
		case i >= len(tr.Seen):
			return fmt.Errorf("%v, topic %s: message %d of %d is missing: %v", s, topic, i, len(want), want[i])
		case i >= len(want):
			return fmt.Errorf("%v, topic %s: a message too many: %v", s, topic, tr.Seen[i])
		case tr.Seen[i].Position.ID != want[i].ID:
			return fmt.Errorf("%v, topic %s: message %d is %v, want %v", s, topic, i, tr.Seen[i].Position, want[i].ID)
		case tr.Seen[i].Data != want[i].Payload:
			return fmt.Errorf("%v, topic %s: message %v is %q, want %q", s, topic, want[i].ID, tr.Seen[i].Data, want[i].Payload)
		}
	}
	return nil
}

func checkRaw(s *Subscriber, topic string, tr Track, truth []Entry, from int) error {
	index := make(map[string]int, len(truth))
	for i, e := range truth {
		index[e.Payload] = i
	}
	before, conn := -1, 0
	for i, m := range tr.Seen {
		at, ok := index[m.Data]
		switch {
		case !ok:
			return fmt.Errorf("%v, topic %s: %q was never published", s, topic, m.Data)
		case i == 0 && m.Conn == 1 && at > from:
			return fmt.Errorf("%v, topic %s: the first message is number %d, want at most %d", s, topic, at, from)
		case m.Conn == conn && at != before+1:
			return fmt.Errorf("%v, topic %s: message %d of the truth after %d", s, topic, at, before)
		case at <= before:
			return fmt.Errorf("%v, topic %s: message %d of the truth again", s, topic, at)
		}
		before, conn = at, m.Conn
	}
	if len(truth) > from && before != len(truth)-1 {
		return fmt.Errorf("%v, topic %s: the last message is number %d of %d", s, topic, before, len(truth))
	}
	return nil
}
