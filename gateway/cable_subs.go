package gateway

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ringside-edge/ringside/internal/position"
	topics "github.com/ringside-edge/ringside/internal/topic"
)

// cableSub is something that a client of Action Cable has subscribed to, under an identifier of its own.
type cableSub struct {
	identifier string
	topics     []string          // streams that it follows
	state      map[string]string // what the application has noted of it; nil for streams that need none
	note       int
	parts      int  // of the note
	confirmed  bool // the client knows
	pending    bool // it has yet to be told how its history went
	held       bool // it was restored, and its topics are not followed yet
}

func (c *cableSub) follows(topic string) bool { return slices.Contains(c.topics, topic) }

// text is the subscription's note.
func (c *cableSub) text() string {
	b, err := json.Marshal(noteText{c.identifier, c.topics, c.state, c.held})
	if err != nil {
		panic("BUG: gateway: a note has no JSON: " + err.Error())
	}
	return string(b)
}

// cableCommand is what a client of Action Cable may send.
type cableCommand struct {
	Command    string        `json:"command"`
	Identifier string        `json:"identifier"`
	Data       any           `json:"data"`
	History    *cableHistory `json:"history"`

	size int // bytes, while it waits
}

// cableChannel is an identifier of a stream that needs no application.
type cableChannel struct {
	Channel string `json:"channel"`
	Stream  string `json:"stream_name"`
	Signed  string `json:"signed_stream_name"`
}

// Channels of streams that are followed without the application: AnyCable's, and Hotwire's where the name is signed with the secret that
// is known here.
const (
	pubsub = "$pubsub"
	turbo  = "Turbo::StreamsChannel"
)

// cableMessage carries out what the client has sent. What is not understood is counted and has no answer: there is no word for it.
func (s *session) cableMessage(payload []byte) {
	g := s.worker.g
	if s.full && len(s.out) > g.cfg.MaxControl {
		s.farewell(closeControl, cableTooSlow, true)
		return
	}
	c := &cableCommand{}
	if err := json.Unmarshal(payload, c); err != nil {
		g.metrics.badMessage("json")
		return
	}
	if s.cableWaits(c) {
		s.cableLater(c, len(payload))
		return
	}
	s.cableDo(c)
}

// cableDo carries a command out.
func (s *session) cableDo(c *cableCommand) {
	g := s.worker.g
	switch c.Command {
	case "subscribe":
		s.cableSubscribe(c)
	case "unsubscribe":
		s.cableDrop(c.Identifier)
	case "history":
		s.cableHistory(c)
	case "pong":
	case "presence":
		g.metrics.badMessage("type")
		s.sendControl(text(fmt.Appendf(nil, `{"type":"presence","identifier":%s,"message":{"type":"error"}}`, appendQuoted(nil, c.Identifier))))
	default: // whisper, join, leave; message: nobody is there to hear it
		g.metrics.badMessage("type")
	}
}

// find is the subscription of an identifier; nil when there is none.
func (c *cable) find(identifier string) *cableSub {
	for _, sub := range c.list {
		if sub.identifier == identifier {
			return sub
		}
	}
	return nil
}

// freeNote is the lowest number that no note has.
func (c *cable) freeNote() int {
	n := welcomeNote + 1
	for _, sub := range c.list {
		if sub.note != n {
			break
		}
		n++
	}
	return n
}

// add takes a subscription in, at its note's place.
func (c *cable) add(sub *cableSub) {
	at := slices.IndexFunc(c.list, func(o *cableSub) bool { return o.note > sub.note })
	if at < 0 {
		at = len(c.list)
	}
	c.list = slices.Insert(c.list, at, sub)
}

// cableNo is why a subscription is rejected, empty when it is not; a label of ringside_gateway_bad_messages_total.
type cableNo string

// cableSubscribe begins a subscription. One that there is already has had its answer, or gets it: clients ask again when it takes
// a while, and take two confirmations for a mistake.
func (s *session) cableSubscribe(c *cableCommand) {
	if s.cable.find(c.Identifier) != nil {
		return
	}
	stream, no := s.cableStream(c.Identifier)
	if no == "" {
		no = s.cableRoom(stream)
	}
	s.cableBegin(c, &cableSub{identifier: c.Identifier, topics: []string{stream}}, no)
}

