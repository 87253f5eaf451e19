package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/ringside-edge/ringside/leg"
)

// A note is something of a session's that its router keeps for the next gateway, beside where it stands in topics: what its client
// calls its subscriptions. To the router it is a topic with a strange name:
//
//	| 0 u8 | note, 4 hex digits | part, 2 hex digits | '+' or, in the last part, '.' | text… |
//
// No topic has a control character in its name. Notes come and go with the session's records, in their order. Note 0 is of the
// session itself, the others are of its subscriptions. One that is told as asked waits for a word to the client: that word is a record
// of the note, and with it the note is settled. Should the gateway end in between, the next one says it.
const (
	welcomeNote  = 0
	maxNote      = 1<<16 - 1
	noteHead     = 8
	notePart     = 255 - noteHead // bytes of text in a part
	maxNoteParts = 32
	noteNumbers  = 1 << 31 // numbers of topics are below
)

func noteNumber(note, part int) uint32 { return noteNumbers | uint32(note)*maxNoteParts | uint32(part) }

// noteParts are the names of a note's parts; ok is false when there are too many.
func noteParts(note int, text string) (names []string, ok bool) {
	for {
		n := min(notePart, len(text))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		end := "+"
		if n == len(text) {
			end = "."
		}
		names = append(names, fmt.Sprintf("\x00%04x%02x%s%s", note, len(names), end, text[:n]))
		if text = text[n:]; text == "" {
			return names, true
		}
		if len(names) == maxNoteParts {
			return nil, false
		}
	}
}

// tellNote has the router keep a note.
func (s *session) tellNote(note int, text string, asked bool) {
	if !s.onLeg {
		return
	}
	names, _ := noteParts(note, text)
	var b []byte
	for i, name := range names {
		h := leg.Header{Kind: leg.Topic, Topic: noteNumber(note, i)}
		if asked && i == 0 {
			h.Flags = leg.Asked
		}
		b = leg.AppendRecord(b, h, name)
	}
	s.control(b)
}

// settled says to the client what a note has waited for.
func (s *session) settled(note int, word []byte) {
	s.control(newRecord(leg.Data, noteNumber(note, 0), zeroPosition, word).bytes(s.onLeg))
}

// dropNote has the router forget a note of so many parts.
func (s *session) dropNote(note, parts int) {
	if !s.onLeg {
		return
	}
	var b []byte
	for i := range parts {
		b = leg.AppendHeader(b, leg.Header{Kind: leg.Topic, Flags: leg.Off, Topic: noteNumber(note, i)})
	}
	s.control(b)
}

// noteText is a subscription as its note tells it.
type noteText struct {
	Identifier string            `json:"i"`
	Topics     []string          `json:"t,omitempty"`
	State      map[string]string `json:"s,omitempty"` // the application's
	Held       bool              `json:"h,omitempty"` // it waits for its client's history
}

// note is one that a router has kept.
type note struct {
	parts []string
	asked bool
}

// text is what the note says; ok is false when parts are missing.
func (n *note) text() (string, bool) {
	all := ""
	for i, p := range n.parts {
		last := i == len(n.parts)-1
		if p == "" || (p[0] == '.') != last {
			return "", false
		}
		all += p[1:]
	}
	return all, true
}

// parseNote reads the name of a note's part; ok is false for that of a topic.
func parseNote(name string) (n, part int, rest string, ok bool) {
	if len(name) < noteHead || name[0] != 0 {
		return 0, 0, "", false
	}
	a, err1 := strconv.ParseUint(name[1:5], 16, 16)
	b, err2 := strconv.ParseUint(name[5:7], 16, 8)
	return int(a), int(b), name[7:], err1 == nil && err2 == nil && b < maxNoteParts
}

// resumeLimit is how many topics and notes a router may bring.
func (s *session) resumeLimit() int {
	n := s.worker.g.cfg.MaxTopics
	if s.cable != nil {
		n = 1 + n*(2+maxNoteParts)
	}
	return n
}

