package gateway

import (
	"encoding/json"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/eventloop"
	topics "github.com/ringside-edge/ringside/internal/topic"
)

// maxCableWait bounds the commands of a session that wait for the application, in bytes; it is what a router holds as well.
const maxCableWait = 128 << 10

// cableWaits reports whether a command has to wait: for the application, or behind one that does.
func (s *session) cableWaits(c *cableCommand) bool {
	return s.access != nil && c.Command != "pong" && (len(s.access.calls) > 0 || s.cableAsks(c))
}

// cableAsks reports whether the application has a say in a command: in channels that are not followed without it.
func (s *session) cableAsks(c *cableCommand) bool {
	if !s.grant().Owes() {
		return false
	}
	sub := s.cable.find(c.Identifier)
	switch c.Command {
	case "subscribe":
		return sub == nil && s.worker.g.cfg.Cable.isChannel(c.Identifier)
	case "message", "unsubscribe":
		return sub != nil && s.worker.g.cfg.Cable.isChannel(c.Identifier)
	}
	return false
}

// isChannel reports whether an identifier is of a channel of the application's.
func (c *Cable) isChannel(identifier string) bool {
	var ch cableChannel
	if json.Unmarshal([]byte(identifier), &ch) != nil || ch.Channel == "" || ch.Channel == pubsub {
		return false
	}
	if ch.Channel == turbo {
		_, ok := c.signed(ch.Signed)
		return !ok
	}
	return true
}

// cableLater has a command wait. A client may subscribe to all that it may have at once.
func (s *session) cableLater(c *cableCommand, size int) {
	if len(s.access.calls) >= maxCalls+s.worker.g.cfg.MaxTopics || s.cable.waiting+size > maxCableWait {
		s.worker.g.metrics.badMessage("busy")
		return
	}
	if c.size = size; len(s.access.calls) == 0 {
		s.access.held = s.acked
	}
	s.cable.waiting += size
	s.access.calls = append(s.access.calls, command{Type: "cable", cable: c})
	s.nextCall()
}

// beginCableCall asks the application about a command whose turn has come, and reports whether it does.
func (s *session) beginCableCall(c *cableCommand) bool {
	s.cable.waiting -= c.size
	c.size = 0
	if !s.cableAsks(c) {
		s.cableDo(c)
		return false
	}
	g, grant, id := s.worker.g, s.access.grant, s.id
	ask := auth.Command{Name: c.Command, Identifier: c.Identifier, Data: c.data()}
	if sub := s.cable.find(c.Identifier); sub != nil {
		ask.State = sub.state // it is not changed, only replaced
	}
	s.ask(func() func() {
		next, answer, no := g.deps.Access.Guard.Command(g.ctx, id, grant, ask)
		return func() {
			s.setGrant(next)
			s.cableAnswered(c, answer, no)
		}
	})
	return true
}

// data is what a message carries for the application.
func (c *cableCommand) data() string {
	if text, ok := c.Data.(string); ok || c.Data == nil {
		return text
	}
	b, _ := json.Marshal(c.Data) // it has been JSON
	return string(b)
}

// cableAnswered does what the application has said. An application that could not be asked has said nothing, and neither do we: clients
// subscribe again when they hear nothing.
func (s *session) cableAnswered(c *cableCommand, a auth.Answer, no *auth.Refusal) {
	comesBack := false
	for _, t := range a.Transmissions {
		var word struct {
			Type      string `json:"type"`
			Reconnect bool   `json:"reconnect"`
		}
		_ = json.Unmarshal([]byte(t), &word)
		switch word.Type {
		case "confirm_subscription", "reject_subscription": // ours to say: once, and when it is so
		case "disconnect":
			comesBack = word.Reconnect
		default:
			s.sendControl(text([]byte(t)))
		}
		if !s.conn.Open() || s.closing {
			return
		}
	}
	if no != nil {
		s.worker.g.metrics.badMessage(no.Reason)
	}
	switch {
	case c.Command == "unsubscribe":
		s.cableDrop(c.Identifier)
	case no == nil && c.Command == "subscribe":
		s.cableJoin(c, a)
	case no == nil:
		s.cableChange(c.Identifier, a)
	case no.Reason == auth.Denied && c.Command == "subscribe":
		s.sendControl(cableWord("reject_subscription", c.Identifier))
	}
	if a.Disconnect && s.conn.Open() && !s.closing {
		s.farewell(closeDenied, cableRemote, comesBack)
	}
}

