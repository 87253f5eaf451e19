package ring

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // spreads tokens, signs nothing
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/ringside-edge/ringside/internal/topic"
)

// token is one of a shard's points on the ring.
type token struct {
	at    uint32
	shard int // index in Ring.shards
}

// tokenAt is where a shard's token number i stands: the first four bytes of SHA-1("<shard>:<i>"), big-endian.
func tokenAt(id string, i int) uint32 {
	sum := sha1.Sum([]byte(id + ":" + strconv.Itoa(i))) //nolint:gosec // see above
	return binary.BigEndian.Uint32(sum[:])
}

// slotWidth is the distance between two slots on the ring; a slot stands at the start of its range.
const slotWidth = (1 << 32) / topic.Slots

// place computes owners and preference lists.
func (r *Ring) place(hash func(string, int) uint32) {
	r.owned = make(map[string][]int, len(r.shards))
	if len(r.shards) == 0 {
		return
	}
	tokens := r.tokens(hash)
	var walks [topic.Slots][]step // dedicated shards last: they are asked when nobody else is left
	for slot := range walks {
		w := walk(tokens, uint32(slot)*slotWidth, len(r.shards))
		slices.SortStableFunc(w, func(a, b step) int { return cmp.Compare(r.rank(a.shard), r.rank(b.shard)) })
		walks[slot] = w
	}
	for slot, shard := range match(walks[:], r.capacities()) {
		m := r.shards[shard]
		r.owner[slot] = m
		r.owned[m.ID] = append(r.owned[m.ID], slot)
		prefs := make([]*Member, 1, len(r.shards))
		prefs[0] = m
		for _, s := range walks[slot] {
			if s.shard != shard {
				prefs = append(prefs, r.shards[s.shard])
			}
		}
		r.prefs[slot] = prefs
	}
}

// tokens are all tokens around the ring. Where two collide the shard with the smaller ID stands first: nothing depends
// on who came earlier.
func (r *Ring) tokens(hash func(string, int) uint32) []token {
	var ts []token
	for i, m := range r.shards {
		for n := range TokensPerWeight * m.Weight {
			ts = append(ts, token{hash(m.ID, n), i})
		}
	}
	slices.SortFunc(ts, func(a, b token) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.shard, b.shard)) })
	return ts
}

// rank is 1 for a dedicated shard and 0 for any other.
func (r *Ring) rank(shard int) int {
	if r.apart[r.shards[shard].ID] {
		return 1
	}
	return 0
}

// capacities are how many slots each shard takes at most. Their sum is no less than the number of slots.
func (r *Ring) capacities() []int {
	total := 0
	for i, m := range r.shards {
		total += (1 - r.rank(i)) * m.Weight
	}
	cs := make([]int, len(r.shards))
	for i, m := range r.shards {
		if r.rank(i) == 1 {
			continue
		}
		cs[i] = int(math.Ceil(Bound * topic.Slots * float64(m.Weight) / float64(total)))
	}
	return cs
}

// step is a shard as a slot's walk meets it first.
type step struct {
	shard    int
	distance uint32 // from the slot to the token
}

// walk goes clockwise from the point at and returns the shards in the order in which it meets them.
func walk(tokens []token, at uint32, shards int) []step {
	start, _ := slices.BinarySearchFunc(tokens, at, func(t token, at uint32) int { return cmp.Compare(t.at, at) })
	steps := make([]step, 0, shards)
	seen := make([]bool, shards)
	for i := range tokens {
		t := tokens[(start+i)%len(tokens)]
		if !seen[t.shard] {
			seen[t.shard] = true
			steps = append(steps, step{t.shard, t.at - at})
			if len(steps) == shards {
				break
			}
		}
	}
	return steps
}

// match gives every slot a shard: each slot asks the shards in the order of its walk, and a full shard keeps the nearest
// (Gale and Shapley, "College Admissions and the Stability of Marriage", 1962). The result is the same in whatever order
// the slots ask, and a change of one shard moves little more than what it must.
func match(walks [][]step, capacities []int) []int {
	owner := make([]int, len(walks))
	asked := make([]int, len(walks))        // how far in its walk each slot has come
	taken := make([][]int, len(capacities)) // slots of each shard
	nearer := func(a, b, shard int) bool {  // whether shard prefers slot a to slot b
		da, db := distance(walks[a], shard), distance(walks[b], shard)
		return da < db || da == db && a < b
	}
	for slot := range walks {
		for loser := slot; loser >= 0; {
			s := walks[loser][asked[loser]].shard
			asked[loser]++
			owner[loser] = s
			taken[s] = append(taken[s], loser)
			loser = -1
			if len(taken[s]) > capacities[s] {
				worst := 0
				for i := range taken[s] {
					if nearer(taken[s][worst], taken[s][i], s) {
						worst = i
					}
				}
				loser = taken[s][worst]
				taken[s] = slices.Delete(taken[s], worst, worst+1)
			}
		}
	}
	return owner
}

func distance(walk []step, shard int) uint32 {
	for _, s := range walk {
		if s.shard == shard {
			return s.distance
		}
	}
	panic("BUG: ring: a walk that misses a shard")
}
