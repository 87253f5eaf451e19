package stream

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/rueidis"
)

// guard takes the slots out of got in whose group somebody else stands: what they got may be missing from it.
func (r *reader) guard(ctx context.Context, conn rueidis.DedicatedClient, got map[string][]rueidis.RedisMessage) error {
	ctx, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	var keys []string
	var cmds rueidis.Commands
	for key := range got {
		keys = append(keys, key)
		cmds = append(cmds, conn.B().XinfoConsumers().Key(key).Group(r.t.group).Build())
	}
	for i, res := range conn.DoMulti(ctx, cmds...) {
		names, err := consumers(res)
		if err != nil {
			return fmt.Errorf("XINFO CONSUMERS: %w", err)
		}
		other := slices.IndexFunc(names, func(name string) bool { return name != r.t.boot })
		if other >= 0 {
			r.t.contest(r.byKey[keys[i]].slot, names[other])
			delete(got, keys[i])
		}
	}
	return nil
}

// ackCommands acknowledge what was handed over.
func (r *reader) ackCommands(c rueidis.CoreClient) (cmds rueidis.Commands) {
	if r.kind != owned {
		return nil
	}
	for _, t := range r.order {
		if len(t.acks) > 0 {
			cmds = append(cmds, c.B().Xack().Key(Key(t.slot)).Group(r.t.group).Id(t.acks...).Build())
			r.t.c.metrics.acked.Add(uint64(len(t.acks)))
			t.acks = nil
		}
	}
	return cmds
}

// acknowledge acknowledges what the last read has brought, when there is no further one.
func (r *reader) acknowledge() {
	c, err := r.t.c.client()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.t.c.cfg.OpTimeout)
	defer cancel()
	if cmds := r.ackCommands(c); len(cmds) > 0 {
		c.DoMulti(ctx, cmds...) // what fails is pending, and inherited
	}
}

// openWake gives the wake stream the group that all streams of a read need.
func (r *reader) openWake(ctx context.Context, conn rueidis.DedicatedClient) error {
	ctx, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	b := conn.B()
	res := conn.DoMulti(ctx,
		b.XgroupCreate().Key(r.wakeKey).Group(r.t.group).Id("0").Mkstream().Build(),
		b.Pexpire().Key(r.wakeKey).Milliseconds(r.t.wakeExpiry.Milliseconds()).Build())
	if !mayBeThere(res[0].Error()) {
		return fmt.Errorf("XGROUP CREATE: %w", res[0].Error())
	}
	r.renewed = time.Now()
	return res[1].Error()
}

// renewCommand puts off the expiry of the wake stream, without which a read through the group fails, when it is time to.
func (r *reader) renewCommand(c rueidis.CoreClient) (cmds rueidis.Commands) {
	if r.kind != owned || time.Since(r.renewed) < r.t.wakeExpiry/2 {
		return nil
	}
	r.renewed = time.Now()
	return rueidis.Commands{c.B().Pexpire().Key(r.wakeKey).Milliseconds(r.t.wakeExpiry.Milliseconds()).Build()}
}

// leaveGroups ends the groups of slots that the shard does not own any more.
func (r *reader) leaveGroups(ctx context.Context, tails []*tail) error {
	c, err := r.t.c.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	var cmds rueidis.Commands
	for _, t := range tails {
		t.acks = nil
		r.t.mu.Lock()
		keep := time.Now().Before(r.t.contested[t.slot])
		r.t.mu.Unlock()
		if !keep { // the other process has it
			cmds = append(cmds, c.B().XgroupDestroy().Key(Key(t.slot)).Group(r.t.group).Build())
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	for _, res := range c.DoMulti(ctx, cmds...) {
		if _, answered := redisError(res.Error()); res.Error() != nil && !answered {
			return fmt.Errorf("XGROUP DESTROY: %w", res.Error())
		}
	}
	return nil
}
