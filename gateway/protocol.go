package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ringside-edge/ringside/gateway/auth"
	"github.com/ringside-edge/ringside/internal/position"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/internal/wsframe"
	"github.com/ringside-edge/ringside/leg"
)

// encodeGreeting is the answer to a subscription: the welcome for the topic of the connect URL, else
// "subscribed".
func encodeGreeting(s *session, sub *sub) []byte {
	switch {
	case s.format == formatRaw || s.cable != nil:
		return nil
	case s.format == formatSSE:
		// The position first, in a block of its own: it holds whatever a client makes of the event.
		return fmt.Appendf(nil, "retry: %d\nid: %s\n\nevent: welcome\ndata: %s\n\n", s.worker.policy.Steady().Milliseconds(), sub.last, welcome(s, sub))
	case sub.first:
		return text(welcome(s, sub))
	}
	return encodeSubscribed(sub)
}

// welcome is what a client is told first, as JSON.
func welcome(s *session, sub *sub) []byte {
	return fmt.Appendf(nil, `{"type":"welcome","session":"%016x","topic":%s,"position":"%s","heartbeat":%d,%s"backoff":%s,"resume":"%s"}`,
		s.id, sub.feed.topic.quoted, sub.last, s.worker.g.cfg.Heartbeat.Milliseconds(), s.expiry(), s.worker.policy.json,
		s.worker.g.resumePass(s.id, time.Now()))
}

func encodeSubscribed(sub *sub) []byte {
	return text(fmt.Appendf(nil, `{"type":"subscribed","topic":%s,"position":"%s"}`, sub.feed.topic.quoted, sub.last))
}

// encodeHeartbeat moves the client's position on and tells how fresh its topic is. Of ringside.raw it is a ping, whose payload says
// the latter.
func encodeHeartbeat(f format, t *topic, at position.Position, fresh freshness) []byte {
	if f.isCable() {
		return nil // its pings tell no position
	}
	j := fmt.Appendf(nil, `"asOf":%d,"lag":%d`, fresh.asOf, fresh.lag)
	if fresh.stale {
		j = append(j, `,"stale":true`...)
	}
	switch f {
	case formatRaw:
		return wsframe.AppendFrame(nil, wsframe.Ping, fmt.Appendf(nil, "{%s}", j))
	case formatSSE:
		return fmt.Appendf(nil, "id: %s\nevent: heartbeat\ndata: {%s}\n\n", at, j)
	}
	return text(fmt.Appendf(nil, `{"type":"heartbeat","topic":%s,"position":"%s",%s}`, t.quoted, at, j))
}

// encodeGap tells that what lies behind after, up to and including at, can't be had any more. ringside.raw has no
// way to say it, Action Cable a word of its own: see historyLost.
func encodeGap(f format, t *topic, reason gapReason, after, at position.Position) []byte {
	j := fmt.Appendf(nil, `{"type":"gap","topic":%s,"reason":"%s","after":"%s","position":"%s"}`, t.quoted, reason, after, at)
	switch f {
	case formatRaw, formatCable, formatCableExt:
		return nil
	case formatSSE:
		b := fmt.Appendf(nil, "id: %s\nevent: gap\n", at)
		return append(appendSSEData(b, j), '\n')
	}
	return text(j)
}

// text is a text frame.
func text(j []byte) []byte {
	return wsframe.AppendFrame(make([]byte, 0, len(j)+wsframe.HeaderSize(len(j))), wsframe.Text, j)
}

// command is what a client of ringside.v1 may send.
type command struct {
	Type  string `json:"type"`
	Topic string `json:"topic"`
	Since string `json:"since"`

	Token      string          `json:"token"`      // auth
	Identifier string          `json:"identifier"` // command
	Data       json.RawMessage `json:"data"`       // command
	ID         json.RawMessage `json:"id"`         // command: comes back when it is done

	cable *cableCommand // Type is cable
}

// WSMessage implements wsframe.Handler: a command of the client.
func (s *session) WSMessage(op wsframe.Opcode, payload []byte) error {
	switch {
	case s.closing || !s.conn.Open():
	case s.format == formatRaw:
		s.worker.g.metrics.badMessage("raw_takes_none")
		s.finishWith(closeProtocol, codeUnsupported, protocolRaw+" takes no messages")
	case op != wsframe.Text:
		s.worker.g.metrics.badMessage("binary")
		s.finishWith(closeProtocol, codeUnsupported, "text messages only are taken")
	case s.cable != nil:
		s.cableMessage(payload)
	default:
		s.command(payload)
	}
	return nil
}

