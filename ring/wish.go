package ring

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // spreads topics, signs nothing
	"encoding/binary"
	"slices"
)

// Wishes are what operators want beside what the ring chooses by itself.
type Wishes struct {
	Pins      []Pin
	Dedicated []string // shards that own no slots: they serve what is pinned to them
}

// Pin places a topic on named shards, in that order.
type Pin struct {
	Topic  string
	Shards []string
}

// pinned is where the topics of one key go.
type pinned struct {
	prefs  []*Member // all shards: the pinned ones, then the slot's
	shards int       // how many of them are pinned
}

// Key stands for a topic where its name is too long: the first four bytes of its SHA-1, of which the first is its slot.
// A topic that has the key of a pinned one by chance is placed as that one is, which harms nobody: any gateway can serve
// any topic.
func Key(topic string) uint32 {
	sum := sha1.Sum([]byte(topic)) //nolint:gosec // see above
	return binary.BigEndian.Uint32(sum[:])
}

// SlotOf is the slot of the topics with this key.
func SlotOf(key uint32) int { return int(key >> 24) }

// normal is wishes in their one order: no shard dedicated twice, of two pins of one topic the first, each with every shard
// once.
func (w Wishes) normal() Wishes {
	n := Wishes{Dedicated: slices.Compact(slices.Sorted(slices.Values(w.Dedicated)))}
	seen := map[string]bool{}
	for _, p := range w.Pins {
		if seen[p.Topic] {
			continue
		}
		seen[p.Topic] = true
		one := Pin{Topic: p.Topic}
		for _, id := range p.Shards {
			if !slices.Contains(one.Shards, id) {
				one.Shards = append(one.Shards, id)
			}
		}
		n.Pins = append(n.Pins, one)
	}
	slices.SortFunc(n.Pins, func(a, b Pin) int { return cmp.Compare(a.Topic, b.Topic) })
	return n
}

// dedicate finds the shards that own nothing. Where all are dedicated none is: nobody would be served otherwise.
func (r *Ring) dedicate() {
	apart := map[string]bool{}
	for _, m := range r.shards {
		if _, is := slices.BinarySearch(r.wishes.Dedicated, m.ID); is {
			apart[m.ID] = true
		}
	}
	if len(apart) < len(r.shards) {
		r.apart = apart
	}
}

// effective are the pins with those of their shards that are placed; a pin without one has no effect.
func (r *Ring) effective() (pins []Pin) {
	for _, p := range r.wishes.Pins {
		one := Pin{Topic: p.Topic}
		for _, id := range p.Shards {
			if r.shard(id) != nil {
				one.Shards = append(one.Shards, id)
			}
		}
		if len(one.Shards) > 0 {
			pins = append(pins, one)
		}
	}
	return pins
}

func byID(m *Member, id string) int { return cmp.Compare(m.ID, id) }

// shard is the placed member with this ID; nil when there is none.
func (r *Ring) shard(id string) *Member {
	i, ok := slices.BinarySearchFunc(r.shards, id, byID)
	if !ok {
		return nil
	}
	return r.shards[i]
}

// pin computes the preferences of pinned topics.
func (p *placement) pin(r *Ring) {
	p.pins = make(map[uint32]pinned, len(r.pinned))
	for _, pin := range r.pinned {
		key := Key(pin.Topic)
		if _, taken := p.pins[key]; taken {
			continue // the one that comes first by name
		}
		prefs := make([]*Member, 0, len(r.shards))
		for _, id := range pin.Shards {
			prefs = append(prefs, r.shard(id))
		}
		for _, m := range p.prefs[SlotOf(key)] {
			if !slices.Contains(pin.Shards, m.ID) {
				prefs = append(prefs, m)
			}
		}
		p.pins[key] = pinned{prefs, len(pin.Shards)}
	}
}

// Wishes are what the ring was made with, in their one order. They are shared and must not be changed.
func (r *Ring) Wishes() Wishes { return r.wishes }

// Dedicated reports whether the shard owns nothing because operators want it so.
func (r *Ring) Dedicated(id string) bool { return r.apart[id] }

// Group are all shards in the order in which they should serve the topics with this key, and how many of the first of them
// share the load: those that the topic is pinned to, else all that are not dedicated. The others serve it only when none of
// these can. The slice is shared and must not be changed. Only the first call of all allocates.
func (r *Ring) Group(key uint32) (prefs []*Member, share int) {
	p := r.placement()
	if pin, ok := p.pins[key]; ok {
		return pin.prefs, pin.shards
	}
	prefs = p.prefs[SlotOf(key)]
	return prefs, len(prefs) - len(r.apart)
}

// Pinned reports whether the topics with this key are pinned to a shard that is placed.
func (r *Ring) Pinned(key uint32) bool {
	_, ok := r.placement().pins[key]
	return ok
}
