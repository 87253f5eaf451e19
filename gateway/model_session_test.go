package gateway

import (
	"errors"
	"fmt"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/eventloop"
	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/leg"
)

// modelClients is how many there are at most.
const modelClients = 6

// listen judges what the clients have heard.
func (w *world) listen() {
	w.t.Helper()
	heard := make([][]word, len(w.clients))
	errs := make([]error, len(w.clients))
	some := false
	for i, c := range w.clients {
		heard[i], errs[i] = c.take()
		some = some || len(heard[i]) > 0
	}
	if some {
		w.look() // all that they can have heard of
	}
	for i, c := range w.clients {
		for _, said := range heard[i] {
			w.note("%s hears: %v", c.name, said)
			if err := c.hear(said); err != nil {
				w.fail("%s: %v", c.name, err)
			}
		}
		switch {
		case errs[i] == nil:
		case errors.Is(errs[i], leg.ErrContinue) && w.vanished(c):
			w.note("%s can't be given the rest of a message, and is closed", c.name)
			c.stop()
		default:
			w.fail("%s: its connection has ended: %v; half way is a message of %q: %+v", c.name, errs[i], c.half, c.strip.HalfWay())
		}
	}
}

// vanished reports whether the message that a client has a part of can't be had any more, or what was before it, of which the client
// is told first.
func (w *world) vanished(c *modelClient) bool {
	h := c.strip.HalfWay()
	v := c.views[c.half]
	if h == nil || v == nil {
		return false
	}
	f := v.truth.at(h.Header.Position.ID)
	return f == nil || f.fate != stands || v.truth.lost || v.truth.trimmedWithin(v.at.ID, f.id)
}

func (c *modelClient) hear(said word) error {
	v := c.views[said.topic]
	switch {
	case said.kind == "closed" || said.kind == "error":
		return fmt.Errorf("%v %s", said, said.reason)
	case v == nil:
		return fmt.Errorf("%v: the client does not follow it", said)
	case said.kind == "unsubscribed":
		delete(c.views, said.topic)
		return nil
	}
	return v.hear(said)
}

// begin is how a view begins anew, behind since unless that is zero.
func (v *view) begin(since position.Position) {
	v.told = position.ID{}
	v.greeted, v.leaving, v.slow, v.got, v.asked = false, false, false, position.ID{}, v.truth.top()
	v.resumed, v.at = since != zeroPosition, since
}

// view is a client's view of a topic, made when there is none.
func (w *world) view(c *modelClient, topic string) *view {
	v := c.views[topic]
	if v == nil {
		v = &view{topic: topic, rule: w.rules.For(topic), truth: w.slotOf(topic), seen: map[string]*fact{}, slow: c.holds}
		c.views[topic] = v
	}
	return v
}

// open has a client connect to m; it comes back with what its views know.
func (w *world) open(c *modelClient, m *member) {
	w.t.Helper()
	c.hold(false)
	first := w.view(c, c.topic)
	for topic, v := range c.views {
		if v.leaving && topic != c.topic {
			delete(c.views, topic)
			continue
		}
		v.begin(v.at)
	}
	w.note("%s connects to %s: %s since %v", c.name, m.id, c.topic, first.at)
	w.letIn(m, c.name+" is let in", func() error { return c.open(m, first.at) })
	for _, topic := range w.topics {
		if v := c.views[topic]; v != nil && v != first {
			w.ask(c, v)
		}
	}
}

// letIn waits until a gateway takes what enter brings. One that lags may refuse until it hears Redis again.
func (w *world) letIn(m *member, what string, enter func() error) {
	w.t.Helper()
	said := ""
	w.until(what, func() bool {
		err := enter()
		if err == nil {
			return true
		}
		if said != err.Error() {
			said = err.Error()
			w.note("%s refuses: %s", m.id, said)
		}
		m.flow(w)
		return false
	})
}

// ask subscribes to a view's topic.
func (w *world) ask(c *modelClient, v *view) {
	w.note("%s subscribes to %s since %v", c.name, v.topic, v.at)
	if v.resumed {
		c.say(`{"type":"subscribe","topic":"%s","since":"%s"}`, v.topic, v.at)
		return
	}
	c.say(`{"type":"subscribe","topic":"%s"}`, v.topic)
}

func (w *world) drawMember(t *rapid.T) *member {
	return w.members[rapid.IntRange(0, len(w.members)-1).Draw(t, "gateway")]
}

