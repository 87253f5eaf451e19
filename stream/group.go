package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/ringside-edge/ringside/internal/position"
)

// Owned slots are read through a consumer group of the shard's own, and acknowledged, so that Redis shows how far each shard is.
// A tail's head is the truth all the same: what the group has given to somebody, to this process before its connection broke or
// to one that is dead, is read again behind the head, and then only acknowledged.
//
// Two processes that read as one shard, by mistake, would each get a part. Therefore an entry counts only when no other consumer
// stands in the group after it was read.

// claimCount is how many pending entries one call claims.
const claimCount = 1000

// joinGroups makes the tails' groups, or takes over what is left in them, and reads up to where they have come.
func (r *reader) joinGroups(ctx context.Context, tails []*tail) error {
	c, err := r.t.c.client()
	if err != nil {
		return err
	}
	op, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	group, b := r.t.group, c.B()
	var cmds rueidis.Commands
	for _, t := range tails {
		cmds = append(cmds, b.XgroupCreate().Key(Key(t.slot)).Group(group).Id(t.at.ID.String()).Build())
	}
	for i, res := range c.DoMulti(op, cmds...) {
		if !mayBeThere(res.Error()) {
			return fmt.Errorf("slot %d: XGROUP CREATE: %w", tails[i].slot, res.Error())
		}
	}
	for _, t := range tails {
		if err := r.inherit(ctx, c, t); err != nil {
			return fmt.Errorf("slot %d: %w", t.slot, err)
		}
	}
	return r.catchUp(ctx, c, tails)
}

// mayBeThere reports whether XGROUP has made a group or a consumer, or not because it is there; a Redis at its maxmemory does not look.
func mayBeThere(err error) bool {
	said, answered := redisError(err)
	return err == nil || answered && (strings.HasPrefix(said, "BUSYGROUP") || strings.HasPrefix(said, "OOM"))
}

// inherit takes over all that is pending in the tail's group, to be acknowledged once it has been handed over, and ends the other
// consumers: of dead processes, or of a second one that lives, which shows when it reads on.
func (r *reader) inherit(ctx context.Context, c rueidis.Client, t *tail) error {
	ctx, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	key, group, b := Key(t.slot), r.t.group, c.B()
	// Before anything else, whoever else reads through the group has to see that we do: from here on it counts on nothing any more.
	if err := c.Do(ctx, b.XgroupCreateconsumer().Key(key).Group(group).Consumer(r.t.boot).Build()).Error(); !mayBeThere(err) {
		return fmt.Errorf("XGROUP CREATECONSUMER: %w", err)
	}
	names, err := consumers(c.Do(ctx, b.XinfoConsumers().Key(key).Group(group).Build()))
	if err != nil {
		return fmt.Errorf("XINFO CONSUMERS: %w", err)
	}
	for cursor := "0-0"; ; {
		parts, err := c.Do(ctx, b.Xautoclaim().Key(key).Group(group).Consumer(r.t.boot).MinIdleTime("0").Start(cursor).
			Count(claimCount).Justid().Build()).ToArray()
		if err != nil || len(parts) < 2 {
			return fmt.Errorf("XAUTOCLAIM: %w", errors.Join(err, errShape(len(parts) >= 2)))
		}
		cursor, err = parts[0].ToString()
		ids, err2 := parts[1].AsStrSlice()
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("XAUTOCLAIM: %w", err)
		}
		r.t.c.metrics.inherited.Add(uint64(len(ids)))
		t.acks = append(t.acks, ids...)
		if cursor == "0-0" {
			break
		}
	}
	for _, name := range names {
		if name != r.t.boot {
			if err := c.Do(ctx, b.XgroupDelconsumer().Key(key).Group(group).Consumername(name).Build()).Error(); err != nil {
				return fmt.Errorf("XGROUP DELCONSUMER: %w", err)
			}
		}
	}
	return nil
}

func errShape(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("the answer is not understood")
}

// catchUp reads what the groups have given out behind the tails' heads, and moves groups that lag behind to the heads.
func (r *reader) catchUp(ctx context.Context, c rueidis.Client, tails []*tail) error {
	op, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	var cmds rueidis.Commands
	for _, t := range tails {
		cmds = append(cmds, c.B().XinfoGroups().Key(Key(t.slot)).Build())
	}
	for i, res := range c.DoMulti(op, cmds...) {
		t := tails[i]
		given, err := r.given(res)
		if err != nil {
			return fmt.Errorf("slot %d: XINFO GROUPS: %w", t.slot, err)
		}
		for more := true; more; {
			if more, err = r.catchUpTo(ctx, c, t, given); err != nil {
				return fmt.Errorf("slot %d: %w", t.slot, err)
			}
		}
	}
	return nil
}

// catchUpTo does one step of that, and reports whether there may be more to do.
func (r *reader) catchUpTo(ctx context.Context, c rueidis.Client, t *tail, given position.ID) (more bool, err error) {
	op, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	switch {
	case t.at.ID == given:
		return false, nil
	case given.Less(t.at.ID):
		// Not everything that calls itself Redis has it: then the entries are read and passed over.
		_ = c.Do(op, c.B().XgroupSetid().Key(Key(t.slot)).Group(r.t.group).Id(t.at.ID.String()).Build()).Error()
		return false, nil
	}
	msgs, err := r.t.c.rangeFrom(op, c, t.slot, t.at.ID.Next(), r.count())
	if err != nil || len(msgs) == 0 { // or the rest was trimmed or deleted
		return false, err
	}
	return true, r.hand(ctx, t, msgs)
}

// given is the last entry that the shard's group has given to anybody.
func (r *reader) given(res rueidis.RedisResult) (id position.ID, err error) {
	groups, err := res.ToArray()
	if err != nil {
		return id, err
	}
	for i := range groups {
		info, err := groups[i].AsMap()
		if err != nil {
			return id, err
		}
		name, last := info["name"], info["last-delivered-id"]
		if s, _ := name.ToString(); s != r.t.group {
			continue
		}
		text, err := last.ToString()
		if err != nil {
			return id, err
		}
		return position.ParseID(text)
	}
	return id, errors.New("the group is gone")
}

// consumers reads the names in XINFO CONSUMERS' answer.
func consumers(res rueidis.RedisResult) (names []string, err error) {
	list, err := res.ToArray()
	if err != nil {
		return nil, err
	}
	for i := range list {
		info, err := list[i].AsMap()
		if err != nil {
			return nil, err
		}
		field := info["name"]
		name, err := field.ToString()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}
