package gateway

import (
	"fmt"
	"slices"
	"sort"
	"strconv"

	"github.com/ringside-edge/ringside/internal/position"
	topics "github.com/ringside-edge/ringside/internal/topic"
)

// truth is all that ever stood in one slot's stream, in all lives of it, as read from Redis with a connection of the test's own.
// The case sees to it that IDs never come again, so that they order the entries of all lives.
type truth struct {
	slot    int
	entries []*fact
	epochs  map[uint32]position.ID // the marks
	epoch   uint32                 // at present, when nothing has been lost since it was looked up
	unfelt  bool                   // entries were lost, and the gateways have to find out
	lost    bool                   // it has been so in this case
	shed    bool                   // beacons were lost, which is no loss
	rewound bool                   // an earlier life was put in the place of a later one
}

// fact is one entry.
type fact struct {
	id      position.ID
	topic   string // empty: nothing for anybody
	key     string // its idempotency key
	payload string
	beacon  bool
	fate    fate
	trimmed bool // was so once, whatever has become of it
	lost    bool // likewise
}

// fate is what has become of an entry.
type fate uint8

const (
	stands  fate = iota
	trimmed      // removed from the beginning, on purpose
	lost         // Redis has forgotten it
)

func (f *fact) String() string {
	return fmt.Sprintf("%v %s %q %.30q %s", f.id, f.topic, f.key, f.payload, [...]string{"stands", "trimmed", "lost"}[f.fate])
}

// take adds what XRANGE has answered: the entries that are new.
func (t *truth) take(answer any) error {
	list, _ := answer.([]any)
	for i := range list {
		pair, _ := list[i].([]any)
		if len(pair) != 2 {
			return fmt.Errorf("XRANGE: %v", list[i])
		}
		f := &fact{}
		var err error
		if f.id, err = position.ParseID(pair[0].(string)); err != nil {
			return err
		}
		if len(t.entries) > 0 && !t.top().Less(f.id) {
			return fmt.Errorf("entry %v comes after %v", f.id, t.top())
		}
		t.read(f, pair[1].([]any))
		t.entries = append(t.entries, f)
	}
	return nil
}

// read takes an entry's fields. What it says of poison is written anew here, so that it does not err as the package does.
func (t *truth) read(f *fact, fields []any) {
	m := map[string]string{}
	for i := 0; i+1 < len(fields); i += 2 {
		m[fields[i].(string)] = fields[i+1].(string)
	}
	if e, ok := m["epoch"]; ok && len(m) == 1 {
		n, err := strconv.ParseUint(e, 10, 32)
		if err == nil {
			t.epochs[uint32(n)] = f.id
		}
		return
	}
	if _, ok := m["beacon"]; ok && len(m) == 1 {
		f.beacon = true
		return
	}
	payload, ok := m["payload"]
	if !ok || len(payload) > modelPayload || topics.Validate(m["topic"]) != nil || topics.Slot(m["topic"]) != t.slot {
		return
	}
	f.topic, f.key, f.payload = m["topic"], m["id"], payload
}

// top is the newest entry that was ever added.
func (t *truth) top() position.ID {
	if len(t.entries) == 0 {
		return position.ID{}
	}
	return t.entries[len(t.entries)-1].id
}

// behind are the entries behind id, up to and including to.
func (t *truth) behind(id, to position.ID) []*fact {
	from := sort.Search(len(t.entries), func(i int) bool { return id.Less(t.entries[i].id) })
	end := sort.Search(len(t.entries), func(i int) bool { return to.Less(t.entries[i].id) })
	return t.entries[from:max(from, end)]
}

// at is the entry with an ID; nil when there never was one.
func (t *truth) at(id position.ID) *fact {
	if es := t.behind(id.Prev(), id); len(es) > 0 {
		return es[0]
	}
	return nil
}

// standing are the IDs that the stream has at present.
func (t *truth) standing() (ids []position.ID) {
	for _, f := range t.entries {
		if f.fate == stands {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// trim notes that everything before first was removed; all, when there is no first entry. Gateways put beacons back that were lost.
func (t *truth) trim(first position.ID) {
	for _, f := range t.entries {
		if (f.fate == stands || f.beacon) && (first.IsZero() || f.id.Less(first)) {
			f.fate, f.trimmed = trimmed, true
		}
	}
}

// keep notes that Redis has these entries, given in order, and has lost all others behind the first. It returns the oldest that was
// lost and is no beacon, zero for none.
func (t *truth) keep(ids []position.ID) (oldest position.ID) {
	for _, f := range t.entries {
		_, has := slices.BinarySearchFunc(ids, f.id, position.ID.Compare)
		switch {
		case has:
			f.fate = stands
		case f.fate == trimmed && len(ids) > 0 && f.id.Less(ids[0]):
		case f.fate != lost:
			f.fate, f.lost, t.shed = lost, true, t.shed || f.beacon
			if oldest.IsZero() && !f.beacon {
				oldest = f.id
			}
		}
	}
	return oldest
}

// doubtful reports whether an entry may be taken for the repetition of another, be that lost.
func (t *truth) doubtful(f *fact) bool {
	return f.key != "" && slices.ContainsFunc(t.entries, func(o *fact) bool { return o != f && o.key == f.key && o.topic == f.topic })
}

// messages is how many of a topic there are to come behind id.
func (t *truth) messages(topic string, id position.ID) (n int) {
	for _, f := range t.behind(id, t.top()) {
		if f.topic == topic && f.fate != lost && !t.doubtful(f) {
			n++
		}
	}
	return n
}

// trimmedWithin reports whether an entry of a stretch, both ends included, was trimmed.
func (t *truth) trimmedWithin(from, to position.ID) bool {
	return slices.ContainsFunc(t.behind(from.Prev(), to), func(f *fact) bool { return f.trimmed }) ||
		from.IsZero() && len(t.entries) > 0 && t.entries[0].trimmed
}