// cableJoin begins a subscription that the application has agreed to.
func (s *session) cableJoin(c *cableCommand, a auth.Answer) {
	sub := &cableSub{identifier: c.Identifier, topics: s.streams(nil, a.Streams), state: a.State}
	s.cableBegin(c, sub, s.cableRoom(sub.topics...))
}

// streams adds topics to a subscription's. What is none is not followed, and the operator told: the client can do nothing about it.
func (s *session) streams(have, more []string) []string {
	have = slices.Clone(have)
	for _, name := range more {
		if err := topics.Validate(name); err != nil || len(have) >= s.worker.g.cfg.MaxTopics {
			s.worker.g.metrics.badMessage("topic")
			s.worker.g.log.Warn("the application names a stream that can't be followed", zap.Error(err), zap.Int("streams", len(have)))
			continue
		}
		if !slices.Contains(have, name) {
			have = append(have, name)
		}
	}
	return have
}

// cableChange has a subscription follow other streams, and keeps what the application has noted.
func (s *session) cableChange(identifier string, a auth.Answer) {
	sub := s.cable.find(identifier)
	if sub == nil {
		return
	}
	was := sub.topics
	if a.StopAll {
		sub.topics = nil
	}
	sub.topics = s.streams(slices.DeleteFunc(slices.Clone(sub.topics), func(t string) bool { return slices.Contains(a.Stopped, t) }), a.Streams)
	if len(a.State) > 0 {
		state := maps.Clone(a.State)
		for k, v := range sub.state {
			if _, ok := state[k]; !ok {
				state[k] = v
			}
		}
		sub.state = state
	}
	s.renote(sub)
	for _, t := range sub.topics {
		if !slices.Contains(was, t) && s.conn.Open() && !s.closing {
			s.cableFollow(t, nil)
		}
	}
	for _, t := range was {
		if !slices.Contains(sub.topics, t) {
			s.cableLeave(t)
		}
	}
}

// renote has the router keep a subscription's note as it is now. The new one is told before the old one goes.
func (s *session) renote(sub *cableSub) {
	names, ok := noteParts(0, sub.text())
	if !ok {
		s.worker.g.metrics.badMessage("state")
		s.worker.g.log.Warn("what the application notes of a subscription is too large to be kept")
		return
	}
	old, parts := sub.note, sub.parts
	s.cable.list = slices.DeleteFunc(s.cable.list, func(o *cableSub) bool { return o == sub })
	used := &cableSub{note: old}
	s.cable.add(used)
	sub.note, sub.parts = s.cable.freeNote(), len(names)
	s.cable.list = slices.DeleteFunc(s.cable.list, func(o *cableSub) bool { return o == used })
	s.cable.add(sub)
	s.tellNote(sub.note, sub.text(), !sub.confirmed)
	if sub.pending {
		s.tellNote(historyNote(sub.note), "", true)
		s.dropNote(historyNote(old), 1)
	}
	s.dropNote(old, parts)
}

// Disconnect ends the sessions of a client, by the name that the application has for it. It returns at once, and is safe for concurrent use.
func (g *Gateway) Disconnect(identifiers string, reconnect bool) {
	for _, w := range g.workers {
		w.loop.Post(eventloop.NoteFunc(func() {
			// Backwards, because a session that ends makes room for the last one.
			for i := len(w.sessions) - 1; i >= 0; i-- {
				if s := w.sessions[i]; s.cable != nil && s.grant().Names(identifiers) {
					s.farewell(closeDenied, cableRemote, reconnect)
				}
			}
		}))
	}
}
