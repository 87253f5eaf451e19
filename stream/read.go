package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/fault"
)

const (
	blockFor  = 5 * time.Second // a read that finds nothing ends after this
	readCount = 256             // entries of a slot that one read takes at most
	readBytes = 4 << 20         // about how many bytes of a slot it shall take
)

// read waits for entries and hands them on. few means that it brought some, and all that there were.
func (r *reader) read(ctx context.Context, conn rueidis.DedicatedClient) (few bool, err error) {
	// A Redis that stops without a word must not hold the read for ever.
	op, cancel := context.WithTimeout(ctx, blockFor+r.t.c.cfg.OpTimeout)
	defer cancel()
	before := append(r.ackCommands(conn), r.renewCommand(conn)...)
	cmds := append(before, r.readCommand(conn))
	if r.kind == followed {
		cmds = append(cmds, conn.B().Get().Key(epochKey(r.order[0].slot)).Build())
	}
	cmds = append(cmds, r.guardCommands(conn)...)
	results := conn.DoMulti(op, cmds...)
	for _, res := range results[:len(before)] {
		if err := res.Error(); err != nil {
			return false, fmt.Errorf("XACK or PEXPIRE: %w", err)
		}
	}
	got, err := streams(results[len(before)])
	if err != nil {
		return false, err
	}
	if r.kind == followed {
		if err := r.order[0].stands(results[len(before)+1]); err != nil {
			return false, err
		}
	}
	r.t.c.metrics.reads.Add(1)
	if err := r.woken(conn, got); err != nil {
		return false, err
	}
	if r.kind == owned && len(got) > 0 {
		if err := r.guard(ctx, conn, got, results[len(before)+1:]); err != nil {
			return false, err
		}
	}
	if err := r.checkTrimmed(ctx, conn, got); err != nil {
		return false, err
	}
	if fault.Enabled {
		fault.Stall()
	}
	few = len(got) > 0
	for key, msgs := range got {
		few = few && len(msgs) < r.asked
		if err := r.hand(ctx, r.byKey[key], msgs); err != nil {
			return false, fmt.Errorf("%s: %w", key, err)
		}
	}
	return few, nil
}

// stands looks at the tail's epoch as it was right after a read. A Redis that was emptied, and written to since, gives a plain read
// what is new without a word, as if it were of the old life; the group of an owned slot is gone with it.
func (t *tail) stands(res rueidis.RedisResult) error {
	text, err := res.ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return explain(err)
	}
	if epoch, _, err := parseEpoch(text); err != nil || epoch != t.at.Epoch {
		return fmt.Errorf("slot %d has another epoch than %08x: its streams are to be looked at", t.slot, t.at.Epoch)
	}
	return nil
}

// readCommand waits for entries behind the tails, and of the wake stream.
func (r *reader) readCommand(conn rueidis.DedicatedClient) rueidis.Completed {
	cmd := conn.B().Arbitrary("XREAD")
	if r.kind == owned {
		cmd = conn.B().Arbitrary("XREADGROUP").Args("GROUP", r.t.group, r.t.boot)
	}
	r.ids = r.ids[:0]
	for _, t := range r.order {
		if r.kind == owned {
			r.ids = append(r.ids, ">")
		} else {
			r.ids = append(r.ids, t.at.ID.String())
		}
	}
	if r.kind == owned {
		r.ids = append(r.ids, ">")
	} else {
		r.ids = append(r.ids, r.wake.String())
	}
	r.asked = r.count()
	return cmd.Args("COUNT", strconv.Itoa(r.asked), "BLOCK", millis(blockFor), "STREAMS").Keys(r.keys...).Args(r.ids...).Blocking()
}

// woken takes the wake stream's entries out of what was read.
func (r *reader) woken(conn rueidis.DedicatedClient, got map[string][]rueidis.RedisMessage) error {
	msgs := got[r.wakeKey]
	if len(msgs) == 0 {
		return nil
	}
	delete(got, r.wakeKey)
	es, err := r.t.c.decode(-1, msgs, nil)
	if err != nil {
		return err
	}
	r.wake = es[len(es)-1].ID
	if r.kind != owned {
		return nil
	}
	cmd := conn.B().Xack().Key(r.wakeKey).Group(r.t.group).Id(idsOf(es)...).Build()
	ctx, cancel := context.WithTimeout(context.Background(), r.t.c.cfg.OpTimeout)
	defer cancel()
	return conn.Do(ctx, cmd).Error()
}

func idsOf(es []Entry) []string {
	ids := make([]string, len(es))
	for i := range es {
		ids[i] = es[i].ID.String()
	}
	return ids
}

// hand gives a slot's entries to the sink, but for those that it has had already.
func (r *reader) hand(ctx context.Context, t *tail, msgs []rueidis.RedisMessage) error {
	if t == nil || len(msgs) == 0 {
		return errors.New("redis gave a stream that was not asked for, or without entries")
	}
	c := r.t.c
	es, err := c.decode(t.slot, msgs, make([]Entry, 0, len(msgs)))
	if err != nil {
		return err
	}
	if r.kind == owned {
		t.acks = append(t.acks, idsOf(es)...)
	}
	for len(es) > 0 && !t.at.ID.Less(es[0].ID) {
		es, msgs = es[1:], msgs[1:]
	}
	if err := c.dropRepeated(ctx, t.slot, es); err != nil {
		return err
	}
	for len(es) > 0 {
		n := r.untilMark(t, es)
		if n > 0 {
			for i := range es[:n] {
				r.sizes += (len(es[i].Payload) - r.sizes) / 16
			}
			c.metrics.entries.Add(uint64(n))
			t.passed(es[:n], msgs[:n])
			r.t.cfg.Sink.TailEntries(t.slot, es[:n])
			es, msgs = es[n:], msgs[n:]
			continue
		}
		mark := es[0]
		r.enter(t, Edges{Epoch: mark.Epoch, Begin: mark.ID})
		r.t.cfg.Sink.TailStarted(t.slot, t.at, t.begin)
		es, msgs = es[1:], msgs[1:]
	}
	return nil
}

// untilMark is how many entries come before the mark of another epoch.
func (r *reader) untilMark(t *tail, es []Entry) int {
	for i := range es {
		if es[i].Epoch != 0 && es[i].Epoch != t.at.Epoch {
			return i
		}
	}
	return len(es)
}

// count is how many entries of a slot to take at once, by the size of those seen lately.
func (r *reader) count() int { return max(1, min(readCount, readBytes/max(1, r.sizes))) }

// streams reads XREAD's answer: a map in RESP3, an array of pairs in RESP2, nothing when the time was over.
func streams(resp rueidis.RedisResult) (map[string][]rueidis.RedisMessage, error) {
	msg, err := resp.ToMessage()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	got := make(map[string][]rueidis.RedisMessage)
	if msg.IsMap() {
		m, err := msg.ToMap()
		if err != nil {
			return nil, err
		}
		for key, v := range m {
			if got[key], err = v.ToArray(); err != nil {
				return nil, err
			}
		}
		return got, nil
	}
	pairs, err := msg.ToArray()
	if err != nil {
		return nil, err
	}
	for i := range pairs {
		pair, err := pairs[i].ToArray()
		if err != nil {
			return nil, err
		}
		if len(pair) != 2 {
			return nil, errors.New("XREAD was answered in a way that is not understood")
		}
		key, err := pair[0].ToString()
		if err != nil {
			return nil, err
		}
		if got[key], err = pair[1].ToArray(); err != nil {
			return nil, err
		}
	}
	return got, nil
}
