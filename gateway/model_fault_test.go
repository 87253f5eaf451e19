package gateway

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/ringside-edge/ringside/internal/position"
	topics "github.com/ringside-edge/ringside/internal/topic"
	"github.com/ringside-edge/ringside/stream"
)

func epochKey(slot int) string { return strings.TrimSuffix(stream.Key(slot), "stream") + "epoch" }

// idKey is where the package remembers an idempotency key of a topic.
func idKey(topic, id string) string {
	return strings.TrimSuffix(stream.Key(topics.Slot(topic)), "stream") + "id:" + strconv.Itoa(len(topic)) + ":" + topic + ":" + id
}

// readNew reads what the truth does not have yet.
func readNew(t *truth) []string {
	from := "-"
	if len(t.entries) > 0 {
		from = "(" + t.top().String()
	}
	return []string{"XRANGE", stream.Key(t.slot), from, "+"}
}

// look brings the truth up to date.
func (w *world) look() {
	w.t.Helper()
	for _, t := range w.slots {
		w.must(t.take(w.do(readNew(t)...)))
	}
}

// atomically runs commands that nobody else's come between, looks at all slots before the last of them, and returns what those
// have answered.
func (w *world) atomically(first [][]string, last ...[]string) []any {
	w.t.Helper()
	cmds := first
	for _, t := range w.slots {
		cmds = append(cmds, readNew(t))
	}
	w.do("MULTI")
	for _, cmd := range append(cmds, last...) {
		w.do(cmd...)
	}
	answers, _ := w.do("EXEC").([]any)
	if len(answers) != len(cmds)+len(last) {
		w.fail("EXEC: %v", answers)
	}
	for i, t := range w.slots {
		w.must(t.take(answers[len(first)+i]))
	}
	return answers[len(cmds):]
}

