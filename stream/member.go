package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/rueidis"
)

// steadyMost is how many slots are looked at so: one that the read then does not bring was looked at in vain.
const steadyMost = 8

// guardCommands look, behind a read, at the groups of the slots that it brings, as it seems: those of the last one, where that brought
// what the one before had. So a hot topic takes no second round trip.
func (r *reader) guardCommands(c rueidis.CoreClient) (cmds rueidis.Commands) {
	if r.kind != owned || !r.steady || len(r.last) > steadyMost {
		return nil
	}
	for _, key := range r.last {
		cmds = append(cmds, r.consumersCommand(c, key))
	}
	return cmds
}

func (r *reader) consumersCommand(c rueidis.CoreClient, key string) rueidis.Completed {
	return c.B().XinfoConsumers().Key(key).Group(r.t.group).Build()
}

// guard takes the slots out of got in whose group somebody else stands: what they got may be missing from it. early are the answers
// to guardCommands.
func (r *reader) guard(ctx context.Context, conn rueidis.DedicatedClient, got map[string][]rueidis.RedisMessage, early []rueidis.RedisResult) error {
	ctx, cancel := context.WithTimeout(ctx, r.t.c.cfg.OpTimeout)
	defer cancel()
	var keys []string
	var cmds rueidis.Commands
	steady := true
	for key := range got {
		i := slices.Index(r.last, key)
		steady = steady && i >= 0
		if i >= 0 && len(early) > 0 {
			if err := r.guardSlot(got, key, early[i]); err != nil {
				return err
			}
			continue
		}
		keys = append(keys, key)
		cmds = append(cmds, r.consumersCommand(conn, key))
	}
	r.steady, r.last = steady, slices.Collect(maps.Keys(got))
	if len(cmds) == 0 {
		return nil
	}
	for i, res := range conn.DoMulti(ctx, cmds...) {
		if err := r.guardSlot(got, keys[i], res); err != nil {
			return err
		}
	}
	return nil
}

// guardSlot takes a slot out of got when somebody else stands in its group.
func (r *reader) guardSlot(got map[string][]rueidis.RedisMessage, key string, res rueidis.RedisResult) error {
	names, err := consumers(res)
	if err != nil {
		return fmt.Errorf("XINFO CONSUMERS: %w", err)
	}
	if other := slices.IndexFunc(names, func(name string) bool { return name != r.t.boot }); other >= 0 {
		r.t.contest(r.byKey[key].slot, names[other])
		delete(got, key)
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