// draw draws one of the clients for which ok holds, and skips the action when there is none.
func (w *world) draw(t *rapid.T, ok func(c *modelClient) bool) *modelClient {
	w.listen()
	var some []*modelClient
	for _, c := range w.clients {
		if ok(c) {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		t.Skip("no such client")
	}
	return some[rapid.IntRange(0, modelClients-1).Draw(t, "client")%len(some)]
}

func (w *world) actConnect(t *rapid.T) {
	if len(w.clients) == modelClients {
		t.Skip("enough")
	}
	m, topic := w.drawMember(t), w.drawTopic(t)
	sse, onLeg := rapid.IntRange(0, 2).Draw(t, "event stream") == 0, rapid.Bool().Draw(t, "on a leg")
	name := fmt.Sprintf("client-%d", len(w.clients)+1)
	if sse {
		name += "-sse"
	}
	if onLeg {
		name += "-leg"
	}
	c := newModelClient(name, topic, sse, onLeg)
	w.clients = append(w.clients, c)
	w.open(c, m)
}

func (w *world) actLeave(t *rapid.T) {
	c := w.draw(t, func(c *modelClient) bool { return c.conn != nil })
	w.note("%s leaves", c.name)
	c.stop()
	w.listen()
}

// away reports that the client would have to connect anew.
func (c *modelClient) away() bool { return c.conn == nil && !c.parted }

func (w *world) actComeBack(t *rapid.T) {
	c := w.draw(t, (*modelClient).away)
	w.open(c, w.drawMember(t))
}

// actComeBackElsewhere has a client come back with a position that is not its newest, or not of this stream.
func (w *world) actComeBackElsewhere(t *rapid.T) {
	c := w.draw(t, func(c *modelClient) bool {
		v := c.views[c.topic]
		return c.away() && v != nil && len(v.past) > 0
	})
	v := c.views[c.topic]
	p := v.past[rapid.IntRange(0, 1000).Draw(t, "position")%len(v.past)]
	*v = view{topic: v.topic, rule: v.rule, truth: v.truth, seen: map[string]*fact{}, past: v.past, at: p}
	m := w.drawMember(t)
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		w.note("%s takes an old position: %v", c.name, p)
	case 1:
		v.at.Epoch ^= 1
		v.foreign, v.stray = true, true
		w.note("%s takes a position of another epoch: %v", c.name, v.at)
	case 2:
		if v.at.ID.Seq++; v.truth.at(v.at.ID) == nil && v.truth.at(v.at.ID.Next()) == nil {
			v.foreign, v.stray = true, !m.remembers(v)
			w.note("%s takes a position that there never was: %v", c.name, v.at)
		}
	}
	w.open(c, m)
}

// remembers reports whether a gateway may go on with a view from memory, where it believes any position.
func (m *member) remembers(v *view) bool {
	s := m.g.slots[v.truth.slot]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topics[v.topic] != nil || s.warm && !v.at.ID.Less(s.at.ID) || !v.at.ID.Less(v.truth.top())
}

func (w *world) actSubscribe(t *rapid.T) {
	free := func(c *modelClient) (some []string) {
		for _, topic := range w.topics {
			if c.views[topic] == nil {
				some = append(some, topic)
			}
		}
		return some
	}
	c := w.draw(t, func(c *modelClient) bool { return c.conn != nil && !c.sse && len(free(c)) > 0 })
	v := w.view(c, free(c)[rapid.IntRange(0, 5).Draw(t, "topic")%len(free(c))])
	if rapid.Bool().Draw(t, "with a position") {
		for _, o := range w.clients { // somebody else has told it
			if ov := o.views[v.topic]; ov != nil && len(ov.past) > 0 {
				v.begin(ov.past[rapid.IntRange(0, 1000).Draw(t, "position")%len(ov.past)])
				break
			}
		}
	}
	v.slow, v.asked = c.holds, v.truth.top()
	w.ask(c, v)
}

func (w *world) actUnsubscribe(t *rapid.T) {
	some := func(c *modelClient) (vs []*view) {
		for _, topic := range w.topics {
			if v := c.views[topic]; v != nil && v.greeted && !v.leaving {
				vs = append(vs, v)
			}
		}
		return vs
	}
	c := w.draw(t, func(c *modelClient) bool { return c.conn != nil && !c.sse && len(some(c)) > 0 })
	v := some(c)[rapid.IntRange(0, 5).Draw(t, "topic")%len(some(c))]
	w.note("%s unsubscribes from %s", c.name, v.topic)
	v.leaving = true
	c.say(`{"type":"unsubscribe","topic":"%s"}`, v.topic)
}

func (w *world) actStopReading(t *rapid.T) {
	c := w.draw(t, func(c *modelClient) bool { return c.conn != nil && !c.holds })
	w.note("%s stops reading", c.name)
	c.hold(true)
	for _, v := range c.views {
		v.slow = true
	}
}

func (w *world) actReadOn(t *rapid.T) {
	c := w.draw(t, func(c *modelClient) bool { return c.conn != nil && c.holds })
	w.note("%s reads on", c.name)
	c.hold(false)
}

// actMove has the router take a session to a gateway, another one or the same, wherever its bytes are cut by that.
func (w *world) actMove(t *rapid.T) {
	c := w.draw(t, func(c *modelClient) bool { return c.onLeg && !c.away() })
	w.move(c, w.drawMember(t))
}

func (w *world) move(c *modelClient, m *member) {
	w.t.Helper()
	w.note("%s goes on at %s", c.name, m.id)
	c.stop()
	c.parted = true
	w.letIn(m, c.name+" is taken over", func() error { return c.goOn(m) })
	c.parted = false
}

// actBeat has a gateway look at its sessions, and send their heartbeats.
func (w *world) actBeat(t *rapid.T) {
	m := w.drawMember(t)
	for _, worker := range m.g.workers {
		worker.loop.Post(eventloop.NoteFunc(func() {
			for _, s := range append([]*session(nil), worker.sessions...) {
				s.nextBeat = 0
				s.Sweep(&s.conn, worker.loop.Now())
			}
		}))
	}
	w.note("%s sends heartbeats", m.id)
}