// WSControl implements wsframe.Handler.
func (s *session) WSControl(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.Ping:
		s.sendControl(wsframe.AppendFrame(nil, wsframe.Pong, payload))
	case wsframe.Close:
		code, _, err := wsframe.ParseClose(payload)
		if err != nil {
			return err
		}
		last := wsframe.AppendFrame(nil, wsframe.Close, nil)
		if len(payload) > 0 {
			last = wsframe.AppendClose(nil, code, "")
		}
		s.end(closeClient, last)
	}
	return nil
}

func (s *session) command(payload []byte) {
	var c command
	if err := json.Unmarshal(payload, &c); err != nil {
		s.refuse("json", "a message must be a JSON object with a \"type\"", "")
		return
	}
	if s.waits(c) {
		s.later(c)
		return
	}
	s.carryOut(c)
}

func (s *session) carryOut(c command) {
	switch c.Type {
	case "ping":
		s.sendControl(text([]byte(`{"type":"pong"}`)))
	case "subscribe":
		if topics.Validate(c.Topic) == nil && s.find(c.Topic) == nil && !s.allowed(c.Topic) {
			s.refuseAccess(s.grant().Refuse(c.Topic, s.worker.g.demands(c.Topic)), c.Topic)
			return
		}
		s.commandSubscribe(c)
	case "unsubscribe":
		s.commandUnsubscribe(c)
	case "auth", "command":
		s.refuse(auth.NotAllowed, "the session is not authenticated: connect anew for that", "")
	default:
		s.refuse("type", "the type must be one of subscribe, unsubscribe, ping, auth, command", "")
	}
}

func (s *session) commandSubscribe(c command) {
	if err := topics.Validate(c.Topic); err != nil {
		s.refuse("topic", err.Error(), c.Topic)
		return
	}
	var since position.Position
	if c.Since != "" {
		var err error
		if since, err = position.Parse(c.Since); err != nil {
			s.refuse("position", err.Error(), c.Topic)
			return
		}
	}
	// Commands may come twice: after a change of gateways, those whose answers may have been lost.
	if sub := s.find(c.Topic); sub != nil {
		if sub.greeted {
			s.sendControl(encodeSubscribed(sub))
		}
		return
	}
	n := 0
	s.subs(func(*sub) { n++ })
	if limit := s.worker.g.cfg.MaxTopics; n >= limit {
		s.refuse("topics", "a session may have "+strconv.Itoa(limit)+" topics at most", c.Topic)
		return
	}
	if !s.worker.g.slots[s.worker.g.slotOf(c.Topic)].admits(c.Topic) {
		s.refuse("topics_full", "the gateway has all the topics that it takes: try again later", c.Topic)
		return
	}
	sub := &sub{late: c.Since != ""}
	s.more = append(s.more, sub)
	s.subscribe(sub, c.Topic, since, c.Since != "")
}

func (s *session) commandUnsubscribe(c command) {
	if err := topics.Validate(c.Topic); err != nil {
		s.refuse("topic", err.Error(), c.Topic)
		return
	}
	if sub := s.find(c.Topic); sub != nil {
		t := sub.feed.topic
		sub.feed.remove(sub)
		s.more = slices.DeleteFunc(s.more, sub.is)
		if sub.told {
			s.control(encodeTopicOff(t))
		}
	}
	s.sendControl(text(fmt.Appendf(nil, `{"type":"unsubscribed","topic":%s}`, appendQuoted(nil, c.Topic))))
}

// find is the session's subscription to a topic, nil when there is none.
func (s *session) find(name string) (found *sub) {
	s.subs(func(sub *sub) {
		if sub.feed.topic.name == name {
			found = sub
		}
	})
	return found
}

// refuse answers a command that can't be done. The reason is counted.
func (s *session) refuse(reason, message, topic string) {
	s.worker.g.metrics.badMessage(reason)
	j := fmt.Appendf(nil, `{"type":"error","reason":"%s","message":%s`, reason, appendQuoted(nil, message))
	if topic != "" && len(topic) <= 1024 {
		j = append(append(j, `,"topic":`...), appendQuoted(nil, topic)...)
	}
	s.sendControl(text(append(j, '}')))
}

// encodeTopicOff tells the router that the session no longer follows t.
func encodeTopicOff(t *topic) []byte {
	return leg.AppendHeader(nil, leg.Header{Kind: leg.Topic, Flags: leg.Off, Topic: t.num})
}