//nolint:gochecknoglobals // constants
var (
	// kill breaks all connections but the one that it comes on.
	kill = []string{"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}
	// spin takes some milliseconds, so that no ID comes twice where the newest are lost.
	spin = []string{"EVAL", "for i = 1, 1000000 do end", "0"}
)

// epochOf is a slot's epoch in Redis; 0 for none.
func (w *world) epochOf(t *truth) uint32 {
	w.t.Helper()
	text, _ := w.do("GET", epochKey(t.slot)).(string)
	return epochNumber(text)
}

// epochNumber reads the value of an epoch key; 0 for none.
func epochNumber(text string) uint32 {
	number, _, _ := strings.Cut(text, " ")
	n, _ := strconv.ParseUint(number, 10, 32)
	return uint32(n)
}

// felt waits until what was lost has been found out, by all who have to go on with it.
func (w *world) felt() {
	w.t.Helper()
	for _, t := range w.slots {
		if !t.unfelt {
			continue
		}
		for _, m := range w.members { // who owns the slot is sure to know what it has had
			if owner, _ := w.ring.Owner(t.slot); owner.ID == m.id {
				m.flow(w)
			}
		}
		w.until(fmt.Sprintf("slot %d has a new epoch", t.slot), func() bool {
			e := w.epochOf(t)
			return e != 0 && e != t.epoch
		})
		t.unfelt = false
		w.note("slot %d has a new epoch", t.slot)
	}
}

// settle waits until the tails have come to the end: that of a slot's owner must, another that is read as well.
func (w *world) settle() {
	w.t.Helper()
	for _, m := range w.members {
		m.flow(w)
	}
	for _, t := range w.slots {
		owner, _ := w.ring.Owner(t.slot)
		w.until(fmt.Sprintf("the tails of slot %d have come to the end", t.slot), func() bool {
			w.look()
			epoch := w.epochOf(t)
			for _, m := range w.members {
				warm, at := m.tail(t.slot)
				if warm && (at.ID.Less(t.top()) || !t.unfelt && at.Epoch != epoch) || !warm && owner.ID == m.id {
					return false
				}
			}
			return true
		})
	}
}

// forget notes that a slot has lost entries. They count when one of them was there when the tails came to the end, at top.
func (w *world) forget(t *truth, oldest, top position.ID) (counts bool) {
	if oldest.IsZero() {
		return false
	}
	t.lost = true
	return !top.Less(oldest)
}

func (w *world) drawSlot(t *rapid.T) *truth {
	return w.slots[rapid.IntRange(0, len(w.slots)-1).Draw(t, "slot")]
}

func (w *world) actTrim(t *rapid.T) {
	slot := w.drawSlot(t)
	left := rapid.IntRange(1, 12).Draw(t, "left")
	byID := rapid.Bool().Draw(t, "by ID")
	w.felt() // what is lost and then trimmed is trimmed
	w.settle()
	cmd := []string{"XTRIM", stream.Key(slot.slot), "MAXLEN", strconv.Itoa(left)}
	if ids := slot.standing(); byID && len(ids) > 0 {
		cmd = []string{"XTRIM", stream.Key(slot.slot), "MINID", ids[max(0, len(ids)-left)].String()}
	}
	w.trim(slot, nil, cmd)
}

// trim runs commands, of which the last trims.
func (w *world) trim(slot *truth, first [][]string, cmd []string) {
	w.t.Helper()
	answers := w.atomically(first, cmd, []string{"XRANGE", stream.Key(slot.slot), "-", "+", "COUNT", "1"})
	var id position.ID
	if list, _ := answers[1].([]any); len(list) > 0 {
		id, _ = position.ParseID(list[0].([]any)[0].(string))
	}
	slot.trim(id)
	w.note("%v: slot %d begins at %v", cmd, slot.slot, id)
}

// actTrimUnread trims what no tail can have read.
func (w *world) actTrimUnread(t *rapid.T) {
	topic := w.drawTopic(t)
	slot := w.slotOf(topic)
	n, left := rapid.IntRange(1, 6).Draw(t, "messages"), rapid.IntRange(1, 6).Draw(t, "left")
	w.felt()
	w.keepUp(topic, n)
	cmds := [][]string{kill}
	for range n {
		cmds = append(cmds, xadd(topic, "", w.drawPayload(t), slot.slot))
	}
	w.trim(slot, cmds, []string{"XTRIM", stream.Key(slot.slot), "MAXLEN", strconv.Itoa(left)})
}

func (w *world) actInterrupt(*rapid.T) { w.note("%v connections are killed", w.do(kill...)) }

// actPause has Redis stand still for a moment.
func (w *world) actPause(t *rapid.T) {
	if w.paused++; w.paused > 2 {
		t.Skip("it takes its time")
	}
	d := time.Duration(rapid.IntRange(20, 200).Draw(t, "ms")) * time.Millisecond
	w.must(w.redis.Pause())
	w.note("redis stands still for %v", d)
	<-time.After(d)
	w.must(w.redis.Resume())
}

// actLag has one gateway hear nothing of Redis for a while, so that it is behind the other.
func (w *world) actLag(t *rapid.T) {
	m := w.drawMember(t)
	m.link.stand(true)
	w.note("%s lags behind", m.id)
}

func (w *world) actCatchUp(t *rapid.T) { w.drawMember(t).flow(w) }

// flow ends a gateway's lag.
func (m *member) flow(w *world) {
	if m.link.still() {
		m.link.stand(false)
		w.note("%s catches up", m.id)
	}
}

// actPlace gives slots to other owners.
func (w *world) actPlace(t *rapid.T) {
	i := rapid.IntRange(0, len(w.rings)-1).Draw(t, "placement")
	w.felt()
	w.settle()
	w.mu.Lock()
	w.ring = w.rings[i]
	w.mu.Unlock()
	w.note("placement %d", i)
	for _, m := range w.members {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

// actCool has a gateway forget all that it can.
func (w *world) actCool(t *rapid.T) {
	m := w.drawMember(t)
	w.note("%s forgets what it does not need", m.id)
	m.cool()
}

// actRestart ends a gateway and starts it anew. Its clients are gone; on legs they wait for another.
func (w *world) actRestart(t *rapid.T) {
	m := w.drawMember(t)
	w.felt()
	w.settle()
	w.note("%s ends", m.id)
	err := m.down()
	m.down = nil
	w.must(err)
	for _, c := range w.clients {
		if c.conn != nil && c.member == m {
			c.stop()
			c.parted = c.onLeg
		}
	}
	topic := w.drawTopic(t)
	for range rapid.IntRange(0, 3).Draw(t, "messages meanwhile") {
		w.publish(topic, "", w.drawPayload(t))
	}
	w.must(w.boot(m))
	w.warm(m)
	w.note("%s is there again", m.id)
}
