package gateway

import (
	"encoding/json"
	"strconv"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/eventloop"
	topics "github.com/ringside-edge/ringside/internal/topic"
)

// maxCalls bounds the commands of a session that wait for others' answers.
const maxCalls = 16

// later keeps a command that has to wait for others' answers, or behind one that does. Commands are carried out one by one, in
// their order, and are not acknowledged before: should the gateway end, the next one carries them out.
func (s *session) later(c command) {
	a := s.access
	if len(a.calls) >= maxCalls {
		s.refuse("busy", "at most "+strconv.Itoa(maxCalls)+" commands may wait for an answer", c.Topic)
		return
	}
	if len(a.calls) == 0 {
		a.held = s.acked
	}
	a.calls = append(a.calls, c)
	s.nextCall()
}

// waits reports whether a command has to wait.
func (s *session) waits(c command) bool {
	if s.access == nil || c.Type == "ping" {
		return false
	}
	return len(s.access.calls) > 0 || c.Type == "auth" || c.Type == "command" || c.Type == "subscribe" && s.asksApp(c.Topic)
}

// asksApp reports whether the application has a say in a subscription.
func (s *session) asksApp(topic string) bool {
	return topics.Validate(topic) == nil && s.find(topic) == nil && s.worker.g.demands(topic)&(auth.RPC|auth.Webhook) != 0
}

// consumed is how many of the client's bytes are done with.
func (s *session) consumed() uint64 {
	if s.access != nil && len(s.access.calls) > 0 {
		return s.access.held
	}
	return s.reader.Consumed()
}

// nextCall carries waiting commands out until one needs an answer of others.
func (s *session) nextCall() {
	a := s.access
	for len(a.calls) > 0 && !a.calling && s.conn.Open() && !s.closing {
		c := a.calls[0]
		if s.begin(c) {
			a.calling = true
			return
		}
		s.called()
	}
}

// called lets go of the first command, which has been carried out.
func (s *session) called() {
	a := s.access
	if a.calling = false; len(a.calls) > 0 {
		a.calls = a.calls[1:]
	}
	if len(a.calls) > 0 {
		return
	}
	a.calls = nil
	if s.onLeg && s.acked != s.reader.Consumed() {
		s.sendControl(nil)
	}
}

// begin asks others about a command, and reports whether it does: any other command is carried out at once.
func (s *session) begin(c command) bool {
	g, grant, id := s.worker.g, s.access.grant, s.id
	guard := g.deps.Access.Guard
	switch c.Type {
	case "cable":
		return s.beginCableCall(c.cable)
	case "auth":
		s.ask(func() func() {
			fresh, no := guard.Renew(g.ctx, grant, c.Token)
			return func() { s.renewed(fresh, no) }
		})
	case "command":
		s.ask(func() func() {
			next, answer, no := guard.Command(g.ctx, id, grant, auth.Command{Name: "message", Identifier: c.Identifier, Data: c.data()})
			return func() { s.commanded(c, next, answer, no) }
		})
	case "subscribe":
		if !s.asksApp(c.Topic) || !s.allowed(c.Topic) {
			s.carryOut(c)
			return false
		}
		about := string(append(appendQuoted([]byte(`{"channel":"ringside","topic":`), c.Topic), '}'))
		s.ask(func() func() {
			next, answer, no := guard.Command(g.ctx, id, grant, auth.Command{Name: "subscribe", Identifier: about})
			return func() { s.subscribed(c, next, answer, no) }
		})
	default:
		s.carryOut(c)
		return false
	}
	return true
}

// ask calls f, which may block and must not touch the session, and then what it returns on the session's loop.
func (s *session) ask(f func() func()) {
	s.worker.g.readers.start(func() {
		then := f()
		s.worker.loop.Post(eventloop.NoteFunc(func() {
			if !s.conn.Open() || s.closing || s.access.gone {
				return
			}
			then()
			if s.conn.Open() && !s.closing {
				s.called()
				s.nextCall()
			}
		}))
	})
}

// allowed reports whether the session's grant covers a topic.
func (s *session) allowed(topic string) bool {
	return s.grant().Allows(topic, s.worker.g.demands(topic))
}

// refuseAccess answers a command that was not allowed.
func (s *session) refuseAccess(no *auth.Refusal, topic string) {
	s.refuse(no.Reason, no.Message, topic)
}

// renewed takes a fresh token's grant.
func (s *session) renewed(fresh *auth.Grant, no *auth.Refusal) {
	if no == nil {
		s.subs(func(sub *sub) {
			if name := sub.feed.topic.name; no == nil && !fresh.Allows(name, s.worker.g.demands(name)) {
				no = &auth.Refusal{Reason: auth.TokenTopic, Message: "the token does not cover a topic that the session follows"}
			}
		})
	}
	if no != nil {
		s.refuseAccess(no, "")
		return
	}
	s.setGrant(fresh)
	s.sendControl(text([]byte(`{"type":"authenticated","expires":` + strconv.FormatInt(fresh.Expires*1000, 10) + "}")))
}

// commanded does what the application has said to a command.
func (s *session) commanded(c command, next *auth.Grant, answer auth.Answer, no *auth.Refusal) {
	s.setGrant(next)
	if no != nil {
		s.refuseAccess(no, "")
	}
	s.obey(answer)
	if s.conn.Open() && !s.closing && no == nil && c.ID != nil {
		s.sendControl(text(append(append([]byte(`{"type":"done","id":`), c.ID...), '}')))
	}
}

// subscribed goes on with a subscription that the application has been asked about.
func (s *session) subscribed(c command, next *auth.Grant, answer auth.Answer, no *auth.Refusal) {
	s.setGrant(next)
	if no != nil {
		s.refuseAccess(no, c.Topic)
	}
	s.obey(answer)
	if no == nil && s.conn.Open() && !s.closing {
		s.commandSubscribe(c)
	}
}

// obey carries out what the application wants, as far as it means something here.
func (s *session) obey(a auth.Answer) {
	for _, t := range a.Transmissions {
		s.sendControl(encodeReply(t))
	}
	if a.StopAll {
		for len(s.more) > 0 {
			s.commandUnsubscribe(command{Topic: s.more[0].feed.topic.name})
		}
	}
	for _, t := range a.Stopped {
		s.commandUnsubscribe(command{Topic: t})
	}
	for _, t := range a.Streams {
		s.commandSubscribe(command{Topic: t})
	}
	if a.Disconnect {
		s.turnAway(closeDenied, &refusal{reason: auth.Denied})
	}
}

// data is what a command carries for the application: a string as it is, anything else as JSON.
func (c *command) data() string {
	var s string
	if json.Unmarshal(c.Data, &s) == nil {
		return s
	}
	return string(c.Data)
}