// resumeCable takes the notes out of what a router has kept, and the session's subscriptions from them. The router's words for them
// are renewed, because numbers are a leg's. What a leg that was cut off has left half done is undone: its command comes again.
func (s *session) resumeCable(b leg.Resume) leg.Resume {
	notes, kept := takeNotes(b)
	standing := map[string]bool{}
	for _, t := range kept.Topics {
		standing[t.Name] = true
	}
	if !b.Begun || notes[welcomeNote] == nil {
		s.beginCable()
		return kept
	}
	s.tellNote(welcomeNote, "", notes[welcomeNote].asked)
	if s.cable.welcomed = !notes[welcomeNote].asked; !s.cable.welcomed {
		s.welcome()
	}
	delete(notes, welcomeNote)
	for _, n := range sortedNotes(notes) {
		if n < maxNote/2 {
			s.resumeNote(n, notes[n], standing)
			continue
		}
		// Behind the subscriptions: that history is on its way.
		s.tellNote(n, "", true)
		if i := slices.IndexFunc(s.cable.list, func(c *cableSub) bool { return historyNote(c.note) == n }); i >= 0 {
			s.cable.list[i].pending = true
		} else {
			s.dropNote(n, 1)
		}
	}
	// A topic that is left of a subscription is not followed, unless its client has a part of a message.
	topics := kept.Topics
	kept.Topics = nil
	for i, t := range topics {
		first := i == kept.First
		if first {
			kept.First = len(kept.Topics)
		}
		if first || slices.ContainsFunc(s.cable.list, func(c *cableSub) bool { return c.follows(t.Name) }) {
			kept.Topics = append(kept.Topics, t)
		}
	}
	return kept
}

// takeNotes takes the notes out of what a router has kept.
func takeNotes(b leg.Resume) (notes map[int]*note, rest leg.Resume) {
	notes, rest = map[int]*note{}, leg.Resume{Begun: b.Begun, First: -1}
	for i, t := range b.Topics {
		n, part, text, ok := parseNote(t.Name)
		if !ok {
			if i == b.First {
				rest.First = len(rest.Topics)
			}
			rest.Topics = append(rest.Topics, t)
			continue
		}
		if notes[n] == nil {
			notes[n] = &note{}
		}
		notes[n].take(part, text, t.Asked)
	}
	return notes, rest
}

// sub is the subscription that the note is of; ok is false when it is not whole.
func (n *note) sub() (t noteText, ok bool) {
	body, whole := n.text()
	ok = whole && json.Unmarshal([]byte(body), &t) == nil
	return t, ok
}

func (n *note) take(part int, rest string, asked bool) {
	for len(n.parts) <= part {
		n.parts = append(n.parts, "")
	}
	n.parts[part] = rest
	n.asked = n.asked || asked && part == 0
}

func sortedNotes(notes map[int]*note) (list []int) {
	for n := range notes {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// resumeNote takes a subscription over, or has the router forget it.
func (s *session) resumeNote(number int, n *note, standing map[string]bool) {
	body, _ := n.text()
	t, whole := n.sub()
	// The topics come behind the note, and go before it.
	before := len(t.Topics)
	if !t.Held {
		t.Topics = slices.DeleteFunc(t.Topics, func(topic string) bool { return !standing[topic] })
	}
	if !whole || n.asked && len(t.Topics) < before { // the router's words for its parts are needed before they can be taken back
		var b []byte
		for i, p := range n.parts {
			if p != "" {
				name := fmt.Sprintf("\x00%04x%02x%s", number, i, p)
				h := leg.Header{Kind: leg.Topic, Topic: noteNumber(number, i)}
				if n.asked && i == 0 {
					h.Flags = leg.Asked
				}
				b = leg.AppendRecord(b, h, name)
			}
		}
		s.control(b)
		s.dropNote(number, len(n.parts))
		return
	}
	if old := s.cable.find(t.Identifier); old != nil { // it was about to take this one's place
		s.tellNote(number, body, n.asked)
		s.dropNote(number, len(n.parts))
		return
	}
	c := &cableSub{identifier: t.Identifier, topics: t.Topics, state: t.State, note: number, parts: len(n.parts), confirmed: !n.asked, held: t.Held}
	if t.Held {
		s.cable.holdUntil = s.worker.loop.Now() + holdFor
	}
	s.cable.list = append(s.cable.list, c)
	s.tellNote(number, body, n.asked)
}
