package stream

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// collectEvery is how often groups of shards that are gone are looked for. What is gone twice in a row is destroyed.
const collectEvery = time.Minute

// collect destroys the groups that shards have left behind which died and did not come back, in the slots that this shard owns, and
// this shard's own where it needs none.
func (t *Tailer) collect(ctx context.Context) {
	if t.cfg.Members == nil {
		return
	}
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	suspects := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		suspects = t.collectOnce(ctx, suspects)
	}
}

// collectOnce destroys the suspects that are still there without their shard, and returns the new ones.
func (t *Tailer) collectOnce(ctx context.Context, suspects map[string]bool) map[string]bool {
	next := map[string]bool{}
	c, err := t.c.client()
	if err != nil {
		return next
	}
	members := t.cfg.Members()
	for _, slot := range t.ownedSlots() {
		op, cancel := context.WithTimeout(ctx, t.c.cfg.OpTimeout)
		groups, err := c.Do(op, c.B().XinfoGroups().Key(Key(slot)).Build()).ToArray()
		for i := 0; err == nil && i < len(groups); i++ {
			info, _ := groups[i].AsMap()
			field := info["name"]
			name, _ := field.ToString()
			shard, ours := strings.CutPrefix(name, groupPrefix)
			stays := slices.Contains(members, shard)
			if shard == t.cfg.Shard {
				stays = !t.cfg.Plain
			}
			if !ours || stays {
				continue
			}
			which := Key(slot) + " " + name
			if !suspects[which] {
				next[which] = true
				continue
			}
			if err = c.Do(op, c.B().XgroupDestroy().Key(Key(slot)).Group(name).Build()).Error(); err == nil {
				t.c.metrics.collected.Add(1)
				t.c.log.Info("destroyed a consumer group that nobody reads through any more", zap.Int("slot", slot), zap.String("group", name))
			}
		}
		cancel()
	}
	return next
}

func (t *Tailer) ownedSlots() (slots []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s, k := range t.wanted {
		if k == owned {
			slots = append(slots, s)
		}
	}
	return slots
}