// cableBegin begins a subscription, or rejects it where something stands in the way.
func (s *session) cableBegin(c *cableCommand, sub *cableSub, no cableNo) {
	if no == "" {
		if names, ok := noteParts(0, sub.text()); ok {
			sub.parts = len(names)
		} else {
			no = cableNo("identifier")
		}
	}
	if no != "" {
		s.worker.g.metrics.badMessage(string(no))
		if no == "topics_full" { // clients that hear nothing ask again
			return
		}
		s.sendControl(cableWord("reject_subscription", c.Identifier))
		return
	}
	sub.note = s.cable.freeNote()
	s.cable.add(sub)
	s.tellNote(sub.note, sub.text(), true)
	if s.format != formatCableExt {
		c.History = nil
	}
	if c.History != nil {
		s.awaitHistory(sub)
	}
	lost := false
	for _, topic := range sub.topics {
		if s.conn.Open() && !s.closing {
			lost = s.cableFollow(topic, c.History) || lost
		}
	}
	if s.conn.Open() && !s.closing {
		s.confirm()
	}
	switch {
	case !sub.pending || !s.conn.Open() || s.closing:
	case lost:
		s.tellHistory("reject_history", sub)
	case !s.awaitsHistory(sub):
		s.tellHistory("confirm_history", sub)
	}
}

// cableStream is the stream that an identifier names, or why the client may not follow it.
func (s *session) cableStream(identifier string) (stream string, no cableNo) {
	g := s.worker.g
	var ch cableChannel
	if err := json.Unmarshal([]byte(identifier), &ch); err != nil {
		return "", cableNo("identifier")
	}
	switch {
	case ch.Channel != pubsub && ch.Channel != turbo:
		return "", cableNo("channel")
	case ch.Signed != "" || ch.Channel == turbo:
		var ok bool
		if stream, ok = g.cfg.Cable.signed(ch.Signed); !ok {
			return "", cableNo("signature")
		}
	case !g.cfg.Cable.Public || g.demands(ch.Stream) != 0:
		return "", cableNo("unsigned")
	default:
		stream = ch.Stream
	}
	if topics.Validate(stream) != nil {
		return "", cableNo("topic")
	}
	return stream, ""
}

// cableRoom says what stands in the way of one more subscription to topics; nothing does as a rule.
func (s *session) cableRoom(topics ...string) cableNo {
	limit := min(s.worker.g.cfg.MaxTopics, maxNote/2)
	if len(s.cable.list) >= limit || len(s.more)+len(topics) > limit+maxAliases {
		return cableNo("topics")
	}
	for _, topic := range topics {
		if !s.worker.g.slots[s.worker.g.slotOf(topic)].admits(topic) {
			return cableNo("topics_full")
		}
		aliases := 0
		for _, c := range s.cable.list {
			if c.follows(topic) {
				aliases++
			}
		}
		if aliases >= maxAliases {
			return cableNo("topics")
		}
	}
	return ""
}

// cableFollow has the session follow a topic, from where the client was when it says so. It reports whether that could not be.
func (s *session) cableFollow(topic string, h *cableHistory) (lost bool) {
	way := h.of(topic)
	if sub := s.find(topic); sub != nil { // it has one cursor, by which its other identifiers are served
		sub.reclass()
		return way != nil
	}
	if lost = way != nil && way.bad; lost {
		way = nil
	}
	sub := &sub{history: way}
	s.more = append(s.more, sub)
	var at position.Position
	if way != nil {
		at = way.from
	}
	s.subscribe(sub, topic, at, way != nil)
	return lost
}

// cableDrop ends a subscription. There is no answer.
func (s *session) cableDrop(identifier string) {
	sub := s.cable.find(identifier)
	if sub == nil {
		return
	}
	s.cable.list = slices.DeleteFunc(s.cable.list, func(o *cableSub) bool { return o == sub })
	for _, topic := range sub.topics {
		s.cableLeave(topic)
	}
	if sub.pending {
		s.dropNote(historyNote(sub.note), 1)
	}
	s.dropNote(sub.note, sub.parts)
}

// cableLeave has the session follow a topic no longer, unless another of its subscriptions does.
func (s *session) cableLeave(topic string) {
	sub := s.find(topic)
	if sub == nil {
		return
	}
	if slices.ContainsFunc(s.cable.list, func(c *cableSub) bool { return c.follows(topic) }) {
		sub.reclass()
		return
	}
	t := sub.feed.topic
	sub.feed.remove(sub)
	s.more = slices.DeleteFunc(s.more, sub.is)
	if sub.told {
		s.control(encodeTopicOff(t))
	}
}

// confirm tells the client of the subscriptions all of whose topics stand.
func (s *session) confirm() {
	for _, c := range s.cable.list {
		if c.confirmed || !s.stands(c) {
			continue
		}
		c.confirmed = true
		s.settled(c.note, cableWord("confirm_subscription", c.identifier))
		if !s.conn.Open() {
			return
		}
	}
}

func (s *session) stands(c *cableSub) bool {
	for _, topic := range c.topics {
		if sub := s.find(topic); sub == nil || !sub.greeted {
			return false
		}
	}
	return true
}

// cableWord is an answer about an identifier.
func cableWord(kind, identifier string) []byte {
	return text(fmt.Appendf(nil, `{"type":"%s","identifier":%s}`, kind, appendQuoted(nil, identifier)))
}
