package gateway

import (
	"fmt"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/stream"
)

// payload makes one that there was not before.
func (w *world) payload(kind, size int) string {
	w.number++
	pad := strings.Repeat("x", size)
	switch kind {
	case 0:
		return fmt.Sprintf(`{"n":%d,"k":%d,"pad":"%s"}`, w.number, w.number%3, pad)
	case 1:
		return fmt.Sprintf("number %d,\nür alle %s", w.number, pad)
	}
	return fmt.Sprintf("%d \xff\x00%s", w.number, pad)
}

// drawPayload draws one, now and then a large one.
func (w *world) drawPayload(t *rapid.T) string {
	size := rapid.SampledFrom([]int{0, 0, 0, 100, 100, 3000, 40000}).Draw(t, "size")
	return w.payload(rapid.IntRange(0, 2).Draw(t, "kind"), size)
}

func (w *world) drawTopic(t *rapid.T) string { return rapid.SampledFrom(w.topics).Draw(t, "topic") }

// modelIDs are few, so that they come again.
//
//nolint:gochecknoglobals // a constant
var modelIDs = []string{"id-1", "id-2", "id-3"}

func drawID(t *rapid.T) string { return rapid.SampledFrom(modelIDs).Draw(t, "id") }

// keepUp waits until the tails and the clients that read have got so far that n more messages can't throw any of them off a log:
// gateways forget nothing that such a client still needs.
func (w *world) keepUp(topic string, n int) {
	w.t.Helper()
	w.look()
	truth := w.slotOf(topic)
	for _, m := range w.members { // what it is to catch up with comes at once
		if m.link.still() && m.behind(truth, topic)+n > modelLog/2 {
			m.flow(w)
		}
	}
	w.until("those that read keep up with "+topic, func() bool {
		for _, m := range w.members {
			if m.behind(truth, topic)+n > modelLog/2 {
				return false
			}
		}
		for _, c := range w.clients {
			v := c.views[topic]
			if c.conn == nil || c.holds || v == nil || v.leaving || c.member.link.still() {
				continue
			}
			from := v.at.ID
			if !v.greeted {
				from = v.asked
			}
			if truth.messages(topic, from)+n > modelLog/2 {
				return false
			}
		}
		return true
	})
}

// behind is how many messages of a topic a gateway's tail has yet to come to.
func (m *member) behind(t *truth, topic string) int {
	warm, at := m.tail(t.slot)
	if !warm {
		return 0
	}
	return t.messages(topic, at.ID)
}

// publish publishes by the client of the package, as often as it takes to be acknowledged, and looks whether the answer is true.
func (w *world) publish(topic, id, payload string) stream.Published {
	w.t.Helper()
	w.keepUp(topic, 1)
	var p stream.Published
	var err error
	tries := 0
	w.until("a publish is acknowledged", func() bool {
		tries++
		p, err = w.pub.Publish(w.outer.Context(), stream.Message{Topic: topic, ID: id, Payload: []byte(payload)})
		return err == nil
	})
	w.note("publish to %s: %v, id %q, duplicate %v, %d tries: %.30q", topic, p.Position, id, p.Duplicate, tries, payload)
	w.look()
	f := w.slotOf(topic).at(p.Position.ID)
	switch {
	case f == nil:
		w.fail("the publish was acknowledged, and there is no entry")
	case p.Duplicate && (f.topic != topic || f.key != id), !p.Duplicate && (f.topic != topic || f.key != id || f.payload != payload):
		w.fail("the publish was acknowledged as another's: %v", f)
	}
	return p
}

func (w *world) actPublish(t *rapid.T) {
	topic := w.drawTopic(t)
	for range rapid.IntRange(1, 5).Draw(t, "messages") {
		w.publish(topic, "", w.drawPayload(t))
	}
}

func (w *world) actPublishID(t *rapid.T) {
	topic, id := w.drawTopic(t), drawID(t)
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		w.publish(topic, id, w.drawPayload(t))
	}
}

// xadd is the command that adds a message past the publish script.
func xadd(topic, id, payload string, slot int) []string {
	args := []string{"XADD", stream.Key(slot), "*", "topic", topic, "payload", payload}
	if id != "" {
		args = append(args, "id", id)
	}
	return args
}

func (w *world) actXADD(t *rapid.T) {
	topic := w.drawTopic(t)
	id := ""
	if rapid.Bool().Draw(t, "with an id") {
		id = drawID(t)
	}
	for range rapid.IntRange(1, 3).Draw(t, "messages") {
		w.keepUp(topic, 1)
		at := w.do(xadd(topic, id, w.drawPayload(t), w.slotOf(topic).slot)...)
		w.note("XADD to %s: %v, id %q", topic, at, id)
	}
	w.look()
}

// actPoison adds what is no message.
func (w *world) actPoison(t *rapid.T) {
	slot := w.drawSlot(t)
	topic := w.topics[0]
	if slot == w.slotOf(topic) {
		topic = w.topics[len(w.topics)-1]
	}
	fields := [][]string{
		{"topic", topic, "payload", "of another slot"},
		{"topic", "\x00", "payload", "no topic"},
		{"payload", "without a topic"},
		{"topic", w.topics[0]},
		{"topic", w.topics[0], "payload", strings.Repeat("x", modelPayload+1)},
		{"anything", "else"},
		{"epoch", "none"},
	}
	i := rapid.IntRange(0, len(fields)-1).Draw(t, "poison")
	w.do(append([]string{"XADD", stream.Key(slot.slot), "*"}, fields[i]...)...)
	w.note("poison %d to slot %d", i, slot.slot)
	w.look()
}

// actFlood publishes more than the buffers of a client that does not read take.
func (w *world) actFlood(t *rapid.T) {
	var slow []string
	for _, c := range w.clients {
		for _, topic := range w.topics {
			if v := c.views[topic]; c.conn != nil && c.holds && v != nil && v.greeted {
				slow = append(slow, topic)
			}
		}
	}
	if len(slow) == 0 {
		t.Skip("nobody is slow")
	}
	topic := slow[rapid.IntRange(0, 99).Draw(t, "topic")%len(slow)]
	for range 40 {
		w.keepUp(topic, 1)
		w.do(xadd(topic, "", w.payload(0, 16<<10), w.slotOf(topic).slot)...)
	}
	w.look()
	w.note("flood of %s up to %s", topic, strconv.Itoa(w.number))
}
