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
	shard int32 // index in Ring.shards
}

func (t token) compare(o token) int {
	return cmp.Or(cmp.Compare(t.at, o.at), cmp.Compare(t.shard, o.shard))
}

// tokenAt is where a shard's token number i stands: the first four bytes of SHA-1("<shard>:<i>"), big-endian.
func tokenAt(id string, i int) uint32 {
	sum := sha1.Sum([]byte(id + ":" + strconv.Itoa(i))) //nolint:gosec // see above
	return binary.BigEndian.Uint32(sum[:])
}

// slotWidth is the distance between two slots on the ring; a slot stands at the start of its range.
const slotWidth = (1 << 32) / topic.Slots

// placement is who is where. It never changes.
type placement struct {
	version string
	shards  []*Member              // as in the ring that it was made for
	tokens  []token                // in order; shared with placements of the same version
	order   *order                 // likewise
	owner   [topic.Slots]*Member   // nil without shards
	prefs   [topic.Slots][]*Member // every shard, the owner first
	owned   map[string][]int       // by shard ID, ascending
	pins    map[uint32]pinned      // by key
}

// order are, for each slot, all shards by their index in Ring.shards, the owner first.
type order [topic.Slots][]int

// place computes owners and preference lists, and takes from was, which may be nil, what is the same there.
func (r *Ring) place(was *placement) *placement {
	p := &placement{version: r.version, shards: r.shards, order: new(order)}
	switch {
	case was != nil && was.version == r.version:
		p.tokens, p.order = was.tokens, was.order
	case len(r.shards) > 0:
		p.tokens = r.tokens(was)
		p.order = r.choose(p.tokens)
	}
	p.list()
	p.pin(r)
	return p
}

// choose lets the slots and the shards choose each other.
func (r *Ring) choose(tokens []token) *order {
	var walks [topic.Slots][]step // dedicated shards last: they are asked when nobody else is left
	steps, seen := make([]step, 0, topic.Slots*len(r.shards)), make([]bool, len(r.shards))
	for slot := range walks {
		begin := len(steps)
		steps = walk(steps, tokens, uint32(slot)*slotWidth, seen)
		w := steps[begin:]
		slices.SortStableFunc(w, func(a, b step) int { return cmp.Compare(r.rank(a.shard), r.rank(b.shard)) })
		walks[slot] = w
	}
	var o order
	for slot, shard := range match(walks[:], r.capacities()) {
		o[slot] = append(make([]int, 0, len(r.shards)), shard)
		for _, s := range walks[slot] {
			if s.shard != shard {
				o[slot] = append(o[slot], s.shard)
			}
		}
	}
	return &o
}

// list fills in who is where by p.order.
func (p *placement) list() {
	p.owned = make(map[string][]int, len(p.shards))
	all := make([]*Member, 0, topic.Slots*len(p.shards))
	for slot, shards := range p.order {
		begin := len(all)
		for _, i := range shards {
			all = append(all, p.shards[i])
		}
		p.prefs[slot] = all[begin:len(all):len(all)]
		if len(shards) > 0 {
			m := p.shards[shards[0]]
			p.owner[slot] = m
			p.owned[m.ID] = append(p.owned[m.ID], slot)
		}
	}
}

// tokens are all tokens around the ring. Where two collide the shard with the smaller ID stands first: nothing depends on who came
// earlier. Those of shards that was places too are taken from there.
func (r *Ring) tokens(was *placement) []token {
	known := make([]bool, len(r.shards))
	var old, fresh []token
	if was != nil {
		moved := was.moved(r.shards)
		for _, t := range was.tokens {
			if i := moved[t.shard]; i >= 0 {
				known[i] = true
				old = append(old, token{t.at, i}) // both are by ID: the order stays
			}
		}
	}
	for i, m := range r.shards {
		for n := 0; !known[i] && n < TokensPerWeight*m.Weight; n++ {
			fresh = append(fresh, token{r.hash(m.ID, n), int32(i)})
		}
	}
	slices.SortFunc(fresh, token.compare)
	all := make([]token, 0, len(old)+len(fresh))
	for len(old) > 0 && len(fresh) > 0 {
		next := &old
		if fresh[0].compare(old[0]) < 0 {
			next = &fresh
		}
		all = append(all, (*next)[0])
		*next = (*next)[1:]
	}
	return append(append(all, old...), fresh...)
}

// moved is at which place among shards each of p's stands; -1 for those that are not there, or with another weight.
func (p *placement) moved(shards []*Member) []int32 {
	to := make([]int32, len(p.shards))
	for i, m := range p.shards {
		to[i] = -1
		if j, ok := slices.BinarySearchFunc(shards, m.ID, byID); ok && shards[j].Weight == m.Weight {
			to[i] = int32(j)
		}
	}
	return to
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

// walk goes clockwise from the point at and appends the shards in the order in which it meets them. seen is storage with a place for
// each shard.
func walk(steps []step, tokens []token, at uint32, seen []bool) []step {
	clear(seen)
	start, _ := slices.BinarySearchFunc(tokens, at, func(t token, at uint32) int { return cmp.Compare(t.at, at) })
	for i, left := 0, len(seen); left > 0; i++ {
		if t := tokens[(start+i)%len(tokens)]; !seen[t.shard] {
			seen[t.shard] = true
			steps = append(steps, step{int(t.shard), t.at - at})
			left--
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
